package bench

import (
	"fmt"
	"strings"
)

// The ways in which a VR captures packets of its LAN, as capture.kind has them.
var captureWays = []string{"tun", "tap", "raw", "nfqueue"}

const captureVariant = "capture-"

// VineCapturing names ViNe with ways of capture at the near and at the far site. Traffic is captured at the near one and
// injected at the far one, but for acknowledgements and answers.
func VineCapturing(near, far string) string {
	return Vine + "/" + captureVariant + near + "," + far
}

// CapturingOf returns the ways of a variant that VineCapturing has named.
func CapturingOf(variant string) (near, far string, ok bool) {
	words, ok := strings.CutPrefix(variant, captureVariant)
	if !ok {
		return "", "", false
	}
	near, far, ok = strings.Cut(words, ",")
	return near, far, ok
}

// interceptedSizes are those of IP packets in our form of figures 4-4 and 4-5.
var interceptedSizes = []int{64, 400, 1400}

func udpPackets(size int) Measure {
	return Measure{Name: fmt.Sprintf("udp-%d", size), Kind: UDP, Topology: Direct, Size: size}
}

// interception returns the reproduction of figure 4-4 or 4-5: in each row the party has another way at one site.
func interception(name, title string, party func(way string) string, theirs []string, note string) Reproduction {
	// fills is how many packets of so many bytes a second fill 1 Gb/s: with each go 38 bytes of Ethernet, gap and preamble included.
	fills := func(size int) string { return commas(int64(1e9 / 8 / (size + 38))) }
	return Reproduction{
		Name: name, Title: title,
		Plan: func(rounds int) []Stage {
			parties := []string{Kernel}
			for _, way := range captureWays {
				parties = append(parties, party(way))
			}
			var measures []Measure
			for _, size := range interceptedSizes {
				measures = append(measures, udpPackets(size))
			}
			return []Stage{interleave(Unlimited, rounds, parties, append(measures, tcpOne)...)}
		},
		Table: func(r Report) Table {
			t := Table{Head: []string{"way"}}
			for _, size := range interceptedSizes {
				t.Head = append(t.Head, fmt.Sprintf("%d bytes", size))
			}
			t.Head = append(t.Head, "TCP, Mb/s", "CPU, s/GB", "dissertation")
			row := func(what, party, theirs string) {
				cells := []string{what}
				for _, size := range interceptedSizes {
					cells = append(cells, cell(r.Spread(Unlimited, udpPackets(size).Name, party)))
				}
				t.Rows = append(t.Rows, append(cells, cell(r.Spread(Unlimited, tcpOne.Name, party)), cell(r.Spread(Unlimited, "cpu", party)), theirs))
			}
			row("none: kernel forwarding", Kernel, "-")
			for i, way := range captureWays {
				row(way, party(way), theirs[i])
			}
			full := []string{"what fills 1 Gb/s"}
			for _, size := range interceptedSizes {
				full = append(full, fills(size))
			}
			t.Rows = append(t.Rows, append(full, "-", "-", "-"))
			t.Notes = []string{note, "Packets a second with less than 0.1 % lost, through the whole chain: captured, sealed, opened and injected on one machine. The" +
				" dissertation's figure has interception or injection alone, and is a drawing without numbers."}
			return t
		},
	}
}

var interceptions = interception("4-4", "Figure 4-4: ways of interception at the sending site, TUN at the receiving one: UDP packets a second by length, TCP",
	func(way string) string { return VineCapturing(way, "tun") },
	[]string{"1 Gb/s from 400 bytes on", "1 Gb/s from 400 bytes on", "1 Gb/s from 400 bytes on", "the least of all"},
	"With raw and nfqueue the kernel does nothing with what is captured; where it did, the dissertation lost over half of its speed.")

var injections = interception("4-5", "Figure 4-5: ways of injection at the receiving site, TUN at the sending one: UDP packets a second by length, TCP",
	func(way string) string { return VineCapturing("tun", way) },
	[]string{"faster than raw sockets to the machine itself", "the same", "more appropriate to a LAN", "not shown"},
	"Raw and nfqueue send Ethernet frames to the hosts; with tun and tap the kernel routes what is injected to the LAN, which the dissertation could not measure for loss.")
