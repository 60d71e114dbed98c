package vr

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"pgregory.net/rapid"
)

// drawEvent makes any event, of few routers and addresses, so that they meet. The answers are to
// requests that were made, or not.
func drawEvent(t *rapid.T, asks []AskDialBack) Event {
	router := rapid.Custom(func(t *rapid.T) tables.RouterID { return tables.RouterID(rapid.IntRange(0, 8).Draw(t, "router")) })
	endpoint := rapid.Custom(func(t *rapid.T) netip.AddrPort {
		addrs := []string{"203.0.113.1", "192.168.1.5", "203.0.113.7", "198.51.100.2", "198.51.100.3", "127.0.0.1", "2001:db8::1", "2001:db8::2", "100::5", "224.0.0.1"}
		return netip.AddrPortFrom(netip.MustParseAddr(rapid.SampledFrom(addrs).Draw(t, "addr")), uint16(rapid.IntRange(0, 3).Draw(t, "port")))
	})
	endpoints := rapid.SliceOfN(endpoint, 0, 12)
	token := func() Token {
		if len(asks) == 0 || rapid.IntRange(0, 9).Draw(t, "stray") == 0 {
			return Token{1}
		}
		return asks[max(0, len(asks)-1-rapid.IntRange(0, 3).Draw(t, "back"))].Token
	}
	switch rapid.IntRange(0, 14).Draw(t, "event") {
	case 0:
		return Local{endpoints.Draw(t, "local")}
	case 1, 2:
		return Linked{router.Draw(t, "r"), fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "site")), endpoint.Draw(t, "at")}
	case 3:
		return Unlinked{router.Draw(t, "r")}
	case 4, 5, 6:
		return Observed{router.Draw(t, "r"), endpoint.Draw(t, "at")}
	case 7:
		return Contacted{endpoint.Draw(t, "at")}
	case 8:
		return Reached{endpoint.Draw(t, "at"), router.Draw(t, "r")}
	case 9, 10:
		ev := Dialled{Token: token(), Helper: router.Draw(t, "helper")}
		for _, a := range asks {
			if a.Token == ev.Token {
				ev.By = a.Via
			}
		}
		return ev
	case 11:
		return DialArrived{token(), endpoint.Draw(t, "from"), router.Draw(t, "helper")}
	case 12:
		return Mapped{endpoints.Draw(t, "mapped")}
	case 13:
		return rapid.SampledFrom([]Event{Joined{}, Draining{true}, Draining{false}}).Draw(t, "other")
	}
	kinds := []Kind{Auto, Auto, Auto, Regular, Limited}
	return Declared{rapid.SampledFrom(kinds).Draw(t, "kind"), nil}
}

// TestAnyEvents: whatever happens, in whatever order, requests are few, memory is bounded, deadlines lie ahead,
// what is declared is final, changes are told, and the same events give the same actions.
func TestAnyEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one := New(Config{Router: 1, Site: "0", Random: seeded(1)})
		two := New(Config{Router: 1, Site: "0", Random: seeded(1)})
		now := epoch
		var asks []AskDialBack
		var when []time.Time
		told := one.Verdict()
		step := func(act func(*Self) []Action) {
			got, again := act(one), act(two)
			if !reflect.DeepEqual(got, again) {
				t.Fatalf("the same events: %v and %v", got, again)
			}
			for _, a := range got {
				switch a := a.(type) {
				case AskDialBack:
					if one.declared() {
						t.Fatal("a request though the operator has decided")
					}
					if one.witnesses[a.Via] == nil || a.Helper == a.Via {
						t.Fatalf("request %+v", a)
					}
					asks, when = append(asks, a), append(when, now)
					if n := len(when); n > asksMinuteMax && now.Sub(when[n-1-asksMinuteMax]) < time.Minute {
						t.Fatalf("%d requests in %v", asksMinuteMax+1, now.Sub(when[n-1-asksMinuteMax]))
					}
				case Changed:
					told = a.Verdict
				}
			}
			check(t, one, now)
			if !told.equal(one.Verdict()) {
				t.Fatalf("told %v, but it is %v", told, one.Verdict())
			}
		}
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "wait") {
				end := now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
				for next := one.Next(); !next.IsZero() && !next.After(end); next = one.Next() {
					if next.After(now) {
						now = next
					}
					step(func(s *Self) []Action { return s.Advance(now) })
					if next := one.Next(); !next.IsZero() && !next.After(now) {
						t.Fatalf("at %v the next deadline is %v", now.Sub(epoch), next.Sub(epoch))
					}
				}
				now = end
				continue
			}
			ev := drawEvent(t, asks)
			step(func(s *Self) []Action { return s.Handle(now, ev) })
		}
	})
}

func check(t *rapid.T, s *Self, now time.Time) {
	v := s.Verdict()
	if v.Kind != Regular && v.Kind != Limited || v.Reason == "" {
		t.Fatalf("verdict %+v", v)
	}
	if len(v.Endpoints) > endpointsMax || len(s.contacts.at) > contactsMax || len(s.asks) > asksMinuteMax ||
		len(s.local) > localMax || len(s.mapped) > mappedMax {
		t.Fatalf("too much is kept: %+v", s)
	}
	for i := range s.faces {
		f := &s.faces[i]
		if len(f.tries) > asksRoundMax {
			t.Fatalf("%d requests in a round", len(f.tries))
		}
		if f.asking != !f.deadline.IsZero() {
			t.Fatalf("asking %v, deadline %v", f.asking, f.deadline)
		}
		if !s.declared() && f.seen && !f.asking && f.due.IsZero() {
			t.Fatal("it never asks again")
		}
		if f.due.After(now.Add(recheck + recheck/5)) {
			t.Fatalf("the next round is in %v", f.due.Sub(now))
		}
	}
	if s.config.Declared != Auto && (v.Kind != s.config.Declared || !v.Confirmed) {
		t.Fatalf("declared %v: %v", s.config.Declared, v)
	}
}
