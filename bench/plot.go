package bench

import (
	"fmt"
	"html"
	"strings"
)

// The layout of a plot, in its units of about a pixel.
const (
	plotLabel  = 110 // room for the names of parties
	plotBar    = 250 // the longest bar
	plotValue  = 70  // room for a number behind it
	plotLine   = 16  // height of a bar with its gap
	plotGap    = 34  // between panels, with a panel's title
	plotMargin = 12
	plotColumn = plotLabel + plotBar + plotValue
)

// plotColors are for the parties in their order, the later ones by turns: readable in grey too.
var plotColors = []string{"#9aa0a6", "#0b6e4f", "#c8553d", "#3d6cb9", "#8e5ea2", "#d9a404"}

// Plot returns the report as a drawing in SVG: a column for each regime, in it a panel of bars for each figure. A bar is
// a median, the line on it goes from the lowest to the highest sample.
func (r Report) Plot() string {
	var body strings.Builder
	text := func(x, y int, anchor, style, s string) {
		fmt.Fprintf(&body, `<text x="%d" y="%d" text-anchor="%s" %s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(s))
	}
	height := 0
	regimes := r.Regimes()
	for column, regime := range regimes {
		x, y := plotMargin+column*(plotColumn+plotMargin), plotMargin+14
		text(x, y, "start", `font-weight="bold" font-size="14"`, string(regime))
		for _, f := range Figures {
			bars, top := r.bars(regime, f)
			if len(bars) == 0 {
				continue
			}
			y += plotGap
			better := "more is better"
			if f.Less {
				better = "less is better"
			}
			text(x, y-8, "start", `font-weight="bold"`, fmt.Sprintf("%s, %s (%s)", f.What, f.Unit, better))
			for _, b := range bars {
				at := func(v float64) int { return x + plotLabel + int(v/top*plotBar+0.5) }
				middle := y + plotLine/2
				text(x+plotLabel-6, middle+4, "end", "", b.party)
				opacity := "1"
				if b.disturbed {
					opacity = "0.45"
				}
				fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s" opacity="%s"/>`+"\n",
					x+plotLabel, y+2, at(b.Median)-x-plotLabel, plotLine-4, plotColors[b.color%len(plotColors)], opacity)
				if b.N > 1 {
					fmt.Fprintf(&body, `<path d="M%d %dH%d" stroke="#222" stroke-width="1.5"/>`+"\n", at(b.Low), middle, at(b.High))
				}
				text(at(max(b.High, b.Median))+5, middle+4, "start", "", number(b.Median))
				y += plotLine
			}
		}
		height = max(height, y)
	}
	height += 2 * plotMargin
	text(plotMargin, height, "start", "", "bars: medians; lines: from the lowest to the highest round; pale: others disturbed every round")
	width := plotMargin + len(regimes)*(plotColumn+plotMargin)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">`+"\n"+
		`<rect width="100%%" height="100%%" fill="#fff"/>`+"\n%s</svg>\n", width, height+2*plotMargin, body.String())
}

// A bar is a party's figure.
type bar struct {
	Spread
	party     string
	color     int
	disturbed bool
}

// bars returns those of one panel, and the largest value in it.
func (r Report) bars(regime Regime, f Figure) (bars []bar, top float64) {
	for i, p := range r.Parties {
		s, disturbed := r.Spread(regime, f.Name, p.Name)
		if s.N > 0 {
			bars = append(bars, bar{s, p.Name, i, disturbed})
			top = max(top, s.High)
		}
	}
	return bars, max(top, 1e-9)
}
