//go:build linux

package netns

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// A TCPFlow is an iperf3 connection whose receiver notes what arrives in each tenth of a second.
type TCPFlow struct {
	client, server *netnstest.Process
	length         time.Duration
	started        time.Time
}

// tcpStep is the resolution of a TCPFlow: iperf3 has no finer one.
const tcpStep = 100 * time.Millisecond

// StartTCP sends for some time from one host to another. Further words go to iperf3, such as "-b", "5M".
func StartTCP(t testing.TB, from, to End, length time.Duration, words ...string) *TCPFlow {
	t.Helper()
	f := &TCPFlow{length: length, server: ServeIperf(t, to.NS, to.Addr, "-i", fmt.Sprint(tcpStep.Seconds()))}
	f.started = time.Now()
	f.client = from.NS.Start(t, append([]string{"iperf3", "-J", "-c", to.Addr.String(), "--connect-timeout", "10000",
		"-t", fmt.Sprint(length.Seconds()), "-i", fmt.Sprint(tcpStep.Seconds())}, words...)...)
	return f
}

// A TCPRecord says how a TCPFlow went.
type TCPRecord struct {
	// Survived: the connection lived to its end, and something arrived in its last second.
	Survived bool
	Why      string    // it did not
	Mbits    []float64 // that arrived in each step
	Mean     float64   // Mbit/s
	Stall    time.Duration
}

// String says it in a line.
func (r TCPRecord) String() string {
	return fmt.Sprintf("survived: %v, %.1f Mbit/s on average, longest stall %.1f s %s", r.Survived, r.Mean, r.Stall.Seconds(), r.Why)
}

// Report waits for the end of the flow, which must come within some time of the length asked for.
func (f *TCPFlow) Report(t testing.TB, slack time.Duration) (r TCPRecord) {
	t.Helper()
	end := time.After(f.length + slack - time.Since(f.started))
	for _, p := range []*netnstest.Process{f.client, f.server} {
		select {
		case <-p.Done():
		case <-end:
			p.Kill()
			f.server.Kill()
			return TCPRecord{Why: "it does not end"}
		}
	}
	var client, server Iperf
	if err := json.Unmarshal([]byte(f.client.Output()), &client); err != nil {
		return TCPRecord{Why: err.Error()}
	}
	if err := json.Unmarshal([]byte(f.server.Output()), &server); err != nil {
		return TCPRecord{Why: err.Error()}
	}
	var stall time.Duration
	for _, i := range server.Intervals {
		r.Mbits = append(r.Mbits, i.Sum.Bytes*8/1e6/tcpStep.Seconds())
		if i.Sum.Bytes > 0 {
			stall = 0
		} else if stall += tcpStep; stall > r.Stall {
			r.Stall = stall
		}
	}
	r.Mean = client.End.SumReceived.BitsPerSecond / 1e6
	perSecond := int(time.Second / tcpStep)
	for _, mbits := range r.Mbits[max(0, len(r.Mbits)-perSecond):] {
		r.Survived = r.Survived || mbits > 0
	}
	if r.Why = client.Error + server.Error; r.Why != "" || f.client.Err() != nil {
		r.Survived = false
	}
	return r
}
