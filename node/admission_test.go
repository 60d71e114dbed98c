package node

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// grants signs that many grants, each of another user.
func (s *still) grants(count int) {
	s.t.Helper()
	for i := range count {
		user := tables.PublicOf(ed25519.NewKeyFromSeed(append(make([]byte, 29), 1, byte(i>>8), byte(i))))
		s.keep(s.sign(tables.Grant{
			Version: 1, User: user, Name: fmt.Sprintf("user-%d", i), Role: tables.RoleEU, Scope: "site/alpha",
			NotAfter: time.Now().AddDate(1, 0, 0).Unix(),
		}, s.authority))
		s.work()
	}
}

// TestGift: a newcomer gets first what it cannot start without, however many grants there are. They
// once went first and filled the room: with 600 of them newcomers were given no enrolment and could
// not join at all.
func TestGift(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		newcomer := s.enrol("newcomer", "new")
		var others []*resident
		for i := range 230 {
			r := s.enrol(fmt.Sprintf("vr-%d", i), "there")
			s.keep(s.record(r, r.static.Public()))
			s.work()
			others = append(others, r)
		}
		s.l.handle(s.l.refreshRecord)
		s.keep(s.sign(tables.Revocation{Version: 1, Identity: tables.PublicOf(others[0].identity), Issued: time.Now().Unix()}, s.authority))
		s.grants(601)
		e, ok := s.l.store.Enrolment(newcomer.id)
		self := s.l.n.self.Router
		if _, recorded := s.l.store.LinkRecord(self); !ok || !recorded || len(s.l.store.Requests()) > 0 {
			t.Fatal("the store is not as the test means it")
		}

		gift := s.l.server.gift(e)
		place := map[tables.DocKey]int{}
		size := map[tables.Kind]int{}
		all, last := 0, map[tables.Kind]int{}
		for i, d := range gift {
			if _, twice := place[d.Key()]; twice {
				t.Errorf("%s is given twice", d.Key())
			}
			place[d.Key()], last[d.Kind()] = i, i
			size[d.Kind()] += len(d.Bytes())
			all += len(d.Bytes())
		}
		if all > giftBytesMax {
			t.Errorf("the gift has %d bytes of %d", all, giftBytesMax)
		}
		for _, key := range []tables.DocKey{
			tables.RootKey(1), tables.HeadKey(tables.PublicOf(s.authority)), tables.EnrolmentKey(newcomer.id),
			tables.EnrolmentKey(self), tables.LinkRecordKey(self),
		} {
			if at, there := place[key]; !there || at >= 5 {
				t.Errorf("%s is given at place %d, %v", key, at, there)
			}
		}
		if n := size[tables.KindEnrolment] + size[tables.KindLinkRecord]; n < giftBytesMax/3 || n > giftBytesMax*2/3 {
			t.Errorf("other routers take %d bytes of %d", n, giftBytesMax)
		}
		for at, d := range gift {
			if r, ok := d.Body().(tables.LinkRecord); ok {
				if before, there := place[tables.EnrolmentKey(r.Router)]; !there || before > at {
					t.Errorf("router %v is given without its enrolment", r.Router)
				}
			}
		}
		if size[tables.KindGrant] < giftBytesMax/3 {
			t.Errorf("grants take %d bytes, so the test does not fill the gift", size[tables.KindGrant])
		}
		if last[tables.KindRevocation] == 0 {
			t.Error("the newcomer is not told who is revoked")
		}
	})
}

// TestNothingPromisedFromMemory: neither a newcomer nor who asks by the management interface is told that a request is done before that
// is on disk, nor is the enrolment given to peers. Whenever anything was stored every newcomer was once told what memory said: after a
// crash the invite that was spent on it was good again.
func TestNothingPromisedFromMemory(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		s.l.author = newAuthority(s.l)
		identity := ed25519.NewKeyFromSeed(append(make([]byte, 31), 77))
		d, err := policy.NewRequest(time.Now(), &steady{n: 5}, identity, policy.OpJoin, policy.JoinArgs{Name: "beta", Site: "beta", Link: tables.LinkKey{1: 1}})
		s.check(err)
		s.keep(d)
		s.work()
		g := &guest{conn: 1, request: d.Hash()}
		s.l.server.conns[1] = g
		mend := s.breakDisk()
		s.l.handle(s.l.author.act)
		s.work()
		if receipt, ok := s.l.store.Receipt(d.Hash()); !ok || receipt.State != tables.StateDone {
			t.Fatal("the authority has not answered")
		}
		s.l.handle(s.l.server.news) // as when something else was stored
		e, _ := s.l.store.EnrolmentByIdentity(tables.PublicOf(identity))
		if out, _ := s.l.outcome(d.Hash()); g.told.State == tables.StateDone || out.State == tables.StateDone {
			t.Errorf("told %q and %q, and nothing is on disk", g.told.State, out.State)
		}
		if e.Router == 0 || s.l.gossip.body(tables.EnrolmentKey(e.Router)) != nil {
			t.Error("peers are given an enrolment that is not on disk")
		}
		if _, ok := s.l.n.directory.Load().told.EnrolmentByName("beta"); ok {
			t.Error("it is shown")
		}
		mend()
		s.wait(storeRetry)
		if out, _ := s.l.outcome(d.Hash()); g.told.State != tables.StateDone || out.State != tables.StateDone {
			t.Errorf("told %q and %q, and it is on disk", g.told.State, out.State)
		}
		if s.l.gossip.body(tables.EnrolmentKey(e.Router)) == nil {
			t.Error("peers are not given the enrolment")
		}
	})
}

// TestRevocationActsBeforeTheDisk: while a revocation waits for the disk, the VR acts by it all the same.
func TestRevocationActsBeforeTheDisk(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		r := s.enrol("beta", "beta")
		s.work()
		mend := s.breakDisk()
		s.keep(s.sign(tables.Revocation{Version: 1, Identity: tables.PublicOf(r.identity), Issued: time.Now().Unix()}, s.authority))
		for range 2 { // before the write and after it has failed
			if _, ok := s.l.n.directory.Load().told.Enrolment(r.id); ok {
				t.Error("a VR that is revoked is in the directory")
			}
			s.work()
			s.l.handle(func(time.Time) { s.l.publishDirectory() })
		}
		mend()
		s.wait(storeRetry)
		if _, ok := s.l.n.directory.Load().told.Enrolment(r.id); ok {
			t.Error("it has come back")
		}
	})
}
