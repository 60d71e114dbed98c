package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/bench/cost"
	"github.com/vine-mesh/vine/bench/lab"
)

func tableNames() (names []string) {
	for _, r := range bench.Reproductions {
		names = append(names, r.Name)
	}
	for _, r := range cost.Reproductions {
		names = append(names, r.Name)
	}
	return names
}

func tablesHelp() (text string) {
	for _, r := range bench.Reproductions {
		text += fmt.Sprintf("  %-5s  %s\n", r.Name, r.Title)
	}
	for _, r := range cost.Reproductions {
		text += fmt.Sprintf("  %-5s  %s\n", r.Name, r.Title)
	}
	return text
}

// reproduce makes the tables asked for, one after the other, and prints each when it is made; interrupted, what it has
// of one.
func (b *bencher) reproduce(ctx context.Context, e *Env, o bench.Options, builds map[string]string) (err error) {
	var made []document
	failures := false
	for _, name := range b.tables {
		var t bench.Table
		var r *bench.Report
		t, r, err = b.table(ctx, e, name, o, builds)
		if err != nil && len(t.Rows) == 0 {
			break
		}
		if r != nil {
			_, failed := r.Disturbed()
			failures = failures || failed > 0 || len(r.Missing) > 0
		}
		switch {
		case e.json:
			made = append(made, document{"name": name, "title": t.Title, "head": t.Head, "rows": t.Rows, "notes": t.Notes, "report": r})
		case b.markdown:
			fmt.Fprintln(e.Stdout, t.Markdown())
		default:
			fmt.Fprintln(e.Stdout, t.Text())
		}
		if err != nil {
			break
		}
	}
	if e.json && len(made) > 0 {
		if err := e.printJSON(document{"tables": made}); err != nil {
			return err
		}
	}
	if err == nil && failures {
		err = errors.New("not everything could be measured: see above")
	}
	return err
}

// table makes one table, with the report that it was made of, if runs were needed.
func (b *bencher) table(ctx context.Context, e *Env, name string, o bench.Options, builds map[string]string) (t bench.Table, r *bench.Report, err error) {
	command := fmt.Sprintf("vine bench --table %s --seconds %v --rounds %d", name, b.seconds, o.Rounds)
	for _, c := range cost.Reproductions {
		if c.Name != name {
			continue
		}
		e.say("%s", c.Title)
		t, err = c.Table(ctx, o.Length/cellsPerRun)
		t.Title = c.Title
		t.Notes = append(t.Notes, "`"+command+"`")
		return t, nil, err
	}
	for _, p := range bench.Reproductions {
		if p.Name != name {
			continue
		}
		var report bench.Report
		notes := []string{"`" + command + "`"}
		if p.Plan != nil {
			stages := p.Plan(o.Rounds)
			o.Parties = bench.PartiesOf(stages)
			report, err = lab.Run(ctx, o, stages, builds, func(line string) { e.say("%s", line) })
			if len(report.Samples) == 0 && err != nil {
				return t, nil, benchFault(err)
			}
			report.Command, r = command, &report
			notes = report.Preface()
		}
		t = p.Table(report)
		t.Title = p.Title
		t.Notes = append(t.Notes, notes...)
	}
	return t, r, err
}

// cellsPerRun is how many cells of a table of package cost take as long as one run of traffic: they need no time to get
// going.
const cellsPerRun = 20
