package transport

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
)

// A translator is in front of one host: another outside port for each life of its mappings, and nothing comes in from an
// endpoint that the host has not sent to in that life.
type translator struct {
	inside *host
	lives  uint16
	sent   map[netip.AddrPort]bool
}

// translate puts a translator in front of a host.
func (w *world) translate(h *host) *translator {
	tr := &translator{inside: h, sent: map[netip.AddrPort]bool{}}
	w.filter = func(p *packet) bool {
		switch at := tr.outside(); {
		case path.KindOf(p.to) != path.Direct: // the relay's own mapping is not modelled
		case p.from == h.addr:
			tr.sent[p.to], p.from = true, at
		case p.to == at && tr.sent[p.from]:
			p.to = h.addr
		default:
			return p.to.Addr() != at.Addr() && p.to != h.addr
		}
		return true
	}
	return tr
}

// outside is where others see the host.
func (tr *translator) outside() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), 10_000+tr.lives)
}

// forget ends all mappings.
func (tr *translator) forget() {
	tr.lives++
	clear(tr.sent)
}

// behindTranslator makes a world of a public host, one behind a translator, which leads as a limited VR does, and a third
// one that relays for them, with a link between the first two.
func behindTranslator(t *testing.T) (w *world, public, limited *host, tr *translator) {
	w = newWorld(t, 3)
	public, limited = w.nodes[0], w.nodes[1]
	public.leads, limited.leads = map[tables.RouterID]bool{2: false}, map[tables.RouterID]bool{1: true}
	public.paths = map[tables.RouterID][]netip.AddrPort{2: {path.Relay(3, 2)}}
	limited.paths = map[tables.RouterID][]netip.AddrPort{1: {public.addr, path.Relay(3, 1)}}
	tr = w.translate(limited)
	w.connect(limited, public, 7)
	w.run(5 * time.Second)
	if limited.endpoint[1] != public.addr || public.endpoint[2] != tr.outside() {
		t.Fatalf("the link goes from %v to %v", public.endpoint[2], limited.endpoint[1])
	}
	return w, public, limited, tr
}

// TestForgottenReceiver: the translator of a host that only receives forgets it, again and again. Neither data nor questions
// get through to it, and there is no relay: it has to notice that the data has ended.
func TestForgottenReceiver(t *testing.T) {
	w, public, limited, tr := behindTranslator(t)
	forget := w.filter
	w.filter = func(p *packet) bool { return path.KindOf(p.to) == path.Direct && forget(p) }
	var came time.Time
	for i, before := 0, 0; i < 20; i++ {
		for k := range 300 + 7*i {
			public.data(2, 7, fmt.Sprint(i, k))
			w.run(10 * time.Millisecond)
			switch {
			case k == 200:
				tr.forget()
				came = w.now
			case k > 200 && len(limited.got) > before:
				if gap := w.now.Sub(came); gap > time.Second {
					t.Errorf("the %d. time nothing arrived for %v", i, gap)
				}
				came = w.now
			}
			before = len(limited.got)
		}
		if gap := w.now.Sub(came); gap > time.Second {
			t.Errorf("the %d. time nothing arrives after %v", i, gap)
		}
	}
	if n := len(public.downs) + len(limited.downs); n > 0 {
		t.Errorf("the link went down %d times", n)
	}
}

// TestIdleIsNoDetour: the translator of an idle host forgets it, and the peer, which has something to say and hears nothing,
// goes round by a relay. The host must not take the silence of its own for a dead way and follow: it asks, and by this both are
// back on the direct way, without which the peer could be no relay for it.
func TestIdleIsNoDetour(t *testing.T) {
	w, public, limited, tr := behindTranslator(t)
	for i := range 20 {
		w.run(40*time.Second + time.Duration(311*i)*time.Millisecond) // what was lost is forgotten too
		tr.forget()
		if gap, _ := w.flow(public, limited, time.Second); gap > time.Second {
			t.Errorf("the %d. time nothing arrived for %v", i, gap)
		}
		if limited.endpoint[1] != public.addr || public.endpoint[2] != tr.outside() {
			t.Fatalf("the %d. time the link goes from %v to %v", i, public.endpoint[2], limited.endpoint[1])
		}
	}
	detours := 0
	for _, m := range public.moved {
		if path.KindOf(m.Endpoint) == path.Relayed {
			detours++
		}
	}
	if detours == 0 {
		t.Error("the peer never went round by the relay: the test shows nothing")
	}
}

// TestDeadDirectWay: the direct way is really dead, and the peer goes round by a relay. The idle host finds no answer and
// follows.
func TestDeadDirectWay(t *testing.T) {
	w, public, limited, _ := behindTranslator(t)
	w.run(10 * time.Second)
	w.filter = func(p *packet) bool { return path.KindOf(p.to) != path.Direct }
	if gap, _ := w.flow(public, limited, 3*time.Second); gap > time.Second {
		t.Errorf("nothing arrived for %v", gap)
	}
	if path.KindOf(limited.endpoint[1]) != path.Relayed || path.KindOf(public.endpoint[2]) != path.Relayed || len(limited.downs) > 0 {
		t.Errorf("the link goes from %v to %v", public.endpoint[2], limited.endpoint[1])
	}
}
