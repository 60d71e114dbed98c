package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vine-mesh/vine/simulations/result"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// titles say what a quantity is, for people.
var titles = map[string]string{
	result.Up: "VRs that run", result.ViewRight: "Members seen rightly", result.Reachable: "Sampled pairs of hosts that reach each other",
	result.ControlRate: "Bytes sent a second, per VR", result.QueueLoadMax: "Clients of the fullest queue-VR", result.QueueLoadFew: "Clients of the emptiest twentieth of queue-VRs",
	result.Direct: "Links that are direct", result.Punched: "Links that are punched", result.Relayed: "Links that are relayed",
	result.DetectFirst: "From a crash to the first that notices", result.DetectAll: "From a crash until each member notices", result.FalseDead: "Held for dead while alive",
	result.Converge: "From signing a change of a VN until a VR uses it", result.Revoke: "From signing a revocation until a VR obeys it",
	result.RelayGap: "Limited VR without a live queue-VR", result.ControlEach: "Bytes sent a second over the whole run, per VR", result.MemoryEach: "Memory, per VR",
	result.Repair: "From a heal until all documents are alike",
}

func title(name string) string {
	if t, ok := titles[name]; ok {
		return t
	}
	return name
}

// charts makes one chart for each quantity that says anything.
func charts(runs []result.Run) (list []chart) {
	var order []string
	byName := map[string]*chart{}
	add := func(name, unit string, xTime bool, l line) {
		c := byName[name]
		if c == nil {
			c = &chart{title: title(name), unit: unit, xTime: xTime}
			byName[name] = c
			order = append(order, name)
		}
		l.faint = len(runs) > 1
		c.lines = append(c.lines, l)
	}
	for i := range runs {
		for _, d := range runs[i].Distributions {
			if len(d.Values) < 2 {
				continue
			}
			var l line
			for k, v := range d.Values {
				l.x, l.y = append(l.x, float64(v)), append(l.y, 1e6*float64(k+1)/float64(len(d.Values)))
			}
			add(d.Name, d.Unit, false, l)
		}
		for _, s := range runs[i].Series {
			if len(s.Values) < 2 || slices.Max(s.Values) == 0 && slices.Min(s.Values) == 0 {
				continue
			}
			var l line
			for k, v := range s.Values {
				l.x, l.y = append(l.x, float64(k+1)*float64(s.Every)), append(l.y, float64(v))
			}
			add(s.Name, s.Unit, true, l)
		}
	}
	for _, name := range order {
		c := byName[name]
		if len(runs) > 1 {
			c.lines = append(c.lines, mean(c.lines))
		}
		list = append(list, *c)
	}
	return list
}

// mean is the line through the means of lines point by point, as far as the shortest goes.
func mean(lines []line) (m line) {
	n := len(lines[0].x)
	for _, l := range lines {
		n = min(n, len(l.x))
	}
	for i := range n {
		x, y := 0.0, 0.0
		for _, l := range lines {
			// Points of lines of unlike length stand for the same share of each.
			k := i * (len(l.x) - 1) / max(n-1, 1)
			x, y = x+l.x[k], y+l.y[k]
		}
		m.x, m.y = append(m.x, x/float64(len(lines))), append(m.y, y/float64(len(lines)))
	}
	return m
}

// Charts returns the charts of runs as SVG documents by file name.
func Charts(runs []result.Run) map[string][]byte {
	out := map[string][]byte{}
	for _, c := range charts(runs) {
		name := strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(c.title))
		out[name+".svg"] = []byte(c.svg() + "\n")
	}
	return out
}

const style = `:root{color-scheme:light dark;--ink:#222;--paper:#fff;--grid:#e3e3e3;--line:#0b62a8;--soft:#666}
@media(prefers-color-scheme:dark){:root{--ink:#ddd;--paper:#15181c;--grid:#333a42;--line:#6db6f2;--soft:#9aa4ae}}
body{margin:2rem auto;max-width:72rem;padding:0 1rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{margin-bottom:0}p.a{color:var(--soft);max-width:48rem}section{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1rem}
svg{width:100%;height:auto}table{border-collapse:collapse;margin:1rem 0}td,th{padding:.15rem .9rem .15rem 0;text-align:left;border-bottom:1px solid var(--grid)}
td.n{text-align:right;font-variant-numeric:tabular-nums}pre{padding:1rem;border:1px solid var(--grid);overflow:auto;font-size:13px}.b{color:#c0392b;font-weight:600}`

// Page returns an HTML page about runs of one scenario, which needs nothing beside it. about and text are the scenario's.
func Page(runs []result.Run, about, text, command string) []byte {
	s := result.Summarise(runs)
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>%s</title><style>%s</style>\n", escape(s.Scenario), style)
	fmt.Fprintf(&b, "<h1>%s</h1><p class=\"a\">%s</p>\n", escape(s.Scenario), escape(about))
	fmt.Fprintf(&b, "<p>%d VRs, %d runs by the engine <b>%s</b>", s.VRs, s.Runs, escape(s.Engine))
	if s.Partial > 0 {
		fmt.Fprintf(&b, ", %d of them ended early", s.Partial)
	}
	b.WriteString(".</p>\n")
	for i := range runs {
		if br := runs[i].Broken; br != nil {
			fmt.Fprintf(&b, "<p class=\"b\">Seed %d: %s does not hold %v after the warm-up: %s</p><pre>%s</pre>\n", runs[i].Seed, escape(br.Invariant), br.At, escape(br.Detail), escape(strings.Join(br.Last, "\n")))
		}
	}
	b.WriteString("<section>\n")
	for _, c := range charts(runs) {
		fmt.Fprintf(&b, "<div>%s</div>\n", c.svg())
	}
	b.WriteString("</section>\n<h2>Figures</h2><p class=\"a\">Means over the seeds; ± is how far the mean of all seeds is from it at most, with 95 % confidence (Student's t).</p>\n<table><tr><th>Quantity<th><th>Mean<th>±</tr>\n")
	for _, f := range s.Figures {
		half := ""
		if f.Over.Half != nil {
			half = label(*f.Over.Half, f.Unit)
		}
		fmt.Fprintf(&b, "<tr><td>%s<td>%s<td class=\"n\">%s<td class=\"n\">%s</tr>\n", escape(title(f.Quantity)), escape(f.Figure), label(f.Over.Mean, f.Unit), half)
	}
	b.WriteString("</table>\n<h2>Runs</h2><table><tr><th>Seed<th>Whole<th>Events<th>Trace<th>Version</tr>\n")
	for i := range runs {
		r := &runs[i]
		fmt.Fprintf(&b, "<tr><td class=\"n\">%d<td>%t<td class=\"n\">%d<td><code>%s</code><td>%s</tr>\n", r.Seed, r.Whole, r.Events, escape(r.Trace), escape(r.Version))
	}
	fmt.Fprintf(&b, "</table>\n<h2>The scenario</h2><p>To run it again: <code>%s</code></p><pre>%s</pre></html>\n", escape(command), escape(text))
	return []byte(b.String())
}
