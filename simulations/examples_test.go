package simulations

import (
	"strings"
	"testing"
)

// TestExamples: every scenario that comes with vine can be run, and says what it shows.
func TestExamples(t *testing.T) {
	names := Names()
	if len(names) < 12 {
		t.Errorf("only %d examples", len(names))
	}
	for _, name := range names {
		s, err := Load(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Name != name || len(s.About) < 40 || !strings.Contains(string(s.Text), "[[group]]") || Engines[s.Engine] == nil {
			t.Errorf("%s: %+v", name, s.Scenario)
		}
	}
	if _, err := Load("nowhere"); err == nil {
		t.Error("what is not there is loaded")
	}
}
