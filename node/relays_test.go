package node

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/underlay"
)

// TestDialsForOthers: whoever sends through us to VRs that we have no link with makes us dial them, eight at once and one
// a second after that, whatever he asks for. Each of these is 1,028 bytes to an endpoint of others.
func TestDialsForOthers(t *testing.T) {
	const names, seconds = 60, 10
	for _, unmetered := range []bool{false, true} {
		withStill(t, func(t *testing.T, s *still) {
			n := s.l.n
			n.unmetered = unmetered
			client := s.enrol("client", "client")
			var others []tables.RouterID
			for range names {
				r := s.enrol("other"+string(rune('a'+len(others)/26))+string(rune('a'+len(others)%26)), "others")
				s.keep(s.record(r, r.static.Public()))
				others = append(others, r.id)
			}
			s.work()
			s.sent.used = 0
			dialled := map[netip.AddrPort]bool{}
			n.socket = recorder{n.socket.(quietSocket), func(to netip.AddrPort, b []byte) {
				if frame.Type(b[0]) == frame.TypeInit {
					dialled[to] = true
				}
			}}
			for i := range seconds * 100 {
				n.missed(client.id, others[i%names])
				(<-n.hearsay)(time.Now(), s.l)
				s.wait(10 * time.Millisecond)
			}
			if most := missBurst + seconds; !unmetered && len(dialled) > most || len(dialled) < missBurst {
				t.Errorf("%d of %d dialled in %d s", len(dialled), names, seconds)
			} else if unmetered && len(dialled) <= most {
				t.Errorf("without the limit %d dialled: the test shows nothing", len(dialled))
			}
		})
	}
}

// A recorder is a socket that shows what is sent.
type recorder struct {
	quietSocket
	sent func(to netip.AddrPort, b []byte)
}

func (r recorder) WriteBatch(dgs []underlay.Datagram) (int, error) {
	for _, d := range dgs {
		r.sent(d.Addr, d.Buf[:d.N])
	}
	return len(dgs), nil
}

// TestNamedQueueVRs: of the queue-VRs that a VR names for itself, in its link record or on the link, only those count
// that the authority lets be queue-VRs, that are regular, and that are admitted. Else it could have all others send what
// is for it to whomever it likes. What breaks the rule is no path, and nobody is dialled for it.
func TestNamedQueueVRs(t *testing.T) {
	for _, off := range []bool{false, true} {
		withStill(t, func(t *testing.T, s *still) {
			n := s.l.n
			n.off.anyQueue = off
			keep := func(r *resident, kind string, queues ...tables.RouterID) {
				body := tables.LinkRecord{Link: r.static.Public(), VRKind: kind, Queues: queues}
				if kind == "regular" {
					body.Endpoints = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.id)}), 8463)}
				}
				s.keep(s.recordAs(r, body))
			}
			good := s.enrolAs("good", "good", true)
			keep(good, "regular")
			victim := s.enrol("victim", "victim") // regular, and no queue-VR
			keep(victim, "regular")
			hidden := s.enrolAs("hidden", "hidden", true) // limited
			keep(hidden, "limited", good.id)
			gone := s.enrolAs("gone", "gone", true) // revoked
			keep(gone, "regular")
			s.keep(s.sign(tables.Revocation{Version: 1, Identity: tables.PublicOf(gone.identity), Reason: "test", Issued: time.Now().Unix()}, s.authority))
			liar := s.enrol("liar", "liar")
			named := []tables.RouterID{good.id, victim.id, hidden.id, gone.id, n.self.Router, 999}
			keep(liar, "limited", named...)
			s.work()

			record, ok := s.l.store.LinkRecord(liar.id)
			if !ok || len(record.Queues) != len(named) {
				t.Fatalf("the link record: %+v", record)
			}
			s.l.now = time.Now()
			through := s.l.pathsTo(liar.id, record)
			dialled := map[netip.AddrPort]bool{}
			n.socket = recorder{n.socket.(quietSocket), func(to netip.AddrPort, b []byte) { dialled[to] = true }}
			s.l.handle(func(now time.Time) { s.l.offerRelays(now, liar.id, named) })

			only := []netip.AddrPort{path.Relay(good.id, liar.id)}
			calm := len(dialled) == 1 && dialled[netip.MustParseAddrPort("198.51.100.2:8463")]
			if right := slices.Equal(through, only) && calm; right == off {
				t.Errorf("defence off %v: paths %v, dialled %v", off, through, dialled)
			}
		})
	}
}
