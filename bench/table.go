package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A Table is text in rows and columns. The first column is words, the others are numbers.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
	Notes []string // below the table
}

// Text returns the table with its columns aligned.
func (t Table) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", t.Title)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush() // a strings.Builder takes all
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "%s\n", n)
	}
	return b.String()
}

// Markdown returns the table as Markdown has it, below a heading.
func (t Table) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", t.Title)
	line := func(cells []string) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	line(t.Head)
	b.WriteString("|---" + strings.Repeat("|--:", len(t.Head)-1) + "|\n")
	for _, row := range t.Rows {
		line(row)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return b.String()
}

// number writes a number with three digits that count, or as a whole number with commas.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 100:
		return commas(int64(math.Round(v)))
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

// commas writes a whole number with a comma before every three digits.
func commas(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// disturbedMark stands behind what was disturbed in every round.
const disturbedMark = " ~"

// cell writes a spread: the median, and behind it from where to where if there is more than one sample.
func cell(s Spread, disturbed bool) string {
	if s.N == 0 {
		return "-"
	}
	text := number(s.Median)
	if s.N > 1 {
		text += fmt.Sprintf(" (%s to %s)", number(s.Low), number(s.High))
	}
	if disturbed {
		text += disturbedMark
	}
	return text
}

// Tables returns the report as tables: one for each regime, then the goals.
func (r Report) Tables() (list []Table) {
	for _, regime := range r.Regimes() {
		list = append(list, r.regimeTable(regime))
	}
	if outcomes := r.Judge(); len(outcomes) > 0 {
		list = append(list, goalsTable(outcomes))
	}
	return list
}

func (r Report) regimeTable(regime Regime) Table {
	t := Table{Title: fmt.Sprintf("%s: %s", regime, regime.What()), Head: []string{""}}
	for _, p := range r.Parties {
		t.Head = append(t.Head, p.Name)
	}
	for _, f := range Figures {
		row, any := []string{f.What + ", " + f.Unit}, false
		for _, p := range r.Parties {
			s, disturbed := r.Spread(regime, f.Name, p.Name)
			row, any = append(row, cell(s, disturbed)), any || s.N > 0
		}
		if any {
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func goalsTable(outcomes []Outcome) Table {
	t := Table{Title: "Goals", Head: []string{"", "goal", "measured", ""}}
	for _, o := range outcomes {
		what := o.Goal
		if o.Against != "" {
			what += " (" + o.Against + ")"
		}
		t.Rows = append(t.Rows, []string{what, o.Bound, cell(o.Measured, o.Disturbed), o.Verdict()})
	}
	return t
}

// Preface says, in lines, on what and how the report was made, and what to beware of.
func (r Report) Preface() (lines []string) {
	m := r.Machine
	lines = append(lines,
		fmt.Sprintf("%s: %s", r.day(), r.Command),
		fmt.Sprintf("machine: %d x %s, %d MiB, Linux %s", m.CPUs, m.CPU, m.Memory, m.Kernel),
		fmt.Sprintf("medians of %d interleaved rounds of %v, in brackets the lowest and the highest; %d runs in %v", r.Options.Rounds,
			r.Options.Length, len(r.Samples), time.Duration(r.Seconds*float64(time.Second)).Round(time.Second)))
	for _, p := range r.Parties {
		line := p.Name
		if p.Version != "" {
			line += " " + p.Version
		}
		if p.MTU > 0 {
			line += fmt.Sprintf(", MTU %d", p.MTU)
		}
		if p.Setup != "" {
			line += ": " + p.Setup
		}
		lines = append(lines, line)
	}
	for _, missing := range r.Missing {
		lines = append(lines, "not measured: "+missing)
	}
	if r.Interrupted {
		lines = append(lines, "INTERRUPTED: not all that was planned was measured.")
	}
	if r.Options.Wait > 0 {
		lines = append(lines, fmt.Sprintf("a run waited for other programs to be quiet, and was made again when they were not: up to %v in all", r.Options.Wait))
	}
	disturbed, failed := r.Disturbed()
	if disturbed > 0 {
		lines = append(lines, fmt.Sprintf("DISTURBED: in %d of %d runs somebody else had more than %.0f %% of the machine. They count only where"+
			" all rounds were so; those figures are marked %s and say little.", disturbed, len(r.Samples), 100*disturbedShare, strings.TrimSpace(disturbedMark)))
	}
	if failed > 0 {
		lines = append(lines, fmt.Sprintf("FAILED: %d of %d runs:", failed, len(r.Samples)))
		for _, e := range r.errors() {
			lines = append(lines, "  "+e)
		}
	}
	return lines
}

func (r Report) day() string {
	day, _, _ := strings.Cut(r.Started, "T")
	return day
}

// Text returns the report for a terminal.
func (r Report) Text() string {
	parts := []string{strings.Join(r.Preface(), "\n") + "\n"}
	for _, t := range r.Tables() {
		parts = append(parts, t.Text())
	}
	return strings.Join(parts, "\n")
}

// Markdown returns the report as Markdown, without a title.
func (r Report) Markdown() string {
	parts := []string{"- " + strings.Join(r.Preface(), "\n- ") + "\n"}
	for _, t := range r.Tables() {
		parts = append(parts, t.Markdown())
	}
	return strings.Join(parts, "\n")
}
