package bench

import (
	"math"
	"testing"
)

// TestCeilings: the dissertation's table 4-1, "Maximum UDP/TCP throughput (Mbps) with (frag) and without IP
// fragmentation".
func TestCeilings(t *testing.T) {
	for _, row := range []struct {
		overhead                int
		udp, udpFrag, tcp, frag float64
	}{
		{0, 957.08, 957.08, 941.48, 941.48},
		{14, 947.98, 907.52, 932.38, 892.72},
		{20, 944.08, 907.52, 928.48, 892.72},
		{28, 938.88, 906.40, 923.28, 891.63},
		{52, 923.28, 893.20, 907.67, 878.64},
	} {
		for i, got := range []float64{
			Ceiling(udpHeader, row.overhead), CeilingFragmented(udpHeader, row.overhead),
			Ceiling(tcpHeader, row.overhead), CeilingFragmented(tcpHeader, row.overhead),
		} {
			if want := []float64{row.udp, row.udpFrag, row.tcp, row.frag}[i]; math.Abs(got-want) > 0.01 { // some are cut off, not rounded
				t.Errorf("overhead %d, column %d: %.3f, want %.2f", row.overhead, i+1, got, want)
			}
		}
	}
}
