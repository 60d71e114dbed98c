package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A Figure is a number that runs yield.
type Figure struct {
	Name string
	What string // in a line
	Unit string
	Less bool // less is better
}

// Figures are all of them, in the order in which they are shown.
var Figures = []Figure{
	{Name: "tcp-1", What: "TCP, 1 flow", Unit: "Mb/s"},
	{Name: "tcp-4", What: "TCP, 4 flows", Unit: "Mb/s"},
	{Name: "tcp-16", What: "TCP, 16 flows", Unit: "Mb/s"},
	{Name: "tcp-1-reverse", What: "TCP, 1 flow, reverse", Unit: "Mb/s"},
	// Of all processors, kernel and hosts included, but for what other programs had.
	{Name: "cpu", What: "processor time, TCP 1 flow", Unit: "s/GB", Less: true},
	{Name: "udp-64", What: "UDP, 64 bytes", Unit: "packets/s"},
	{Name: "udp-512", What: "UDP, 512 bytes", Unit: "packets/s"},
	{Name: "udp-1400", What: "UDP, 1,400 bytes", Unit: "packets/s"},
	{Name: "rtt-idle-p50", What: "round trip, idle, median", Unit: "ms", Less: true},
	{Name: "rtt-idle-p99", What: "round trip, idle, 99th percentile", Unit: "ms", Less: true},
	{Name: "rtt-load-p50", What: "round trip beside a flow, median", Unit: "ms", Less: true},
	{Name: "rtt-load-p99", What: "round trip beside a flow, 99th percentile", Unit: "ms", Less: true},
	{Name: "loss-0.1", What: "TCP, 1 flow, 0.1 % loss", Unit: "Mb/s"},
	{Name: "loss-1", What: "TCP, 1 flow, 1 % loss", Unit: "Mb/s"},
	{Name: "relay-direct", What: "TCP, 1 flow, direct path, beside the next", Unit: "Mb/s"},
	{Name: "relay", What: "TCP, 1 flow, through a queue-VR", Unit: "Mb/s"},
	{Name: "stream", What: "TCP, 1 flow, over a TLS connection", Unit: "Mb/s"},
	{Name: "memory", What: "resident memory of the larger router under load", Unit: "MiB", Less: true},
}

// A Sample is what one run gave.
type Sample struct {
	Regime  Regime `json:"regime"`
	Measure string `json:"measure"`
	Party   string `json:"party"`
	Round   int    `json:"round"` // from 0
	// Values are figures by their names, and what else is worth keeping, under other names.
	Values map[string]float64 `json:"values,omitempty"`
	// Load is who had the machine meanwhile; of a UDP search, during the trial that counts.
	Load      Load   `json:"load"`
	Disturbed bool   `json:"disturbed"` // by others, so much that the sample says little
	Error     string `json:"error,omitempty"`
	Command   string `json:"command,omitempty"` // what made the traffic
}

// Line says in a line what the run gave.
func (s Sample) Line() string {
	if s.Error != "" {
		first, _, _ := strings.Cut(s.Error, "\n")
		return "FAILED: " + first
	}
	var parts []string
	for _, f := range Figures {
		if v, ok := s.Values[f.Name]; ok && f.Name != "memory" {
			parts = append(parts, number(v)+" "+f.Unit)
		}
	}
	if len(parts) == 0 { // a measure of a reproduction
		for _, name := range []string{s.Measure, s.Measure + "-p50"} {
			if v, ok := s.Values[name]; ok {
				parts = append(parts, number(v))
			}
		}
	}
	if s.Disturbed {
		parts = append(parts, fmt.Sprintf("disturbed: others had %.0f %% of the machine", 100*s.Load.share()))
	}
	return strings.Join(parts, ", ")
}

// A Party is who carried packets.
type Party struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	MTU     int    `json:"mtu"` // of its tunnel
	Setup   string `json:"setup,omitempty"`
}

// A Machine is where a report was made.
type Machine struct {
	Kernel   string   `json:"kernel"`
	CPU      string   `json:"cpu"`
	CPUs     int      `json:"cpus"`
	Memory   int      `json:"memory_mib"`
	Programs []string `json:"programs,omitempty"` // that measure, with their versions
}

// A Report is what a run of `vine bench` found.
type Report struct {
	Command     string   `json:"command"`
	Started     string   `json:"started"` // RFC 3339
	Seconds     float64  `json:"seconds"`
	Interrupted bool     `json:"interrupted"` // not all that was planned was done
	Options     Options  `json:"options"`
	Machine     Machine  `json:"machine"`
	Parties     []Party  `json:"parties"`
	Missing     []string `json:"missing,omitempty"` // peers that are not installed, or could not be set up, and why
	Samples     []Sample `json:"samples"`
}

