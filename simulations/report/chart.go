package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A line is points of a chart, x ascending.
type line struct {
	x, y  []float64
	faint bool // one seed of several
}

// A chart is drawn as SVG. Its colours are CSS variables, so that a page may be light or dark; a chart by itself brings both.
type chart struct {
	title, unit string // of y, as package result has units
	xTime       bool   // x is seconds; else y is a share and x has the unit: a cumulative distribution
	lines       []line
}

const (
	chartWidth, chartHeight = 520, 240
	left, right, top, down  = 66, 14, 30, 34
)

// label writes a value of a unit.
func label(v float64, unit string) string {
	switch unit {
	case "ns":
		d := time.Duration(v)
		switch {
		case d == 0:
			return "0"
		case d.Abs() < time.Millisecond:
			return fmt.Sprintf("%.3g µs", v/1e3)
		case d.Abs() < time.Second:
			return fmt.Sprintf("%.3g ms", v/1e6)
		case d.Abs() < 2*time.Minute:
			return fmt.Sprintf("%.3g s", v/1e9)
		case d.Abs() < 2*time.Hour:
			return fmt.Sprintf("%.3g min", v/60e9)
		}
		return fmt.Sprintf("%.3g h", v/3600e9)
	case "ppm":
		return fmt.Sprintf("%.4g %%", v/1e4)
	case "bytes":
		for _, u := range []string{"B", "kB", "MB"} {
			if math.Abs(v) < 1000 {
				return fmt.Sprintf("%.3g %s", v, u)
			}
			v /= 1000
		}
		return fmt.Sprintf("%.3g GB", v)
	}
	return fmt.Sprintf("%.4g", v)
}

// ticks returns four to eight round values that cover a range.
func ticks(low, high float64) (list []float64) {
	if !(high > low) {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, m := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*m) <= 6 {
			step *= m
			break
		}
	}
	for v := math.Floor(low/step) * step; v < high+step*0.999 && len(list) < 20; v += step {
		list = append(list, v)
	}
	return list
}

// svg draws the chart.
func (c chart) svg() string {
	var xs, ys []float64
	for _, l := range c.lines {
		xs, ys = append(xs, l.x...), append(ys, l.y...)
	}
	if len(xs) == 0 {
		return ""
	}
	xUnit, yUnit := c.unit, "ppm"
	if c.xTime {
		xUnit, yUnit = "ns", c.unit
	}
	xTicks := ticks(min(0, slices.Min(xs)), slices.Max(xs))
	yTicks := ticks(min(0, slices.Min(ys)), slices.Max(ys))
	if c.unit == "ppm" && c.xTime && slices.Min(ys) > 900_000 {
		yTicks = ticks(slices.Min(ys), 1e6) // what is nearly all the time 100 % shows only so
	}
	at := func(v float64, t []float64, from, to float64) float64 {
		return from + (v-t[0])/(t[len(t)-1]-t[0])*(to-from)
	}
	x := func(v float64) float64 { return at(v, xTicks, left, chartWidth-right) }
	y := func(v float64) float64 { return at(v, yTicks, chartHeight-down, top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, escape(c.title))
	b.WriteString(`<style>.c text{font:11px system-ui,sans-serif;fill:var(--ink,#333)}.c .t{font-weight:600;font-size:13px}.c .g{stroke:var(--grid,#ddd)}` +
		`.c .l{fill:none;stroke:var(--line,#0b62a8);stroke-width:2}.c .f{stroke-width:1;opacity:.35}</style><g class="c">`)
	fmt.Fprintf(&b, `<text class="t" x="%d" y="18">%s</text>`, left, escape(c.title))
	for _, v := range yTicks {
		fmt.Fprintf(&b, `<line class="g" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			left, chartWidth-right, y(v), y(v), left-6, y(v)+4, label(v, yUnit))
	}
	for _, v := range xTicks {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`, x(v), chartHeight-down+18, label(v, xUnit))
	}
	for _, l := range c.lines {
		class := "l"
		if l.faint {
			class = "l f"
		}
		fmt.Fprintf(&b, `<polyline class="%s" points="`, class)
		for i := range l.x {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(l.x[i]), y(l.y[i]))
		}
		b.WriteString(`"/>`)
	}
	b.WriteString(`</g></svg>`)
	return b.String()
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func escape(s string) string { return escaper.Replace(s) }
