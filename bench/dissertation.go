package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Reproduction measures again what a table or figure of the dissertation says, and puts our numbers beside its own.
// Its numbers are of machines of 2007; they are there to show how far the same ratios hold.
type Reproduction struct {
	Name  string // of the table or figure
	Title string
	// Plan are the runs that it needs, none if it only computes.
	Plan func(rounds int) []Stage
	// Table makes the table of a report of these runs.
	Table func(Report) Table
}

// VineAuthOnly is ViNe with a VN whose packets are authenticated and not encrypted.
const VineAuthOnly = Vine + "/auth-only"

// OpenVPNWith names OpenVPN with a cipher and a digest of its own, as its options --cipher and --auth have them.
func OpenVPNWith(cipher, auth string) string { return "openvpn/" + cipher + "," + auth }

// Reproductions are those that need no more than packages bench and lab.
var Reproductions = []Reproduction{ceilings, forwarders, openVPNCase, authentication, interceptions, injections, messageSizes, processing, workers}

// The measures of reproductions. Size zero is the MTU of the party's tunnel.
var (
	tcpOne     = Measure{Name: "tcp-1", Kind: TCP, Topology: Direct, Flows: 1}
	udpMTU     = Measure{Name: "udp-mtu", Kind: UDP, Topology: Direct}
	udpTooLong = Measure{Name: "udp-frag", Kind: UDP, Topology: Direct, Size: mtu, Fragment: true}
	rttMin     = Measure{Name: "rtt-min", Kind: Ping, Topology: Direct, Size: 46}
	rttMTU     = Measure{Name: "rtt-mtu", Kind: Ping, Topology: Direct}
	rttIdle    = Measure{Name: "rtt-idle", Kind: Ping, Topology: Direct, Size: 84}
)

// interleave returns a stage in which all parties are measured in turn.
func interleave(regime Regime, rounds int, parties []string, measures ...Measure) Stage {
	s := Stage{Regime: regime}
	for round := range rounds {
		for i, m := range measures {
			for j := range parties {
				s.Runs = append(s.Runs, Run{round, m, parties[(i+j+round)%len(parties)]})
			}
		}
	}
	return s
}

// PartiesOf returns the parties of stages, in the order of their first run.
func PartiesOf(stages []Stage) (list []string) {
	for _, s := range stages {
		for _, r := range s.Runs {
			if !slices.Contains(list, r.Party) {
				list = append(list, r.Party)
			}
		}
	}
	return list
}

var ceilings = Reproduction{
	Name: "4-1", Title: "Table 4-1: what an application gets of 1 Gb/s at most, Mb/s, by the bytes that a tunnel adds (equations 4-1, 4-2; computed)",
	Table: func(Report) Table {
		t := Table{Head: []string{"overhead of a packet", "UDP", "UDP, fragmented", "TCP", "TCP, fragmented", "dissertation: the same"}}
		theirs := map[int]string{0: "957.08, 957.08, 941.48, 941.48", 14: "947.98, 907.52, 932.38, 892.72", 20: "944.08, 907.52, 928.48, 892.72",
			28: "938.88, 906.40, 923.28, 891.63", 52: "923.28, 893.20, 907.67, 878.64"}
		for _, row := range []struct {
			what     string
			overhead int
		}{
			{"none", 0}, {"an Ethernet header", 14}, {"an IP header", 20}, {"IP and UDP", 28}, {"IP and TCP", 52},
			{"ViNe over IPv4: IP, UDP, 32 bytes with the tag", OursOverhead}, {"ViNe over IPv6", OursOverhead + 20},
			{"ViNe through a queue-VR, IPv4: 48 bytes more", OursOverhead + 48},
			{"WireGuard, Nebula over IPv4", OursOverhead},
		} {
			two := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
			t.Rows = append(t.Rows, []string{fmt.Sprintf("%d: %s", row.overhead, row.what),
				two(Ceiling(udpHeader, row.overhead)), two(CeilingFragmented(udpHeader, row.overhead)),
				two(Ceiling(tcpHeader, row.overhead)), two(CeilingFragmented(tcpHeader, row.overhead)), orNone(theirs[row.overhead])})
		}
		t.Notes = []string{"ViNe sends no IP fragments of its own datagrams: the right column of each pair is what that saves."}
		return t
	},
}

