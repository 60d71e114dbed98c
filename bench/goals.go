package bench

import "fmt"

// A Goal is a number to reach.
type Goal struct {
	What    string
	Bound   float64
	AtMost  bool // else at least
	Unit    string
	measure func(Report) (s Spread, against string, disturbed bool)
}

const wireGuard = "wireguard-go"

// Goals are those of the project. A ratio is the median of the rounds' ratios.
var Goals = []Goal{
	ratio("unlimited, TCP 1 flow, to wireguard-go", Unlimited, "tcp-1", wireGuard, 2.5),
	ratio("unlimited, TCP 1 flow, to Nebula", Unlimited, "tcp-1", "nebula", 10),
	ratio("nic, TCP 1 flow, to wireguard-go", NIC, "tcp-1", wireGuard, 2.5),
	ratio("nic, TCP 1 flow, to the kernel", NIC, "tcp-1", Kernel, 0.35),
	ratio("nic, TCP 1 flow, to the kernel, when AES uses VAES", NIC, "tcp-1", Kernel, 0.5),
	{What: fmt.Sprintf("gigabit, TCP 1 flow, to the ceiling of our header by equation 4-1, %.1f Mb/s", Ceiling(tcpHeader, OursOverhead)), Bound: 0.99,
		measure: func(r Report) (Spread, string, bool) {
			s, disturbed := r.Spread(Gigabit, "tcp-1", Vine)
			for _, v := range []*float64{&s.Median, &s.Low, &s.High} {
				*v /= Ceiling(tcpHeader, OursOverhead)
			}
			return s, "", disturbed
		}},
	ratio("gigabit, TCP 1 flow, to wireguard-go", Gigabit, "tcp-1", wireGuard, 1),
	most(ratio("gigabit, processor time per gigabyte, to wireguard-go", Gigabit, "cpu", wireGuard, 0.5)),
	ratio("unlimited, 64-byte packets a second, to wireguard-go", Unlimited, "udp-64", wireGuard, 3),
	best("unlimited, 64-byte packets a second, to the best peer", Unlimited, "udp-64", 1.5),
	most(ratio("unlimited, processor time per gigabyte, to wireguard-go", Unlimited, "cpu", wireGuard, 0.4)),
	most(best("unlimited, round trip when idle, to the best peer", Unlimited, "rtt-idle-p50", 1.1)),
	{What: "gigabit, 99th percentile of the round trip beside a flow", Bound: 2, AtMost: true, Unit: "ms",
		measure: func(r Report) (Spread, string, bool) {
			s, disturbed := r.Spread(Gigabit, "rtt-load-p99", Vine)
			return s, "", disturbed
		}},
	{What: "unlimited, TCP 1 flow through a queue-VR, to our direct path", Bound: 0.6,
		measure: func(r Report) (Spread, string, bool) {
			s, disturbed := r.Ratio(Unlimited, "relay", Vine, "relay-direct", Vine)
			return s, "", disturbed
		}},
	ratio("nic, TCP 1 flow at 1 % loss, to wireguard-go", NIC, "loss-1", wireGuard, 1),
	{What: "resident memory under load, the regime with most", Bound: 64, AtMost: true, Unit: "MiB",
		measure: func(r Report) (most Spread, _ string, disturbed bool) {
			for _, regime := range Regimes {
				if s, d := r.Spread(regime, "memory", Vine); s.Median > most.Median {
					most, disturbed = s, d
				}
			}
			return most, "", disturbed
		}},
}

func ratio(what string, regime Regime, figure, to string, bound float64) Goal {
	return Goal{What: what, Bound: bound, measure: func(r Report) (Spread, string, bool) {
		s, disturbed := r.Ratio(regime, figure, Vine, figure, to)
		return s, "", disturbed
	}}
}

func best(what string, regime Regime, figure string, bound float64) Goal {
	return Goal{What: what, Bound: bound, measure: func(r Report) (Spread, string, bool) {
		party := r.best(regime, figureOf(figure))
		s, disturbed := r.Ratio(regime, figure, Vine, figure, party)
		return s, party, disturbed
	}}
}

func most(g Goal) Goal {
	g.AtMost = true
	return g
}

// An Outcome is how far a goal was reached.
type Outcome struct {
	Goal      string `json:"goal"`
	Bound     string `json:"bound"`
	Measured  Spread `json:"measured"`
	Unit      string `json:"unit,omitempty"`
	Against   string `json:"against,omitempty"` // the peer that was best
	Disturbed bool   `json:"disturbed"`
	Reached   bool   `json:"reached"`
}

// Judge returns the outcome of every goal of which something was measured.
func (r Report) Judge() (list []Outcome) {
	for _, g := range Goals {
		s, against, disturbed := g.measure(r)
		if s.N == 0 {
			continue
		}
		sign, reached := ">=", s.Median >= g.Bound
		if g.AtMost {
			sign, reached = "<=", s.Median <= g.Bound
		}
		bound := fmt.Sprintf("%s %v", sign, g.Bound)
		if g.Unit != "" {
			bound += " " + g.Unit
		}
		list = append(list, Outcome{g.What, bound, s, g.Unit, against, disturbed, reached})
	}
	return list
}

// Verdict says it in words.
func (o Outcome) Verdict() string {
	switch {
	case o.Reached:
		return "reached"
	default:
		return "not reached"
	}
}
