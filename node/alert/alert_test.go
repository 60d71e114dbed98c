package alert

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const hold = 30 * time.Second

// told runs the machine for so many seconds with the facts that hold in each, and returns what it told.
func told(m *Machine, from, to int, facts func(second int) []Fact) (list []string) {
	for s := from; s < to; s++ {
		for _, c := range m.Step(start.Add(time.Duration(s)*time.Second), facts(s)) {
			list = append(list, fmt.Sprintf("%d %s %s %v", s, c.Kind, c.Subject, c.Cleared))
		}
	}
	return list
}

func TestOnceForEachChange(t *testing.T) {
	fact := []Fact{{Disk, "", "no space left"}}
	for name, tt := range map[string]struct {
		facts func(int) []Fact
		want  []string
	}{
		"nothing": {func(int) []Fact { return nil }, nil},
		"for long": {func(s int) []Fact {
			if s < 300 {
				return fact
			}
			return nil
		}, []string{"30 disk  false", "330 disk  true"}},
		"passes by itself": {func(s int) []Fact {
			if s < 29 {
				return fact
			}
			return nil
		}, nil},
		"flaps": {func(s int) []Fact {
			if s%20 < 10 {
				return fact
			}
			return nil
		}, []string{"40 disk  false"}},
		"the text changes": {func(s int) []Fact { return []Fact{{Disk, "", fmt.Sprint(s)}} }, []string{"30 disk  false"}},
		"again": {func(s int) []Fact {
			if s < 100 || s > 200 {
				return fact
			}
			return nil
		}, []string{"30 disk  false", "130 disk  true", "231 disk  false"}},
		"at once": {func(int) []Fact { return []Fact{{Equivocation, "authority", "two versions 7"}} }, []string{"0 equivocation authority false"}},
	} {
		if got := told(New(hold), 0, 400, tt.facts); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestManyAreFolded: when half of the federation goes silent, it is eleven alerts and not five hundred.
func TestManyAreFolded(t *testing.T) {
	m := New(hold)
	silent := func(n int) func(int) []Fact {
		return func(int) (list []Fact) {
			for i := range n {
				list = append(list, Fact{Silent, fmt.Sprintf("vr-%03d", i), ""})
			}
			return list
		}
	}
	got := told(m, 0, 100, silent(500))
	if len(got) != ofKindMax+1 || got[ofKindMax] != "30 vr-silent others false" || len(m.Current()) != ofKindMax+1 {
		t.Errorf("%d alerts: %v", len(got), got)
	}
	if c := m.Current(); c[ofKindMax].Text != "490 more besides the first 10" {
		t.Errorf("%+v", c[ofKindMax])
	}
	if got := told(m, 100, 200, silent(0)); len(got) != ofKindMax+1 || len(m.known) != 0 || len(m.Current()) != 0 {
		t.Errorf("cleared: %v, %d known", got, len(m.known))
	}
}

// TestClockGoesBack: nothing stays for ever because the clock was wrong.
func TestClockGoesBack(t *testing.T) {
	m := New(hold)
	told(m, 1000, 1100, func(int) []Fact { return []Fact{{Disk, "", ""}} })
	if got := told(m, 0, 2, func(int) []Fact { return nil }); !slices.Equal(got, []string{"0 disk  true"}) {
		t.Errorf("%v", got)
	}
}
