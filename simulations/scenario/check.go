package scenario

import (
	"fmt"
	"slices"
	"time"
)

var natKinds = []string{"none", "full-cone", "restricted-cone", "port-restricted", "symmetric", "firewall", "udp-blocked"}

// scenario checks a whole file.
func (c *checker) scenario(raw *rawFile) *Scenario {
	s := &Scenario{
		Name: c.name("name", raw.Name, map[string]bool{}), About: raw.About,
		Engine:   c.oneOf("engine", raw.Engine, "model", "real"),
		Warmup:   c.duration("warmup", raw.Warmup, 0, timeMax),
		Duration: c.duration("duration", raw.Duration, time.Second, timeMax),
		Seeds:    c.number("seeds", raw.Seeds, 1, 1000),
	}
	s.Every = c.duration("every", raw.Every, time.Second, max(time.Second, s.Duration))
	if s.Every > 0 && s.Duration/s.Every > 100_000 {
		c.bad("every", "makes more than 100,000 samples of %v", s.Duration)
	}
	s.Bounds = Bounds{
		Reach: c.duration("bounds.reach", raw.Bounds.Reach, time.Second, timeMax), Relay: c.duration("bounds.relay", raw.Bounds.Relay, time.Second, timeMax),
		Converge: c.duration("bounds.converge", raw.Bounds.Converge, time.Second, timeMax), Memory: raw.Bounds.Memory,
	}
	if s.Bounds.Memory <= 0 {
		c.bad("bounds.memory", "%d is no bound", s.Bounds.Memory)
	}
	s.Network = Network{
		Latency: c.latency(&raw.Network.Latency), Jitter: c.duration("network.jitter", raw.Network.Jitter, 0, 10*time.Second),
		Loss: c.percent("network.loss", raw.Network.Loss),
	}
	c.groups(s, raw)
	c.vns(s, raw)
	c.events(s, raw)
	return s
}

func (c *checker) latency(raw *rawLatency) Latency {
	const key = "network.latency."
	l := Latency{
		Kind:  c.oneOf(key+"kind", raw.Kind, "fixed", "uniform", "lognormal", "coordinates", "ring", "matrix"),
		Least: c.duration(key+"least", raw.Least, 0, 10*time.Second), Most: c.duration(key+"most", raw.Most, 0, 10*time.Second),
		Median:         c.duration(key+"median", raw.Median, time.Microsecond, 10*time.Second),
		SigmaThousands: c.thousandths(key+"sigma", raw.Sigma, 0, 3),
	}
	switch l.Kind {
	case "fixed":
		l.Most = l.Least
	case "uniform", "coordinates", "ring":
		if l.Least > l.Most {
			c.bad(key+"least", "%v is more than the most, %v", l.Least, l.Most)
		}
	case "matrix":
		l.Regions, l.Matrix = c.matrix(key+"matrix", raw.Matrix)
	}
	return l
}

func (c *checker) groups(s *Scenario, raw *rawFile) {
	if len(raw.Group) == 0 {
		c.bad("group", "a scenario has at least one [[group]]")
	}
	names := map[string]bool{}
	public := false
	for i := range raw.Group {
		r := &raw.Group[i]
		key := fmt.Sprintf("group[%d].", i)
		g := Group{
			Name: c.name(key+"name", r.Name, names), Count: c.number(key+"count", *r.Count, 1, vrsMax),
			NAT: c.oneOf(key+"nat", r.NAT, natKinds...), Region: r.Region, Queue: r.Queue,
			Up: c.bandwidth(key+"up", r.Up), Down: c.bandwidth(key+"down", r.Down), Loss: c.percent(key+"loss", r.Loss), Liar: r.Liar,
		}
		if r.Liar != "" {
			c.oneOf(key+"liar", r.Liar, "suspects", "capacity", "drops", "stale")
		}
		if g.Queue && g.NAT != "none" {
			c.bad(key+"queue", "a VR with nat = %q cannot be reached from outside, so it serves nobody", g.NAT)
		}
		if s.Network.Latency.Kind == "matrix" && len(s.Network.Latency.Regions) > 0 && !slices.Contains(s.Network.Latency.Regions, g.Region) {
			c.bad(key+"region", "%q is not a region of the latency matrix", g.Region)
		}
		if s.Network.Latency.Kind != "matrix" && g.Region != "" {
			c.bad(key+"region", "regions need a latency matrix")
		}
		public = public || g.NAT == "none"
		g.Churn = c.churn(key+"churn.", &r.Churn, &g)
		s.Groups = append(s.Groups, g)
	}
	if n := s.VRs(); n > vrsMax {
		c.bad("group", "%d VRs are more than %d", n, vrsMax)
	}
	if len(raw.Group) > 0 && !public {
		c.bad("group", "no VR can be reached from outside (nat = \"none\"), so none can join another")
	}
}

