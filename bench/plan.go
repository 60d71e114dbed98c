package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Regime is what the wires between the machines are like.
type Regime string

// The regimes.
const (
	// Unlimited: a veth pair as Linux makes it. A super-packet of 64 KB crosses it as one, and the kernel touches no byte.
	Unlimited Regime = "unlimited"
	// NIC: between the sites no packet is larger than the MTU, as behind a network card without segmentation offload;
	// both ends join what arrives (GRO). The LANs are as in Unlimited.
	NIC Regime = "nic"
	// NICLAN: the same on the LANs too.
	NICLAN Regime = "nic-lan"
	// Gigabit: NIC, and the wire between the sites carries 1 Gb/s each way.
	Gigabit Regime = "gigabit"
)

// Regimes are all of them.
var Regimes = []Regime{Unlimited, NIC, NICLAN, Gigabit}

// What says in a line what the regime is.
func (r Regime) What() string {
	switch r {
	case Unlimited:
		return "veth as it comes: 64 KB cross the wires in one piece"
	case NIC:
		return "the wire between the sites carries packets of at most 1,500 bytes (no TSO, GSO, USO; GRO at its ends)"
	case NICLAN:
		return "the same for the wires of the LANs"
	case Gigabit:
		return "nic, and 1 Gb/s between the sites: tbf at 984.4 Mb/s, which counts 1,514 of a full frame's 1,538 bytes"
	}
	return ""
}

// A Topology is how the two sites are joined.
type Topology string

// The topologies. In all of them each site has one host and one router.
const (
	// Direct: host - router - wire - router - host.
	Direct Topology = "direct"
	// Lossy: between the routers is a third machine that forwards by its kernel and loses some packets, each for itself.
	Lossy Topology = "lossy"
	// Relayed: between the routers is a third machine that forwards nothing by its kernel. It runs a queue-VR, and the
	// routers of the sites are limited VRs.
	Relayed Topology = "relayed"
	// Streamed is Direct, but no UDP passes between the routers.
	Streamed Topology = "streamed"
)

// A Kind is how something is measured.
type Kind int

// The kinds of measure.
const (
	TCP  Kind = iota // iperf3
	UDP              // a search for the highest rate with little loss
	Ping             // round trips
)

// A Measure is one thing to measure at a party.
type Measure struct {
	Name     string
	What     string // in a line
	Kind     Kind
	Topology Topology
	Flows    int     // TCP
	Reverse  bool    // TCP: from the far host to the near one
	Write    int     // TCP: bytes that the sender writes at once, zero: as it likes
	Size     int     // UDP, Ping: bytes of an IP packet, zero: the MTU of the party's tunnel
	Fragment bool    // UDP: routers may fragment the packets
	Loss     float64 // per cent, in Lossy
	Loaded   bool    // Ping: while a TCP flow fills the path in the same direction
	OursOnly bool    // a measure of ViNe alone
	option   string  // what chooses it on the command line, if not Name
}

// Measures are all of them.
var Measures = []Measure{
	{Name: "tcp-1", What: "TCP, one flow; processor time per gigabyte, memory", Kind: TCP, Topology: Direct, Flows: 1},
	{Name: "tcp-4", What: "TCP, 4 flows", Kind: TCP, Topology: Direct, Flows: 4},
	{Name: "tcp-16", What: "TCP, 16 flows", Kind: TCP, Topology: Direct, Flows: 16},
	{Name: "tcp-1-reverse", What: "TCP, one flow the other way", Kind: TCP, Topology: Direct, Flows: 1, Reverse: true},
	{Name: "udp-64", What: "UDP packets of 64 bytes a second, less than 0.1 % lost", Kind: UDP, Topology: Direct, Size: 64},
	{Name: "udp-512", What: "the same, 512 bytes", Kind: UDP, Topology: Direct, Size: 512},
	{Name: "udp-1400", What: "the same, 1,400 bytes", Kind: UDP, Topology: Direct, Size: 1400},
	{Name: "rtt-idle", What: "round-trip time of a ping, nothing else happening", Kind: Ping, Topology: Direct, Size: 84},
	{Name: "rtt-load", What: "the same beside one TCP flow", Kind: Ping, Topology: Direct, Size: 84, Loaded: true},
	{Name: "loss-0.1", What: "TCP, one flow, 0.1 % of all packets between the sites lost at random", Kind: TCP, Topology: Lossy, Flows: 1, Loss: 0.1},
	{Name: "loss-1", What: "the same, 1 %", Kind: TCP, Topology: Lossy, Flows: 1, Loss: 1},
	{Name: "relay", What: "TCP, one flow, through a queue-VR; beside it the direct path", Kind: TCP, Topology: Relayed, Flows: 1, OursOnly: true},
	{Name: "stream", What: "TCP, one flow, over a TLS connection, where no UDP passes", Kind: TCP, Topology: Streamed, Flows: 1, OursOnly: true},
	{Name: "relay-direct", What: "TCP, one flow, on the direct path", Kind: TCP, Topology: Direct, Flows: 1, OursOnly: true, option: "relay"},
}

// Option returns the name by which the measure is chosen.
func (m Measure) Option() string {
	if m.option != "" {
		return m.option
	}
	return m.Name
}

// Kernel and Vine are the parties that are always there: the kernel's forwarding, without encryption or anything
// else, and ViNe. Vine's name begins those of further builds of it: "vine:NAME".
const (
	Kernel = "kernel"
	Vine   = "vine"
)

