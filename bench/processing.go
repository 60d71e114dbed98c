package bench

import (
	"fmt"
	"strings"
	"time"
)

const slowVariant = "slow-"

// VineSlowed names ViNe with lanes of such a number, whose near and far VR spend a time on each packet that they take from a host.
func VineSlowed(each time.Duration, lanes int) string {
	return fmt.Sprintf("%s/%s%d,%d", Vine, slowVariant, each.Nanoseconds(), lanes)
}

// SlowedOf returns the time and the lanes of a variant that VineSlowed has named.
func SlowedOf(variant string) (each time.Duration, lanes int, ok bool) {
	words, ok := strings.CutPrefix(variant, slowVariant)
	if !ok {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(words, "%d,%d", &each, &lanes)
	return each, lanes, n == 2 && err == nil
}

const us = time.Microsecond

// processing is figure 4-12. 50 us is the dissertation's example: 1,472 bytes every 50 us are 235 Mb/s.
var processing = Reproduction{
	Name: "4-12", Title: "Figure 4-12: effect of the time that a VR spends on a packet, on 1 Gb/s: UDP, TCP in Mb/s",
	Plan: func(rounds int) []Stage {
		var parties []string
		for _, each := range processingTimes {
			parties = append(parties, VineSlowed(each, 1))
		}
		return []Stage{interleave(Gigabit, rounds, parties, udpMTU, tcpOne)}
	},
	Table: func(r Report) Table {
		t := Table{Head: []string{"on each packet", "UDP", "TCP", "UDP, if nothing else took time"}}
		for _, each := range processingTimes {
			most := "-"
			if each > 0 {
				most = fmt.Sprintf("%.0f", min(Ceiling(udpHeader, OursOverhead), float64(slowedMTU-ipHeader-udpHeader)*8/each.Seconds()/1e6))
			}
			t.Rows = append(t.Rows, []string{each.String(), cell(r.mbits(Gigabit, udpMTU.Name, VineSlowed(each, 1))),
				cell(r.Spread(Gigabit, tcpOne.Name, VineSlowed(each, 1))), most})
		}
		t.Notes = []string{"A loop between capture and forwarding, for each segment of a super-packet too, at both VRs. The dissertation's forwarder" +
			" lost throughput from 5 us on, and had 235 Mb/s of UDP at 50 us; its figure is a drawing without numbers."}
		return t
	},
}

var processingTimes = []time.Duration{0, 1 * us, 2 * us, 5 * us, 10 * us, 20 * us, 50 * us}

// slowedMTU is what ViNe's hosts send at most: the default of capture.mtu.
const slowedMTU = 1400

// workers is figure 4-13, with lanes in place of worker threads.
var workers = Reproduction{
	Name: "4-13", Title: "Figure 4-13: lanes, by the time that a VR spends on a packet, on 1 Gb/s: TCP, 4 flows, in Mb/s",
	Plan: func(rounds int) []Stage {
		var parties []string
		for _, each := range workerTimes {
			for _, lanes := range workerLanes {
				parties = append(parties, VineSlowed(each, lanes))
			}
		}
		return []Stage{interleave(Gigabit, rounds, parties, tcpFour)}
	},
	Table: func(r Report) Table {
		t := Table{Head: []string{"on each packet"}}
		for _, lanes := range workerLanes {
			t.Head = append(t.Head, fmt.Sprintf("%d lanes", lanes))
		}
		t.Head[1] = "1 lane"
		for _, each := range workerTimes {
			row := []string{each.String()}
			for _, lanes := range workerLanes {
				row = append(row, cell(r.Spread(Gigabit, tcpFour.Name, VineSlowed(each, lanes))))
			}
			t.Rows = append(t.Rows, row)
		}
		t.Notes = []string{"The flows of a host pair are shared among the lanes; one flow stays on one. The dissertation, on machines of 4 processors: few" +
			" threads are better while a packet takes little time, as many as processors when it takes much, more than that never. Here both hosts and both VRs share the" +
			" processors of one machine."}
		return t
	},
}

var (
	workerTimes = []time.Duration{0, 5 * us, 20 * us, 50 * us, 100 * us}
	workerLanes = []int{1, 2, 4}
	tcpFour     = Measure{Name: "tcp-4", Kind: TCP, Topology: Direct, Flows: 4}
)
