package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vine-mesh/vine/node/alert"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/notify"
	"github.com/vine-mesh/vine/tables"
)

const (
	// alarmEvery is how often the facts are looked at.
	alarmEvery = 5 * time.Second
	// alarmHold is how long something has to be wrong before anybody is told.
	alarmHold = 30 * time.Second
	// enrolmentSoon is how long before its end an enrolment that nobody has renewed is a fact: renewals are due at half of its 400 days.
	enrolmentSoon = 60 * 24 * time.Hour
)

// An Alerter tells people of alerts. Its methods may be called from any goroutine; Tell does not wait.
type Alerter interface {
	Tell(notify.Notice)
	Try(ctx context.Context, n notify.Notice) []notify.Status
	Statuses() []notify.Status
}

// An alarm is what the control loop knows of alerts.
type alarm struct {
	machine *alert.Machine
	silent  *silence
}

// A silence is the VRs that gossip holds for dead: those that have left are not among them.
type silence struct {
	mu  sync.Mutex // guards set
	set map[tables.RouterID]bool
}

func (s *silence) hear(id tables.RouterID, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed {
		s.set[id] = true
	} else {
		delete(s.set, id)
	}
}

func (s *silence) list() []tables.RouterID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.set), cmp.Compare[tables.RouterID])
}

// facts lists what an operator should look at.
func (l *loop) facts(now time.Time) (list []alert.Fact) {
	add := func(kind, subject, format string, args ...any) {
		list = append(list, alert.Fact{Kind: kind, Subject: subject, Text: fmt.Sprintf(format, args...)})
	}
	if l.diskError != nil {
		add(alert.Disk, "", "the state directory cannot be written: %v", l.diskError)
	}
	if l.book.broken != nil {
		add(alert.Disk, "hosts", "%v", l.book.broken)
	}
	if l.store.TrustStale(now) {
		add(alert.HeadExpired, "", "no authority has signed a head lately: nobody new is trusted until one does")
	}
	if root, ok := l.store.Root(); ok {
		for _, a := range root.Authorities {
			if left := time.Unix(a.NotAfter, 0).Sub(now); left < endSoon {
				add(alert.Ending, "authority key "+a.Key.Fingerprint()[:8], "the authority key %s ends in %d days: the root key must sign a new one", a.Key.Fingerprint()[:8], int(left.Hours()/24))
			}
		}
	}
	if e, ok := l.store.Enrolment(l.n.self.Router); ok {
		if left := time.Unix(e.NotAfter, 0).Sub(now); left < enrolmentSoon {
			add(alert.Ending, "enrolment of "+e.Name, "the enrolment of %s ends in %d days: no authority has renewed it", e.Name, int(left.Hours()/24))
		}
	}
	evidence, _ := l.store.Evidence()
	for _, e := range evidence {
		add(alert.Equivocation, e.Key.String(), "two documents for one version of %s: a signer is at fault (%s)", e.Key, e.Reason)
	}
	if l.limited() && len(l.queues.list) == 0 {
		add(alert.Relay, "", "this VR cannot be reached from outside and no queue-VR serves it: it links only with sites that can be reached")
	}
	for _, id := range l.alarm.silent.list() {
		e, ok := l.store.Enrolment(id)
		p := l.peers[id]
		if !ok || !l.store.Admitted(id, now) || p != nil && p.endpoint.IsValid() {
			continue
		}
		add(alert.Silent, e.Name, "gossip holds %s of site %s for dead, and there is no link with it", e.Name, e.Site)
	}
	return list
}

// alarmed looks at the facts, and tells of alerts that begin or are over.
func (l *loop) alarmed(now time.Time) {
	for _, c := range l.alarm.machine.Step(now, l.facts(now)) {
		state := "raised"
		if c.Cleared {
			state = "cleared"
		}
		l.n.options.Log.Warn("alert", "state", state, "kind", c.Kind, "subject", c.Subject, "text", c.Text)
		subject := c.Kind
		if c.Subject != "" {
			subject += " " + c.Subject
		}
		l.n.events.Publish(control.Event{Kind: control.EventAlert, Time: now.UTC(), Subject: subject, State: state, Reason: c.Text})
		if l.n.options.Alerts != nil {
			l.n.options.Alerts.Tell(l.notice(now, c.Alert, state))
		}
	}
	l.due(now, choreAlarm, alarmEvery)
}

func (l *loop) notice(now time.Time, a alert.Alert, state string) notify.Notice {
	n := notify.Notice{VR: l.n.self.Name, Kind: a.Kind, Subject: a.Subject, Text: a.Text, State: state, Since: a.Since.UTC(), Time: now.UTC()}
	if root, ok := l.store.Root(); ok {
		n.Federation = root.Federation
	}
	if e, ok := l.store.Enrolment(l.n.self.Router); ok {
		n.Site = e.Site
	}
	return n
}

// Alerts implements control.Router.
func (a api) Alerts(ctx context.Context) (out control.Alerts, err error) {
	out.Alerts, out.Hooks = []control.Alert{}, []control.Hook{}
	err = a.n.call(ctx, func(_ time.Time, l *loop) {
		for _, c := range l.alarm.machine.Current() {
			out.Alerts = append(out.Alerts, control.Alert{Kind: c.Kind, Subject: c.Subject, Text: c.Text, Since: c.Since.UTC()})
		}
	})
	if hooks := a.n.options.Alerts; hooks != nil {
		out.Hooks = append(out.Hooks, asHooks(hooks.Statuses())...)
	}
	return out, err
}

// TryAlerts implements control.Router.
func (a api) TryAlerts(ctx context.Context) (list []control.Hook, err error) {
	var n notify.Notice
	err = a.n.call(ctx, func(now time.Time, l *loop) {
		n = l.notice(now, alert.Alert{Fact: alert.Fact{Kind: alert.Test, Text: "somebody tries the hooks: nothing is wrong"}, Since: now}, "raised")
	})
	if err != nil || a.n.options.Alerts == nil {
		return []control.Hook{}, err
	}
	return asHooks(a.n.options.Alerts.Try(ctx, n)), nil
}

func asHooks(list []notify.Status) []control.Hook {
	hooks := make([]control.Hook, len(list))
	for i, s := range list {
		hooks[i] = control.Hook(s)
	}
	return hooks
}