// Spread returns what is left of a figure of a party in a regime, and whether others disturbed it: undisturbed
// samples alone count as soon as there is one.
func (r Report) Spread(regime Regime, figure, party string) (s Spread, disturbed bool) {
	quiet, rest := r.rounds(regime, figure, party)
	return choose(values(quiet), values(rest))
}

// Ratio is Spread for a figure of one party divided by the same of another, or by another figure. The quotient is taken
// within each round, so that what changes from round to round does not count.
func (r Report) Ratio(regime Regime, figure, party string, ofFigure, ofParty string) (s Spread, disturbed bool) {
	quiet, rest := r.rounds(regime, figure, party)
	quietOf, restOf := r.rounds(regime, ofFigure, ofParty)
	return choose(quotients(quiet, quietOf), quotients(rest, restOf))
}

func choose(quiet, all []float64) (Spread, bool) {
	if len(quiet) > 0 {
		return spreadOf(quiet), false
	}
	return spreadOf(all), len(all) > 0
}

// rounds returns a figure's value in each round: of undisturbed samples, and of all. Where several measures of a
// round yield the figure, the median counts.
func (r Report) rounds(regime Regime, figure, party string) (quiet, all map[int]float64) {
	collect := map[int][2][]float64{}
	for _, s := range r.Samples {
		v, ok := s.Values[figure]
		if !ok || s.Regime != regime || s.Party != party || s.Error != "" {
			continue
		}
		lists := collect[s.Round]
		lists[1] = append(lists[1], v)
		if !s.Disturbed {
			lists[0] = append(lists[0], v)
		}
		collect[s.Round] = lists
	}
	quiet, all = map[int]float64{}, map[int]float64{}
	for round, lists := range collect {
		if len(lists[0]) > 0 {
			quiet[round] = Quantile(lists[0], 0.5)
		}
		all[round] = Quantile(lists[1], 0.5)
	}
	return quiet, all
}

func values(rounds map[int]float64) (list []float64) {
	for _, v := range rounds {
		list = append(list, v)
	}
	return list
}

func quotients(a, b map[int]float64) (list []float64) {
	for round, v := range a {
		if of, ok := b[round]; ok && of != 0 {
			list = append(list, v/of)
		}
	}
	return list
}

// Regimes returns the regimes of which there are samples.
func (r Report) Regimes() (list []Regime) {
	for _, regime := range Regimes {
		if slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Regime == regime }) {
			list = append(list, regime)
		}
	}
	return list
}

// A Summary is what is left of a figure of a party in a regime.
type Summary struct {
	Regime Regime `json:"regime"`
	Figure string `json:"figure"`
	Unit   string `json:"unit"`
	Party  string `json:"party"`
	Spread
	Disturbed bool `json:"disturbed"` // all its samples were
}

// Summary returns every figure of which there is a sample.
func (r Report) Summary() (list []Summary) {
	for _, regime := range r.Regimes() {
		for _, f := range Figures {
			for _, p := range r.Parties {
				if s, disturbed := r.Spread(regime, f.Name, p.Name); s.N > 0 {
					list = append(list, Summary{regime, f.Name, f.Unit, p.Name, s, disturbed})
				}
			}
		}
	}
	return list
}

// best returns the party other than ours and the kernel that is best at a figure in a regime, or "".
func (r Report) best(regime Regime, f Figure) (party string) {
	least := math.Inf(1)
	for _, p := range r.Parties {
		if p.Name == Kernel || Ours(p.Name) {
			continue
		}
		s, _ := r.Spread(regime, f.Name, p.Name)
		badness := s.Median
		if !f.Less {
			badness = -badness
		}
		if s.N > 0 && badness < least {
			least, party = badness, p.Name
		}
	}
	return party
}

// figureOf returns a figure by its name.
func figureOf(name string) Figure {
	for _, f := range Figures {
		if f.Name == name {
			return f
		}
	}
	return Figure{Name: name, What: name}
}

// Disturbed returns how many samples others disturbed, and how many failed.
func (r Report) Disturbed() (disturbed, failed int) {
	for _, s := range r.Samples {
		if s.Disturbed {
			disturbed++
		}
		if s.Error != "" {
			failed++
		}
	}
	return disturbed, failed
}

// errors returns the different errors of samples, with whose they are.
func (r Report) errors() (list []string) {
	for _, s := range r.Samples {
		if s.Error == "" {
			continue
		}
		first, _, _ := strings.Cut(s.Error, "\n")
		if line := string(s.Regime) + ", " + s.Measure + ", " + s.Party + ": " + first; !slices.Contains(list, line) {
			list = append(list, line)
		}
	}
	return list
}