func (c *checker) churn(key string, raw *rawChurn, g *Group) Churn {
	ch := Churn{
		Kind:    c.oneOf(key+"kind", raw.Kind, "none", "exponential", "weibull", "pareto", "diurnal", "flash", "trace"),
		Session: c.duration(key+"session", raw.Session, time.Second, timeMax), Away: c.duration(key+"away", raw.Away, time.Second, timeMax),
		ShapeThousands: c.thousandths(key+"shape", *raw.Shape, 0.2, 10), Graceful: c.percent(key+"graceful", raw.Graceful),
		Period: c.duration(key+"period", raw.Period, time.Minute, timeMax),
		At:     c.duration(key+"at", raw.At, 0, timeMax), Within: c.duration(key+"within", raw.Within, time.Second, timeMax),
	}
	if ch.Kind == "trace" {
		ch.Trace = c.trace(key+"trace", raw.Trace, g)
	}
	return ch
}

func (c *checker) vns(s *Scenario, raw *rawFile) {
	groups := map[string]bool{}
	for _, g := range s.Groups {
		groups[g.Name] = true
	}
	taken := map[string]bool{}
	for i := range raw.VN {
		r, key := &raw.VN[i], fmt.Sprintf("vn[%d].", i)
		s.VNs = append(s.VNs, VN{
			Name: c.name(key+"name", r.Name, taken), Groups: c.known(key+"groups", r.Groups, groups, "group"), Sample: c.number(key+"sample", r.Sample, 0, vrsMax),
		})
	}
	if len(raw.VN) == 0 {
		s.VNs, taken["all"] = []VN{{Name: "all"}}, true
	}
	for i := range raw.Traffic {
		r, key := &raw.Traffic[i], fmt.Sprintf("traffic[%d].", i)
		c.known(key+"vn", []string{r.VN}, taken, "VN")
		s.Traffic = append(s.Traffic, Traffic{
			VN: r.VN, Pairs: c.number(key+"pairs", *r.Pairs, 1, 1_000_000), Interval: c.duration(key+"interval", r.Interval, time.Millisecond, timeMax),
			Bytes: c.number(key+"bytes", *r.Bytes, 28, 1400),
		})
	}
}

// uses says which fields an event takes beside at and do: g groups, p parts, c count, f for, l latency, o loss, v vn, w with, i into. In
// capitals those that it needs.
var uses = map[string]string{
	"partition": "gp", "heal": "", "kill": "gc", "restart": "gc", "leave": "gc", "pause": "gcF", "slow": "gcFL", "loss": "FO", "authority-away": "F",
	"vn-create": "gV", "vn-update": "V", "vn-merge": "VWI", "vn-split": "GVI", "vn-shutdown": "V", "revoke": "gc",
}