// orNone returns a text, or a dash for none.
func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// mbits returns the payload that a rate of UDP packets carries, by the sample's own packet size.
func (r Report) mbits(regime Regime, figure, party string) (Spread, bool) {
	s, disturbed := r.Spread(regime, figure, party)
	size, _ := r.Spread(regime, figure+"-size", party)
	scale := (size.Median - ipHeader - udpHeader) * 8 / 1e6
	return Spread{s.Median * scale, s.Low * scale, s.High * scale, s.N}, disturbed
}

// fourColumns are UDP, TCP, round trip of small and of large packets, as in tables 4-2 and 4-3.
func (r Report) fourColumns(party string) []string {
	cells := []string{cell(r.mbits(Gigabit, udpMTU.Name, party)), cell(r.Spread(Gigabit, tcpOne.Name, party))}
	for _, m := range []Measure{rttMin, rttMTU} {
		cells = append(cells, cell(r.Spread(Gigabit, m.Name+"-p50", party)))
	}
	return cells
}

var forwarders = Reproduction{
	Name: "4-2", Title: "Table 4-2: forwarders on 1 Gb/s: UDP, TCP in Mb/s, round trips in ms",
	Plan: func(rounds int) []Stage {
		s := interleave(Gigabit, rounds, []string{Kernel, Vine}, udpMTU, tcpOne, rttMin, rttMTU, udpTooLong)
		s.Runs = slices.DeleteFunc(s.Runs, func(r Run) bool { return r.Measure.Fragment && r.Party == Kernel })
		return []Stage{s}
	},
	Table: func(r Report) Table {
		t := Table{Head: []string{"", "UDP", "TCP", "rtt, 46 bytes", "rtt, MTU"}}
		t.Rows = [][]string{
			append([]string{"Linux forwarding, here"}, r.fourColumns(Kernel)...),
			append([]string{"ViNe, here: sealed"}, r.fourColumns(Vine)...),
			{"ViNe, here: packets of 1,500 bytes, fragmented before the tunnel", cell(r.mbits(Gigabit, udpTooLong.Name, Vine)), "-", "-", "-"},
			{"Linux, dissertation", "953.01", "940.02", "0.216", "0.403"},
			{"C forwarder, dissertation: no cryptography", "937.18", "917.77", "0.244", "0.431"},
			{"Java forwarder, dissertation", "936.33", "670.33", "0.257", "0.449"},
			{"C forwarder, fragmenting", "903.32", "845.62", "0.243", "0.465"},
			{"Java forwarder, fragmenting", "808.59", "611.32", "0.282", "0.469"},
		}
		return t
	},
}

// openVPNRows are those of table 4-3, with the dissertation's figures.
var openVPNRows = []struct{ cipher, auth, theirs string }{
	{"none", "none", "933.19 854.43 0.248 0.461"},
	{"none", "MD5", "642.14 516.87 0.254 0.481"},
	{"none", "SHA1", "554.37 442.07 0.261 0.491"},
	{"DES-EDE3-CBC", "none", "84.05 81.09 0.286 0.904"},
	{"AES-128-CBC", "none", "375.62 278.03 0.261 0.526"},
	{"BF-CBC", "none", "308.36 232.52 0.262 0.551"},
	{"AES-128-CBC", "MD5", "314.44 264.66 0.267 0.549"},
	{"AES-256-GCM", "none", ""},
}

