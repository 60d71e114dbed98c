package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// example has two rounds of two measures; the second round of wireguard-go was disturbed.
func example() Report {
	r := Report{
		Command: "vine bench", Started: "2026-11-26T20:00:00Z", Seconds: 75.4,
		Options: Options{Rounds: 2, Length: 5 * time.Second},
		Machine: Machine{Kernel: "6.18", CPU: "some CPU", CPUs: 2, Memory: 100},
		Parties: []Party{{Name: Kernel, MTU: 1500}, {Name: Vine, MTU: 1400, Version: "0.1"}, {Name: wireGuard, MTU: 1440}, {Name: "nebula", MTU: 1440}},
		Missing: []string{"tinc: no tincd"},
	}
	add := func(round int, party string, tcp, cpu, rtt float64, disturbed bool) {
		r.Samples = append(r.Samples,
			Sample{Regime: Unlimited, Measure: "tcp-1", Party: party, Round: round, Disturbed: disturbed, Values: map[string]float64{"tcp-1": tcp, "cpu": cpu}},
			Sample{Regime: Unlimited, Measure: "rtt-idle", Party: party, Round: round, Values: map[string]float64{"rtt-idle-p50": rtt}})
	}
	add(0, Kernel, 40000, 0.3, 0.07, false)
	add(0, Vine, 6000, 2, 0.3, false)
	add(0, wireGuard, 2000, 6, 0.46, false)
	add(0, "nebula", 500, 20, 0.29, false)
	add(1, Kernel, 42000, 0.3, 0.07, false)
	add(1, Vine, 3000, 2, 0.34, false)
	add(1, wireGuard, 600, 9, 0.5, true)
	add(1, "nebula", 250, 20, 0.31, false)
	r.Samples = append(r.Samples, Sample{Regime: Unlimited, Measure: "tcp-4", Party: "nebula", Error: "iperf3: no\nroute", Values: map[string]float64{"tcp-4": 7}})
	return r
}

func TestSpreadLeavesOutDisturbed(t *testing.T) {
	r := example()
	if s, disturbed := r.Spread(Unlimited, "tcp-1", Vine); s != (Spread{4500, 3000, 6000, 2}) || disturbed {
		t.Errorf("%+v, %v", s, disturbed)
	}
	if s, disturbed := r.Spread(Unlimited, "tcp-1", wireGuard); s != (Spread{2000, 2000, 2000, 1}) || disturbed {
		t.Errorf("a disturbed sample counts: %+v, %v", s, disturbed)
	}
	// By rounds: 6000/2000, and not 4500/1300 or the like.
	if s, disturbed := r.Ratio(Unlimited, "tcp-1", Vine, "tcp-1", wireGuard); s != (Spread{3, 3, 3, 1}) || disturbed {
		t.Errorf("%+v, %v", s, disturbed)
	}
	if s, _ := r.Ratio(Unlimited, "tcp-1", Vine, "tcp-1", "nebula"); s != (Spread{12, 12, 12, 2}) {
		t.Errorf("%+v", s)
	}
	if s, _ := r.Spread(Unlimited, "tcp-4", "nebula"); s.N != 0 {
		t.Errorf("a failed run counts: %+v", s)
	}
	for i := range r.Samples {
		r.Samples[i].Disturbed = true
	}
	if s, disturbed := r.Spread(Unlimited, "tcp-1", wireGuard); s.N != 2 || !disturbed {
		t.Errorf("all were disturbed: %+v, %v", s, disturbed)
	}
	if s, disturbed := r.Ratio(Unlimited, "tcp-1", Vine, "tcp-1", wireGuard); s != (Spread{4, 3, 5, 2}) || !disturbed {
		t.Errorf("all were disturbed: %+v, %v", s, disturbed)
	}
}

func outcome(t *testing.T, r Report, what string) Outcome {
	t.Helper()
	for _, o := range r.Judge() {
		if o.Goal == what {
			return o
		}
	}
	t.Fatalf("nothing is said of %q", what)
	return Outcome{}
}

func TestJudge(t *testing.T) {
	r := example()
	if o := outcome(t, r, "unlimited, TCP 1 flow, to wireguard-go"); !o.Reached || o.Measured.Median != 3 {
		t.Errorf("%+v", o)
	}
	if o := outcome(t, r, "unlimited, processor time per gigabyte, to wireguard-go"); !o.Reached || math.Abs(o.Measured.Median-1.0/3) > 1e-9 {
		t.Errorf("%+v", o)
	}
	// Nebula's round trip is the best of the peers', the kernel's does not count.
	if o := outcome(t, r, "unlimited, round trip when idle, to the best peer"); !o.Reached || o.Against != "nebula" {
		t.Errorf("%+v", o)
	}
	for i, s := range r.Samples {
		if s.Party == Vine && s.Values["tcp-1"] > 0 {
			r.Samples[i].Values["tcp-1"] /= 2
			r.Samples[i].Values["cpu"] *= 2
		}
	}
	for _, what := range []string{"unlimited, TCP 1 flow, to wireguard-go", "unlimited, processor time per gigabyte, to wireguard-go"} {
		if o := outcome(t, r, what); o.Reached || o.Verdict() != "not reached" {
			t.Errorf("%+v", o)
		}
	}
	if list := (Report{}).Judge(); len(list) != 0 {
		t.Errorf("nothing was measured, and %+v", list)
	}
}

