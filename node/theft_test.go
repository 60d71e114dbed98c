package node_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/secure"
)

// rumour tells the VR of a site a rumour of our own.
func (p *impostor) rumour(to *nodetest.Site, r mesh.Rumour) {
	p.t.Helper()
	p.say(to, append([]byte{8, 0xd1}, mesh.AppendRumour(nil, r)...))
}

// tell tells the VR of a site a document, and waits until it has it.
func (p *impostor) tell(w *nodetest.World, to *nodetest.Site, d *tables.Document) {
	p.t.Helper()
	before := to.Status().Root
	p.rumour(to, mesh.Rumour{Holder: p.self, Digest: d.Digest(), Body: d.Bytes()})
	w.Eventually(d.Key().String()+" has come", 10*time.Second, func() bool { return to.Status().Root != before })
}

// secretOf returns the secret of a site by its name in the state directory. The site's VR is stopped
// and started.
func secretOf(t *testing.T, s *nodetest.Site, name string) [32]byte {
	t.Helper()
	s.Stop()
	defer s.Start()
	dir, err := state.Open(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	key, ok, err := dir.Key(name)
	if !ok || err != nil {
		t.Fatalf("%s has no key %q: %v", s.Name, name, err)
	}
	return key
}

// TestLinkKeyTheft: an enrolled liar publishes a link record of his own with beta's link key, which
// everybody can read. Traffic with beta goes on, also after those who hold the record have restarted,
// and for a VR that joins later. Once the record that was newest decided whose key it was: beta's
// handshakes then counted as the liar's, and beta was cut off.
func TestLinkKeyTheft(t *testing.T) {
	inWorld(t, 98, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b, evil := w.Join("beta", a), w.Join("liar", a)
		ha, hb := a.NewHost(), b.NewHost()
		createVN(w, "physics", ha, hb)
		static := secure.NewStaticKey(secretOf(t, b, "link"))
		reaches := func(when string, from *nodetest.Site, src netip.Addr, to *nodetest.Site, dst netip.Addr) {
			t.Helper()
			if !w.Reaches(from, src, to, dst, time.Minute) || !w.Reaches(to, dst, from, src, time.Minute) {
				t.Errorf("%s: no traffic between %s and %s", when, from.Name, to.Name)
			}
		}
		reaches("before", a, ha, b, hb)
		w.Eventually("the liar knows all", time.Minute, func() bool { return nodetest.Same(a, b, evil) })

		identity := newKeyOf(secretOf(t, evil, "identity"))
		evil.Stop()
		p := newImpostor(t, evil)
		defer p.close()
		d, err := tables.Sign(tables.LinkRecord{
			Version: 1 << 40, Router: evil.Joined.Router, Link: static.Public(), VRKind: "regular", Software: "test",
			Endpoints: []netip.AddrPort{evil.Endpoint()},
		}, identity)
		if err != nil {
			t.Fatal(err)
		}
		p.tell(w, a, d)
		w.Settle(10 * time.Second)
		reaches("with the record", a, ha, b, hb)
		for _, again := range []*nodetest.Site{a, b} {
			again.Stop()
			again.Start()
			w.Settle(time.Minute)
			reaches("after a restart of "+again.Name, a, ha, b, hb)
		}
		e := w.Join("delta", a)
		hb2, he := b.NewHost(), e.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "biology", Hosts: []netip.Addr{hb2, he}})
		reaches("for a newcomer", b, hb2, e, he)
	})
}

// TestHalfArrivedManifest: of the next version of a VN only the manifest has come, in which one site
// has no hosts. The version before it is installed, so its members choose among the VNs that a host is
// in. The newest manifest once did, whichever version was installed: then packets for hosts that it left
// out went in another VN, and were dropped at their destination.
func TestHalfArrivedManifest(t *testing.T) {
	inWorld(t, 99, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b, c, evil := w.Join("beta", a), w.Join("gamma", a), w.Join("evil", a)
		hb, hc := b.NewHost(), c.NewHost()
		createVN(w, "biology", hb, c.NewHost()) // where a packet to hc would go that is in no other
		id := createVN(w, "physics", a.NewHost(), hb, hc)
		if !w.Reaches(b, hb, c, hc, time.Minute) {
			t.Fatal("no traffic")
		}
		authority := newKeyOf(secretOf(t, a, "authority"))
		w.Eventually("the messenger knows all", time.Minute, func() bool { return nodetest.Same(a, b, c, evil) })
		evil.Stop()
		p := newImpostor(t, evil)
		defer p.close()
		m, ok := p.store.Snapshot().Manifest(id)
		if !ok || len(m.Rosters) != 3 || m.Rosters[2].Site != "gamma" {
			t.Fatalf("manifest: %+v", m)
		}
		m.Version++
		m.Rosters = m.Rosters[:2]
		d, err := tables.Sign(m, authority)
		if err != nil {
			t.Fatal(err)
		}
		a.Kill() // or it would be the one to mend its own mistake
		p.tell(w, b, d)
		w.Settle(time.Second)
		if b.Installed("physics") != 1 {
			t.Fatal("version 1 is not installed")
		}
		if !w.Reaches(b, hb, c, hc, 3*time.Second) || !w.Reaches(c, hc, b, hb, 3*time.Second) {
			t.Error("version 1 is installed and the manifest of version 2 rules who is a member")
		}
	})
}