var openVPNCase = Reproduction{
	Name: "4-3", Title: "Table 4-3: OpenVPN on 1 Gb/s with several ciphers, and ViNe beside it: UDP, TCP in Mb/s, round trips in ms",
	Plan: func(rounds int) []Stage {
		parties := []string{Vine, VineAuthOnly}
		for _, row := range openVPNRows {
			parties = append(parties, OpenVPNWith(row.cipher, row.auth))
		}
		return []Stage{interleave(Gigabit, rounds, parties, udpMTU, tcpOne, rttMin, rttMTU)}
	},
	Table: func(r Report) Table {
		t := Table{Head: []string{"cipher, digest", "UDP", "TCP", "rtt, 46 bytes", "rtt, MTU", "dissertation, OpenVPN 2.1: UDP, TCP, rtt, rtt"}}
		for _, row := range openVPNRows {
			cells := append([]string{"OpenVPN: " + row.cipher + ", " + row.auth}, r.fourColumns(OpenVPNWith(row.cipher, row.auth))...)
			t.Rows = append(t.Rows, append(cells, orNone(strings.ReplaceAll(row.theirs, " ", ", "))))
		}
		t.Rows = append(t.Rows,
			append(append([]string{"ViNe: AES-128-GCM"}, r.fourColumns(Vine)...), "-"),
			append(append([]string{"ViNe: GMAC, authenticated only"}, r.fourColumns(VineAuthOnly)...), "-"))
		return t
	},
}

var authentication = Reproduction{
	Name: "3-17", Title: "Figure 3-17: what cryptography costs the VR: TCP in Mb/s, processor time in s/GB, round trip in ms",
	Plan: func(rounds int) []Stage {
		return []Stage{interleave(NIC, rounds, []string{Vine, VineAuthOnly}, tcpOne, rttIdle)}
	},
	Table: func(r Report) Table {
		t := Table{Head: []string{"", "TCP", "processor time", "round trip"}}
		for _, p := range []struct{ name, party string }{{"encrypted and authenticated", Vine}, {"authenticated only", VineAuthOnly}} {
			t.Rows = append(t.Rows, []string{p.name, cell(r.Spread(NIC, tcpOne.Name, p.party)), cell(r.Spread(NIC, "cpu", p.party)),
				cell(r.Spread(NIC, "rtt-idle-p50", p.party))})
		}
		ratio := func(figure string) string {
			return cell(r.Ratio(NIC, figure, VineAuthOnly, figure, Vine))
		}
		t.Rows = append(t.Rows, []string{"the second to the first, by rounds", ratio(tcpOne.Name), ratio("cpu"), ratio("rtt-idle-p50")})
		t.Notes = []string{"The dissertation's VR gains \"approximately 50%\" of TCP throughput when its HMAC is switched off. Ours has no such switch:" +
			" what is not authenticated is not accepted. What can be left out is the encryption."}
		return t
	},
}

// messageLengths are those of figure 4-7: bytes that the application writes at once.
var messageLengths = []int{16, 64, 128, 256, 450, 800, 1100, 1372}

func tcpWrites(n int) Measure {
	return Measure{Name: fmt.Sprintf("tcp-writes-%d", n), Kind: TCP, Topology: Direct, Flows: 1, Write: n}
}

func udpMessages(n int) Measure {
	return Measure{Name: fmt.Sprintf("udp-messages-%d", n), Kind: UDP, Topology: Direct, Size: n + ipHeader + udpHeader}
}

var messageSizes = Reproduction{
	Name: "4-7", Title: "Figure 4-7: UDP and TCP on 1 Gb/s by the length of a message, Mb/s that arrive",
	Plan: func(rounds int) []Stage {
		var measures []Measure
		for _, n := range messageLengths {
			measures = append(measures, tcpWrites(n), udpMessages(n))
		}
		return []Stage{interleave(Gigabit, rounds, []string{Kernel, Vine}, measures...)}
	},
	Table: func(r Report) Table {
		t := Table{Head: []string{"bytes", "UDP, kernel", "TCP, kernel", "UDP, ViNe", "TCP, ViNe"}}
		for _, n := range messageLengths {
			row := []string{strconv.Itoa(n)}
			for _, party := range []string{Kernel, Vine} {
				row = append(row, cell(r.mbits(Gigabit, udpMessages(n).Name, party)), cell(r.Spread(Gigabit, tcpWrites(n).Name, party)))
			}
			t.Rows = append(t.Rows, row)
		}
		t.Notes = []string{"TCP joins small messages while an acknowledgement is out (Nagle), so it is ahead of UDP there, as in the dissertation, whose" +
			" figure is a drawing without numbers. UDP: less than 0.1 % lost."}
		return t
	},
}
