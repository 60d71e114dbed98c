package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Flow is what a TCP test of iperf3 says of all its streams together.
type Flow struct {
	Mbits       float64 // that arrived, millions of bits a second
	Bytes       float64 // that arrived
	Retransmits int
}

// ParseIperf reads the report of an iperf3 client (-J).
func ParseIperf(text string) (f Flow, err error) {
	var report struct {
		Error string `json:"error"`
		End   struct {
			Sent struct {
				Retransmits int `json:"retransmits"`
			} `json:"sum_sent"`
			Received struct {
				Bytes float64 `json:"bytes"`
				Bits  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return f, fmt.Errorf("parse the report of iperf3: %w", err)
	}
	if report.Error != "" {
		return f, fmt.Errorf("iperf3: %s", report.Error)
	}
	if report.End.Received.Bytes <= 0 {
		return f, errors.New("iperf3: nothing arrived")
	}
	return Flow{report.End.Received.Bits / 1e6, report.End.Received.Bytes, report.End.Sent.Retransmits}, nil
}

// ParsePing reads what ping (iputils) prints, and returns the round trips and how many requests were sent.
func ParsePing(text string) (trips []time.Duration, sent int, err error) {
	for line := range strings.Lines(text) {
		if _, rest, ok := strings.Cut(line, " time="); ok && strings.Contains(line, "icmp_seq=") {
			number, _, _ := strings.Cut(rest, " ")
			ms, err := strconv.ParseFloat(number, 64)
			if err != nil {
				return nil, 0, fmt.Errorf("parse the output of ping: %w", err)
			}
			trips = append(trips, time.Duration(ms*float64(time.Millisecond)))
		}
		_, _ = fmt.Sscanf(line, "%d packets transmitted", &sent)
	}
	if sent == 0 {
		return nil, 0, errors.New("ping has not said how many packets it sent")
	}
	return trips, sent, nil
}