// TestGoalsCanBeMeasured: every goal is about a figure that some measure gives, and can be reached and missed.
func TestGoalsCanBeMeasured(t *testing.T) {
	for _, ours := range []float64{1e-6, 1e6} {
		var r Report
		r.Parties = []Party{{Name: Kernel}, {Name: Vine}, {Name: wireGuard}, {Name: "nebula"}}
		for _, regime := range Regimes {
			for _, f := range Figures {
				for _, p := range r.Parties {
					v := 1.0
					if p.Name == Vine {
						if v = ours; f.Less {
							v = 1 / ours
						}
						if f.Name == "relay-direct" {
							v = 1
						}
					}
					r.Samples = append(r.Samples, Sample{Regime: regime, Party: p.Name, Values: map[string]float64{f.Name: v}})
				}
			}
		}
		outcomes := r.Judge()
		if len(outcomes) != len(Goals) {
			t.Errorf("%d of %d goals are judged", len(outcomes), len(Goals))
		}
		for _, o := range outcomes {
			if o.Reached != (ours > 1) {
				t.Errorf("ours at %v: %s is %s", ours, o.Goal, o.Verdict())
			}
		}
	}
}

// TestFiguresComeFromMeasures: the names of figures are those that package lab writes.
func TestFiguresComeFromMeasures(t *testing.T) {
	known := map[string]bool{"cpu": true, "memory": true}
	for _, m := range Measures {
		if m.Kind == Ping {
			known[m.Name+"-p50"], known[m.Name+"-p99"] = true, true
			continue
		}
		known[m.Name] = true
	}
	for _, f := range Figures {
		if !known[f.Name] {
			t.Errorf("no measure gives %s", f.Name)
		}
		delete(known, f.Name)
	}
	for name := range known {
		t.Errorf("%s is measured and not shown", name)
	}
}

func TestText(t *testing.T) {
	text := example().Text()
	for _, want := range []string{
		"2026-11-26: vine bench\n", "machine: 2 x some CPU, 100 MiB, Linux 6.18\n",
		"medians of 2 interleaved rounds of 5s", "17 runs in 1m15s\n", "not measured: tinc: no tincd\n",
		"kernel, MTU 1500\n", "vine 0.1, MTU 1400\n",
		"DISTURBED: in 1 of 17 runs", "FAILED: 1 of 17 runs:\n  unlimited, tcp-4, nebula: iperf3: no\n",
		"4,500 (3,000 to 6,000)", "TCP, 1 flow, Mb/s", ">= 2.5", "  reached\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, absent := range []string{"INTERRUPTED", "16 flows", ") ~", "gigabit"} {
		if strings.Contains(text, absent) {
			t.Errorf("%q in\n%s", absent, text)
		}
	}
	r := example()
	r.Interrupted = true
	for i := range r.Samples {
		r.Samples[i].Disturbed = true
	}
	if text := r.Text(); !strings.Contains(text, "INTERRUPTED") || !strings.Contains(text, "4,500 (3,000 to 6,000) ~") {
		t.Errorf("\n%s", text)
	}
}

// TestMarkdownTables: every row has as many cells as the head.
func TestMarkdownTables(t *testing.T) {
	cells := 0
	for line := range strings.Lines(example().Markdown()) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|")
		if cells != 0 && n != cells {
			t.Errorf("%d and %d: %s", cells, n, line)
		}
		cells = n
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", 0.0456: "0.046", 9.876: "9.88", 45.67: "45.7", 123.4: "123", 42970.4: "42,970", 1234567: "1,234,567", 999.6: "1,000"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
	if got := number(math.NaN()); got != "-" {
		t.Errorf("%q", got)
	}
	if got := commas(-1234); got != "-1,234" {
		t.Errorf("%q", got)
	}
}

// TestPlot: the drawing is XML, has a bar for every figure of every party, and none leaves its place.
func TestPlot(t *testing.T) {
	dec := xml.NewDecoder(strings.NewReader(example().Plot()))
	bars, names := 0, 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "rect" {
			bars++
		}
		if text, ok := token.(xml.CharData); ok && string(text) == wireGuard {
			names++
		}
	}
	if bars != 1+3*4 || names != 3 {
		t.Errorf("%d rectangles, %d bars of %s", bars, names, wireGuard)
	}
	if plot := (Report{}).Plot(); !strings.Contains(plot, "<svg") {
		t.Error(plot)
	}
}
