package node

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

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
