package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/vine-mesh/vine/node/control"
)

// A document is a JSON object with its keys in alphabetical order.
type document map[string]any

// printJSON prints d, with the version of its form, as the one document on standard output.
func (e *Env) printJSON(d document) error {
	d["schema_version"] = control.SchemaVersion
	return e.printValue(d)
}

func (e *Env) printValue(v any) error {
	e.printed = true
	enc := json.NewEncoder(e.Stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a head, aligned. Cells come from other people's machines: what could
// steer a terminal is replaced.
func (e *Env) table(head []string, rows [][]string) error {
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, orDash(clean(cell)))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// pairs prints names and values, aligned.
func (e *Env) pairs(pairs ...string) error {
	w := tabwriter.NewWriter(e.Stdout, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(w, "%s\t%s\n", pairs[i], orDash(clean(pairs[i+1])))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clean replaces characters that are not printable.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// saidMax bounds what is said at once: what is longer has an argument in it that nobody wants to read again.
const saidMax = 1500

// tame makes what is said to people fit for a terminal: lines of printable text, and not too long.
func tame(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = clean(strings.ReplaceAll(line, "\t", "    "))
	}
	s = strings.Join(lines, "\n")
	if runes := []rune(s); len(runes) > saidMax {
		s = string(runes[:saidMax*2/3]) + " ... " + string(runes[len(runes)-saidMax/3:])
	}
	return s
}

// join makes one cell of a list.
func join[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return strings.Join(texts, " ")
}

// endpointText makes a cell of an endpoint that may be absent.
func endpointText(ep *netip.AddrPort) string {
	if ep == nil {
		return ""
	}
	return ep.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// day makes a cell of a time that matters to the day.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// seconds makes a cell of a duration in seconds, 0 meaning unknown.
func seconds(s float64) string {
	if s <= 0 {
		return ""
	}
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
