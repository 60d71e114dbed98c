package node

import (
	"testing"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/tables"
)

// TestNobodySpeaksForOthers: a rumour that names another than its teller as the holder of a document is
// dropped. Otherwise one packet to everybody has all of them dial one victim and ask for it.
func TestNobodySpeaksForOthers(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		liar, victim := s.enrol("liar", "liar"), s.enrol("victim", "victim")
		for _, r := range []*resident{liar, victim} {
			s.keep(s.record(r, r.static.Public()))
		}
		s.work()
		s.wait(time.Second)
		hear := func(from *resident, vn tables.VNID) int {
			before := s.sent.used
			message := mesh.AppendRumour(nil, mesh.Rumour{Holder: victim.id, Digest: tables.Digest{Key: tables.VNKey(vn), Version: 1}})
			s.l.handle(func(now time.Time) { s.l.gossip.heard(now, from.id, message) })
			s.wait(time.Second)
			return s.sent.used - before
		}
		if n := hear(liar, 1); n > 0 {
			t.Errorf("%d datagrams sent on a liar's word", n)
		}
		if hear(victim, 2) == 0 {
			t.Error("the holder's own word moves nobody, so the test proves nothing")
		}
	})
}

// TestServingInTurn: a VR whose newcomer waits meets those who say that they run the authority in turn:
// anybody can say so, and once the first who did was asked for ever.
func TestServingInTurn(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		s.l.handle(s.l.start)
		var all []*resident
		for _, name := range []string{"liar", "other", "authority"} {
			r := s.enrol(name, name)
			all = append(all, r)
			record := s.record(r, r.static.Public()).Body().(tables.LinkRecord)
			record.Serving = true
			s.keep(s.sign(record, r.identity))
		}
		s.work()
		s.l.waits[tables.Hash{1}] = nil // somebody waits
		s.l.handle(s.l.gossip.awaited)
		asked := map[tables.RouterID]bool{}
		for range 90 {
			s.wait(time.Second)
			for id, p := range s.l.peers {
				asked[id] = asked[id] || len(p.dials) > 0
			}
		}
		for _, r := range all {
			if !asked[r.id] {
				t.Errorf("%s says that it is the authority and is not asked", s.l.name(r.id))
			}
		}
	})
}
