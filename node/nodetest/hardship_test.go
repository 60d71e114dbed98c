package nodetest_test

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// TestBehindTranslatorForHours: a VR behind an address translator goes on to announce where others can
// reach it, and that it is limited. A peer says what it sees once, when a link comes up; that word was
// once forgotten after ten minutes, with the link up, and the VR announced its private address alone.
func TestBehindTranslatorForHours(t *testing.T) {
	inWorld(t, 40, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		s := w.NewSite("inner")
		public := netip.MustParseAddr("203.0.113.7")
		s.Host = w.Net.NAT("nat", public, transporttest.FullCone).Host("inner-host", netip.MustParseAddr("192.168.1.5"))
		if err := enrol(s, a, "", time.Minute); err != nil {
			t.Fatal(err)
		}
		s.Start()
		w.Eventually("the translated address is found", time.Minute, func() bool {
			at := s.Status().Endpoints
			return len(at) == 2 && at[0].Addr() == public
		})
		records := s.Status()
		for minute := range 120 {
			time.Sleep(time.Minute)
			now := s.Status()
			if now.Kind != "limited" || fmt.Sprint(now.Endpoints) != fmt.Sprint(records.Endpoints) {
				t.Fatalf("after %d minutes: %s at %v, before at %v", minute+1, now.Kind, now.Endpoints, records.Endpoints)
			}
		}
	})
}

// TestStaleHead: the authority comes back after more than a week, which is longer than its head counts,
// and two requests to join wait on its disk. Both are granted. What it signed before it had renewed its
// head was once believed by nobody, itself included: the first enrolment did not count when the second
// request was decided, so both were given the same router ID, and one newcomer waited for ever.
func TestStaleHead(t *testing.T) {
	inWorld(t, 41, func(t *testing.T, w *nodetest.World) {
		w.AutoAdmit = "never"
		a := w.Found("alpha")
		sites := []*nodetest.Site{w.NewSite("gamma"), w.NewSite("delta")}
		tokens := map[string]string{}
		for _, s := range sites {
			tokens[s.Name] = invite(t, w, 30*24*time.Hour) // or its request would end after two days
			if err := enrol(s, a, tokens[s.Name], 10*time.Second); err == nil {
				t.Fatal("nobody was to be let in yet")
			}
		}
		if list, err := a.API().Pending(t.Context()); err != nil || len(list) != len(sites) {
			t.Fatalf("these wait: %v, %v", list, err)
		}
		a.Kill()
		time.Sleep(8 * 24 * time.Hour)
		if !open(t, a).Snapshot().TrustStale(time.Now()) {
			t.Fatal("the head still counts, so the test proves nothing")
		}
		w.AutoAdmit = "invite"
		a.Start()
		time.Sleep(time.Minute)
		a.Stop()
		enrolled := map[string]bool{}
		for _, e := range open(t, a).Enrolments() {
			enrolled[e.Name] = true
		}
		a.Start()
		given := map[tables.RouterID]string{a.Joined.Router: a.Name}
		for _, s := range sites {
			if !enrolled[s.Name] {
				t.Errorf("%s was not let in", s.Name)
			}
			if err := enrol(s, a, tokens[s.Name], time.Minute); err != nil {
				t.Errorf("%s does not learn that it is in: %v", s.Name, err)
				continue
			}
			if other, taken := given[s.Joined.Router]; taken {
				t.Errorf("%s got the router ID of %s", s.Name, other)
			}
			given[s.Joined.Router] = s.Name
		}
	})
}

// TestJoinAmongManyGrants: a federation with hundreds of grants still takes newcomers. What a newcomer
// is given once began with all grants, and had no room left for its own enrolment.
func TestJoinAmongManyGrants(t *testing.T) {
	inWorld(t, 42, func(t *testing.T, w *nodetest.World) {
		const count = 601
		a := w.Found("alpha")
		w.Settle(10 * time.Second)
		a.Stop()
		dir, err := state.Open(a.Dir)
		if err != nil {
			t.Fatal(err)
		}
		seed, _, err := dir.Key("authority")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := dir.Load(); err != nil { // it writes behind what it has read
			t.Fatal(err)
		}
		var raw [][]byte
		for i := range count {
			user := ed25519.NewKeyFromSeed(append(make([]byte, 29), 1, byte(i>>8), byte(i)))
			d, err := tables.Sign(tables.Grant{
				Version: 1, User: tables.PublicOf(user), Name: fmt.Sprintf("user-%d", i), Role: tables.RoleEU,
				Scope: "site/alpha", NotAfter: time.Now().AddDate(1, 0, 0).Unix(),
			}, ed25519.NewKeyFromSeed(seed[:]))
			if err != nil {
				t.Fatal(err)
			}
			raw = append(raw, d.Bytes())
		}
		if err := dir.Append(raw...); err != nil {
			t.Fatal(err)
		}
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
		a.Start()
		if n := a.Status().Documents; n < count {
			t.Fatalf("alpha holds %d documents, so the test proves nothing", n)
		}
		b := w.NewSite("beta")
		if err := enrol(b, a, "", 2*time.Minute); err != nil {
			t.Fatalf("join: %v", err)
		}
		b.Start()
		w.Eventually("beta has every grant", time.Minute, func() bool { return nodetest.Same(a, b) })
	})
}
