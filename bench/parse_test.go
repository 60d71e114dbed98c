package bench

import (
	"slices"
	"testing"
	"time"
)

func TestParseIperf(t *testing.T) {
	const report = `{"start":{},"intervals":[{"sum":{"bytes":1}}],"end":{"streams":[{"sender":{"bytes":9}}],
		"sum_sent":{"bytes":3133669376,"bits_per_second":25066998710.1,"retransmits":14,"sender":true},
		"sum_received":{"bytes":3125805056,"bits_per_second":25003415034.5,"sender":true}}}`
	got, err := ParseIperf(report)
	if want := (Flow{25003.4150345, 3125805056, 14}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, text := range []string{
		"", "iperf3: error", "{}", `{"end":{}}`,
		`{"end":{"sum_received":{"bytes":0,"bits_per_second":0}}}`,
		`{"end":{},"error":"unable to connect to server: Connection refused"}`,
		`{"end":{"sum_received":{"bytes":10,"bits_per_second":80}},"error":"interrupt - the client has terminated"}`,
	} {
		if got, err := ParseIperf(text); err == nil {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}

func TestParsePing(t *testing.T) {
	const some = `PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.
64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.024 ms
64 bytes from 127.0.0.1: icmp_seq=2 ttl=64 time=12.5 ms
From 10.0.0.1 icmp_seq=3 Destination Host Unreachable
64 bytes from 127.0.0.1: icmp_seq=4 ttl=64 time=1013 ms

--- 127.0.0.1 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 32ms
rtt min/avg/max/mdev = 0.024/0.030/0.036/0.005 ms
`
	trips, sent, err := ParsePing(some)
	if want := []time.Duration{24 * time.Microsecond, 12500 * time.Microsecond, 1013 * time.Millisecond}; err != nil || sent != 4 || !slices.Equal(trips, want) {
		t.Errorf("got %v of %d, %v", trips, sent, err)
	}
	if trips, sent, err := ParsePing("--- 10.0.0.1 ping statistics ---\n2 packets transmitted, 0 received, 100% packet loss, time 12ms\n"); err != nil || sent != 2 || len(trips) != 0 {
		t.Errorf("got %v of %d, %v", trips, sent, err)
	}
	for _, text := range []string{"", "ping: unknown host", "64 bytes from ::1: icmp_seq=1 ttl=64 time=x ms\n1 packets transmitted, 1 received"} {
		if trips, sent, err := ParsePing(text); err == nil {
			t.Errorf("%q gives %v of %d", text, trips, sent)
		}
	}
}
