package policy_test

import (
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy/policytest"
	"github.com/vine-mesh/vine/tables"
)

var update = flag.Bool("update", false, "write docs/rights.md anew")

// newScene returns a federation of two sites in which requests are decided at once.
func newScene(t *testing.T) *policytest.Scene {
	w := newWorld(t, 1, 2)
	used := map[string]int{}
	return &policytest.Scene{
		Now: func() time.Time { return w.Now }, Random: w.Random, Admin: w.admin, View: w.View, Own: "s1", Other: "s2",
		Host: func(site string) netip.Addr {
			used[site]++
			return w.at(map[string]tables.RouterID{"s1": 1, "s2": 2}[site], used[site])
		},
		Submit: func(d *tables.Document) (string, string, error) {
			w.PutDocument(d)
			if d.Kind() != tables.KindRequest {
				return tables.StateDone, "", nil
			}
			decision := w.decide(d)
			return decision.State, decision.Reason, nil
		},
	}
}

// TestMatrix runs every cell of the matrix of rights against the decider.
func TestMatrix(t *testing.T) {
	s := newScene(t)
	cells := policytest.Cells()
	done := 0
	for _, c := range cells {
		state, reason, err := s.Run(c)
		want := tables.StateRefused
		if c.Want() {
			want = tables.StateDone
			done++
		}
		switch {
		case err != nil:
			t.Errorf("%s: %v", c, err)
		case state != want:
			t.Errorf("%s: %s (%s), want %s", c, state, reason, want)
		}
	}
	t.Logf("%d cells, %d of them allowed", len(cells), done)
}

// TestMatrixTable keeps docs/rights.md what the matrix says; -update writes it anew, for people to
// look at what has changed.
func TestMatrixTable(t *testing.T) {
	const file, begin, end = "../docs/rights.md", "<!-- begin of the table -->\n", "<!-- end of the table -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks around the table", file)
	}
	want := policytest.Table()
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want {
		t.Errorf("%s does not show the matrix: go test ./policy -run TestMatrixTable -update", file)
	}
}