// Ours reports whether a party is a build of ViNe. A name may go on behind a slash with how the party is set up.
func Ours(party string) bool {
	base, _, _ := strings.Cut(party, "/")
	build, further := strings.CutPrefix(base, Vine+":")
	return base == Vine || further && build != ""
}

// Options are what a user chooses.
type Options struct {
	Regimes  []Regime      `json:"regimes"`
	Measures []string      `json:"measures"`
	Parties  []string      `json:"parties"`
	Length   time.Duration `json:"length_ns"` // of one run
	Rounds   int           `json:"rounds"`
	// Wait is how long, in all, to wait for other programs to be quiet: a run then does not begin while they are not,
	// and one that they disturbed is made again.
	Wait time.Duration `json:"wait_ns"`
}

// A Run is one measure at one party.
type Run struct {
	Round   int
	Measure Measure
	Party   string
}

// A Stage is the runs that want the same wires. Everything that its runs need is set up before the first and taken
// down after the last.
type Stage struct {
	Regime Regime
	Runs   []Run // in their order
}

// Labs returns which parties the stage needs in which topology.
func (s Stage) Labs() (labs []Place) {
	for _, r := range s.Runs {
		if p := (Place{r.Party, r.Measure.Topology}); !slices.Contains(labs, p) {
			labs = append(labs, p)
		}
	}
	return labs
}

// A Place is a party in a topology.
type Place struct {
	Party    string
	Topology Topology
}

// String says it in words.
func (p Place) String() string {
	if p.Topology == Direct {
		return p.Party
	}
	return fmt.Sprintf("%s (%s)", p.Party, p.Topology)
}

// Plan returns what to do for the options, which Check has passed. Within a stage, rounds are outermost and parties
// innermost. The order of the parties is turned from one measure to the next, and runs backwards in every other
// round, so that none is always the one after the same other.
func Plan(o Options) (stages []Stage) {
	for _, regime := range o.Regimes {
		for _, part := range []Topology{Direct, Lossy, Relayed} {
			stage := Stage{Regime: regime}
			for round := range o.Rounds {
				turn := round
				for _, m := range Measures {
					if !slices.Contains(o.Measures, m.Option()) || m.part() != part || !m.in(regime) {
						continue
					}
					for i := range o.Parties {
						i = (i + turn) % len(o.Parties)
						if round%2 == 1 {
							i = len(o.Parties) - 1 - i
						}
						if party := o.Parties[i]; !m.OursOnly || Ours(party) {
							stage.Runs = append(stage.Runs, Run{round, m, party})
						}
					}
					turn++
				}
			}
			if len(stage.Runs) > 0 {
				stages = append(stages, stage)
			}
		}
	}
	return stages
}

// part returns the stage that the measure belongs to: what is compared with relaying is measured beside it.
func (m Measure) part() Topology {
	if m.OursOnly {
		return Relayed
	}
	return m.Topology
}

// in reports whether the measure makes sense in a regime: where 64 KB cross a wire in one piece, no single packet is lost.
func (m Measure) in(r Regime) bool { return m.Topology != Lossy || r != Unlimited }

// Check reports what is wrong with the options.
func (o Options) Check() error {
	switch {
	case len(o.Regimes) == 0 || len(o.Measures) == 0 || len(o.Parties) == 0:
		return fmt.Errorf("nothing to measure")
	case o.Rounds < 1 || o.Rounds > 1000:
		return fmt.Errorf("%d rounds: from 1 to 1,000 make sense", o.Rounds)
	case o.Length < time.Second || o.Length > time.Hour:
		return fmt.Errorf("runs of %v: from a second to an hour make sense", o.Length)
	case o.Wait < 0:
		return fmt.Errorf("wait for %v: that is no time", o.Wait)
	}
	for _, list := range [][]string{o.Measures, o.Parties, names(o.Regimes)} {
		for i, name := range list {
			if slices.Contains(list[:i], name) {
				return fmt.Errorf("%s is named twice", name)
			}
		}
	}
	for _, m := range o.Measures {
		if !slices.ContainsFunc(Measures, func(known Measure) bool { return known.Option() == m }) {
			return fmt.Errorf("there is no measure %q", m)
		}
	}
	for _, r := range o.Regimes {
		if !slices.Contains(Regimes, r) {
			return fmt.Errorf("there is no regime %q", r)
		}
	}
	return nil
}

func names(regimes []Regime) (list []string) {
	for _, r := range regimes {
		list = append(list, string(r))
	}
	return list
}

const (
	// trialShare is how long a trial of a search lasts, as a share of the length of a run, and trialsUsual how many
	// a search takes that starts from an earlier one's result.
	trialShare  = 0.2
	trialsUsual = 8
	// settle is what a run takes beside what it measures: programs start and end.
	settle = 600 * time.Millisecond
	// openTime is how long it takes to set up one party.
	openTime = 1500 * time.Millisecond
)

// TrialLength returns how long one trial of a search lasts, if runs last as long as given.
func TrialLength(run time.Duration) time.Duration {
	return max(300*time.Millisecond, time.Duration(trialShare*float64(run)))
}

// Estimate returns how long a run takes, about.
func (r Run) Estimate(length time.Duration) time.Duration {
	switch {
	case r.Measure.Kind == UDP:
		return trialsUsual*(TrialLength(length)+200*time.Millisecond) + settle
	case r.Measure.Loaded:
		return length + time.Second + settle
	default:
		return length + settle
	}
}

// Estimate returns how long a stage takes, about.
func (s Stage) Estimate(length time.Duration) time.Duration {
	d := time.Duration(len(s.Labs())) * openTime
	for _, r := range s.Runs {
		d += r.Estimate(length)
	}
	return d
}
