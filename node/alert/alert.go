package alert

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The kinds of alert, as hooks and the API have them.
const (
	Silent       = "vr-silent"    // Subject is a VR that gossip holds for dead and that we have no link with. Evidence of links is missing, so it is a hint
	HeadExpired  = "head-expired" // no authority has signed a head lately
	Equivocation = "equivocation" // Subject is the signer of two documents for one version
	Disk         = "disk"         // the state directory cannot be written
	Ending       = "ending"       // Subject is a key or an enrolment that counts for not much longer
	Relay        = "no-relay"     // a limited VR without a queue-VR
	Test         = "test"         // somebody tries the hooks
)

const (
	// ofKindMax bounds the alerts of one kind that have a subject each. When half of the federation is cut off, nobody wants a mail for each
	// VR: those beyond are one alert, whose subject is Others.
	ofKindMax = 10
	// knownMax bounds the facts that are remembered.
	knownMax = 100_000
	// Others is the subject of the alert for all beyond ofKindMax.
	Others = "others"
)

// A Fact is something wrong that holds now.
type Fact struct {
	Kind, Subject string
	Text          string // for people; it may change while the fact is the same
}

// An Alert is a fact that people have been told.
type Alert struct {
	Fact
	Since time.Time // when the fact was seen first
}

// A Change is an alert that begins or is over.
type Change struct {
	Alert
	Cleared bool
}

type key struct{ kind, subject string }

type entry struct {
	Alert
	seen   time.Time // when the fact was seen last
	raised bool
	folded bool // raised as one of Others
}

// A Machine knows which alerts stand. The zero Machine is not ready: use New.
type Machine struct {
	hold   time.Duration
	known  map[key]*entry
	raised map[string]int // entries of a kind that are raised and not folded
	folded map[string]int
	others map[string]Alert // the alert for the folded ones of a kind
}

// New returns a Machine that tells of a fact when it has held for hold, and that it is over when it has not been seen for as long. Equivocation,
// which is no passing state, is told at once.
func New(hold time.Duration) *Machine {
	return &Machine{hold: hold, known: map[key]*entry{}, raised: map[string]int{}, folded: map[string]int{}, others: map[string]Alert{}}
}

// Step looks at all facts that hold now and returns what is to be told, in the order of kind and subject.
func (m *Machine) Step(now time.Time, facts []Fact) (changes []Change) {
	for _, f := range facts {
		k := key{f.Kind, f.Subject}
		e := m.known[k]
		if e == nil {
			if len(m.known) >= knownMax {
				continue
			}
			e = &entry{Alert: Alert{f, now}}
			m.known[k] = e
		}
		e.Fact, e.seen = f, now
	}
	for _, k := range m.keys() {
		e := m.known[k]
		switch {
		case now.Sub(e.seen) > m.hold || now.Before(e.seen):
			delete(m.known, k)
			switch {
			case e.folded:
				m.folded[e.Kind]--
			case e.raised:
				m.raised[e.Kind]--
				changes = append(changes, Change{e.Alert, true})
			}
		case !e.raised && e.seen.Equal(now) && (now.Sub(e.Since) >= m.hold || e.Kind == Equivocation):
			e.raised = true
			if m.raised[e.Kind] < ofKindMax {
				m.raised[e.Kind]++
				changes = append(changes, Change{e.Alert, false})
			} else {
				e.folded = true
				m.folded[e.Kind]++
			}
		}
	}
	return append(changes, m.fold(now)...)
}

// fold raises and clears the alerts for those beyond ofKindMax.
func (m *Machine) fold(now time.Time) (changes []Change) {
	for _, kind := range sorted(m.folded) {
		n := m.folded[kind]
		text := fmt.Sprintf("%d more besides the first %d", n, ofKindMax)
		a, stands := m.others[kind]
		switch {
		case n > 0 && !stands:
			a = Alert{Fact{kind, Others, text}, now}
			m.others[kind] = a
			changes = append(changes, Change{a, false})
		case n > 0:
			a.Text = text
			m.others[kind] = a
		case stands:
			delete(m.others, kind)
			changes = append(changes, Change{a, true})
		}
	}
	return changes
}

// Current returns the alerts that stand, in the order of kind and subject.
func (m *Machine) Current() (list []Alert) {
	for _, k := range m.keys() {
		if e := m.known[k]; e.raised && !e.folded {
			list = append(list, e.Alert)
		}
	}
	for _, kind := range sorted(m.others) {
		list = append(list, m.others[kind])
	}
	return list
}

func (m *Machine) keys() []key {
	list := make([]key, 0, len(m.known))
	for k := range m.known {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b key) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.subject, b.subject)) })
	return list
}

func sorted[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