func (c *checker) events(s *Scenario, raw *rawFile) {
	groups, sizes := map[string]bool{}, map[string]int{}
	for _, g := range s.Groups {
		groups[g.Name], sizes[g.Name] = true, g.Count
	}
	for i := range raw.Event {
		r, key := &raw.Event[i], fmt.Sprintf("event[%d].", i)
		e := Event{Do: r.Do, Line: c.lines.Of(key + "do"), Groups: r.Groups, Parts: r.Parts, Count: r.Count, VN: r.VN, With: r.With, Into: r.Into}
		takes, ok := uses[r.Do]
		if !ok {
			c.bad(key+"do", "%q is nothing that can happen: see docs/simulations.md", r.Do)
			continue
		}
		if r.At == "" {
			c.bad(key+"at", "an event needs a time")
		} else if e.At = c.duration(key+"at", r.At, 0, timeMax); e.At > s.Duration && s.Duration > 0 {
			c.bad(key+"at", "%v is after the end, %v", e.At, s.Duration)
		}
		for _, f := range []struct {
			letter rune
			name   string
			given  bool
		}{
			{'g', "groups", len(r.Groups) > 0}, {'p', "parts", len(r.Parts) > 0}, {'c', "count", r.Count != 0}, {'f', "for", r.For != ""}, {'l', "latency", r.Latency != ""},
			{'o', "loss", r.Loss != ""}, {'v', "vn", r.VN != ""}, {'w', "with", r.With != ""}, {'i', "into", r.Into != ""},
		} {
			may, must := contains(takes, f.letter), contains(takes, f.letter-'a'+'A')
			if must && !f.given {
				c.bad(key+"do", "%s needs %s", r.Do, f.name)
			}
			if f.given && !may && !must {
				c.bad(key+f.name, "%s takes no %s", r.Do, f.name)
			}
		}
		c.known(key+"groups", r.Groups, groups, "group")
		for _, p := range r.Parts {
			c.known(key+"parts", p, groups, "group")
		}
		if r.For != "" {
			e.For = c.duration(key+"for", r.For, time.Second, timeMax)
		}
		if r.Latency != "" {
			e.Latency = c.duration(key+"latency", r.Latency, 0, time.Minute)
		}
		if r.Loss != "" {
			e.Loss = c.percent(key+"loss", r.Loss)
		}
		most := 0
		for _, g := range s.Groups {
			if len(r.Groups) == 0 || slices.Contains(r.Groups, g.Name) {
				most += sizes[g.Name]
			}
		}
		if r.Count < 0 || r.Count > most {
			c.bad(key+"count", "%d of %d VRs", r.Count, most)
		}
		if r.Do == "partition" && (len(r.Groups) > 0) == (len(r.Parts) > 0) {
			c.bad(key+"do", "a partition takes either groups or parts")
		}
		s.Events = append(s.Events, e)
	}
	slices.SortStableFunc(s.Events, func(a, b Event) int { return int(min(max(a.At-b.At, -1), 1)) })
	c.story(s)
}

func contains(s string, r rune) bool { return slices.Contains([]rune(s), r) }

// story checks what can be known of events in their order: VNs that are changed must be there, restarts need somebody who is down.
func (c *checker) story(s *Scenario) {
	there := map[string]bool{}
	for _, v := range s.VNs {
		there[v.Name] = true
	}
	bad := func(e Event, format string, args ...any) {
		c.problems = append(c.problems, fmt.Errorf("line %d: %s at %v: %s", e.Line, e.Do, e.At, fmt.Sprintf(format, args...)))
	}
	need := func(e Event, name string) {
		if !there[name] {
			bad(e, "there is no VN %q then", name)
		}
	}
	fresh := func(e Event, name string) {
		switch {
		case !nameRE.MatchString(name):
			bad(e, "%q is not a name: use a-z, 0-9 and -, at most 63", name)
		case there[name]:
			bad(e, "there is a VN %q already", name)
		}
		there[name] = true
	}
	down, cut := false, false
	for _, g := range s.Groups {
		down = down || g.Churn.Kind != "none"
	}
	for _, e := range s.Events {
		switch e.Do {
		case "partition":
			cut = true
		case "heal":
			if !cut {
				bad(e, "nothing is cut then")
			}
			cut = false
		case "kill", "leave":
			down = true
		case "restart":
			if !down {
				bad(e, "nobody is down then")
			}
		case "vn-create":
			fresh(e, e.VN)
		case "vn-update":
			need(e, e.VN)
		case "vn-shutdown":
			need(e, e.VN)
			delete(there, e.VN)
		case "vn-merge":
			need(e, e.VN)
			need(e, e.With)
			if e.With == e.VN {
				bad(e, "%q with itself", e.VN)
			}
			delete(there, e.VN)
			delete(there, e.With)
			fresh(e, e.Into)
		case "vn-split":
			need(e, e.VN)
			fresh(e, e.Into)
		}
	}
}
