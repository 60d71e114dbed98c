package node_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// inWorld runs f in a bubble with a World, and closes it.
func inWorld(t *testing.T, seed uint64, f func(t *testing.T, w *nodetest.World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.New(t, seed)
		defer w.Close()
		f(t, w)
	})
}

// createVN makes a VN and waits until every running site has it.
func createVN(w *nodetest.World, name string, hosts ...netip.Addr) tables.VNID {
	w.T.Helper()
	return createVNWith(w, policy.VNCreateArgs{Name: name, Hosts: hosts})
}

func createVNWith(w *nodetest.World, args policy.VNCreateArgs) tables.VNID {
	w.T.Helper()
	w.Must(w.Sites[0], policy.OpVNCreate, args)
	var running []*nodetest.Site
	for _, s := range w.Sites {
		if s.Node != nil {
			running = append(running, s)
		}
	}
	w.UntilInstalled(args.Name, 1, 10*time.Second, running...)
	vn, err := w.Sites[0].API().VN(background, args.Name)
	if err != nil {
		w.T.Fatal(err)
	}
	return vn.ID
}

// TestFigure310 is the example of the dissertation's figure 3-10, packet for packet: domains A, B
// and C; VN1 has hosts of A and B, VN2 hosts of A and C. Every host sends one packet to every
// other. It arrives where both are in one VN, as one datagram straight from one VR to the other.
// Between B and C it is dropped at the VR of the sender, and nothing of it leaves: no GNDT of the
// sender's VNs holds the destination. A packet to a host of A in the other VN goes to A, whose
// prefix both GNDTs hold, and is dropped there by the LNDT.
func TestFigure310(t *testing.T) {
	inWorld(t, 60, func(t *testing.T, w *nodetest.World) {
		a := w.Found("domain-a")
		b, c := w.Join("domain-b", a), w.Join("domain-c", a)
		type host struct {
			site *nodetest.Site
			addr netip.Addr
			vn   int
		}
		var hosts []host
		add := func(s *nodetest.Site, vn int) {
			hosts = append(hosts, host{s, s.NewHost(), vn}, host{s, s.NewHost(), vn})
		}
		add(a, 1)
		add(a, 2)
		add(b, 1)
		add(c, 2)
		var in [3][]netip.Addr
		for _, h := range hosts {
			in[h.vn] = append(in[h.vn], h.addr)
		}
		createVN(w, "vn1", in[1]...)
		createVN(w, "vn2", in[2]...)
		w.Reaches(a, hosts[0].addr, b, hosts[4].addr, 5*time.Second)
		w.Reaches(a, hosts[2].addr, c, hosts[6].addr, 5*time.Second)
		w.Settle(time.Second)

		type wire struct{ from, to netip.AddrPort }
		var datagrams []wire
		var counting atomic.Bool
		w.Net.OnDeliver(func(_ time.Time, from, to netip.AddrPort, p []byte) {
			if counting.Load() && frame.TypeOf(p) == frame.TypeData {
				datagrams = append(datagrams, wire{from, to})
			}
		})
		drops := func(s *nodetest.Site, reason string) uint64 { return s.Status().Packets.Drops[reason] }
		for _, x := range hosts {
			for _, y := range hosts {
				if x == y {
					continue
				}
				what := fmt.Sprintf("%s in VN%d to %s in VN%d", x.site.Name, x.vn, y.site.Name, y.vn)
				w.Strays, datagrams = nil, nil
				// Where a packet between VNs ends, and what that is called.
				end, reason := x.site, "no-route"
				if y.site == a {
					end, reason = a, "destination-not-member"
				}
				before := drops(end, reason)
				counting.Store(true)
				x.site.Send(0, x.addr, y.addr, "hello")
				w.Settle(50 * time.Millisecond)
				counting.Store(false)
				synctest.Wait()
				want := []wire{{x.site.Endpoint(), y.site.Endpoint()}}
				if x.site == y.site || x.vn != y.vn && y.site != a {
					want = nil
				}
				if !slices.Equal(datagrams, want) {
					t.Errorf("%s: went as %v, want %v", what, datagrams, want)
				}
				if x.vn != y.vn {
					if d := drops(end, reason) - before; len(w.Strays) > 0 || d != 1 {
						t.Errorf("%s: %d delivered, %d counted as %s at %s", what, len(w.Strays), d, reason, end.Name)
					}
					continue
				}
				if len(w.Strays) != 1 || w.Strays[0].Site != y.site || w.Strays[0].Src != x.addr || w.Strays[0].Dst != y.addr || w.Strays[0].Payload != "hello" {
					t.Errorf("%s: delivered %+v", what, w.Strays)
					continue
				}
				if ttl := w.Strays[0].Bytes[8]; ttl != 63 {
					t.Errorf("%s: TTL 64 became %d", what, ttl)
				}
			}
		}
	})
}

// delivered sends one packet and returns the places where it came out, as "site/attachment".
func delivered(w *nodetest.World, from *nodetest.Site, at int, src, dst netip.Addr) string {
	w.Strays = nil
	from.Send(at, src, dst, "hello")
	w.Settle(200 * time.Millisecond)
	var places []string
	for _, p := range w.Strays {
		places = append(places, fmt.Sprintf("%s/%d", p.Site.Name, p.At))
		if p.Src != src || p.Dst != dst || p.Payload != "hello" {
			w.T.Errorf("%v to %v came out as %+v", src, dst, p)
		}
	}
	return strings.Join(places, " ")
}

// expect checks delivered, and warms the path up first so that no packet is lost waiting for a link.
func expect(w *nodetest.World, from *nodetest.Site, at int, src, dst netip.Addr, want string) {
	w.T.Helper()
	if got := delivered(w, from, at, src, dst); got != want {
		w.T.Errorf("%s/%d, %v to %v: delivered at %q, want %q", from.Name, at, src, dst, got, want)
	}
}

// TestSeveralVNs: a host in two VNs reaches both, and they do not reach each other through it.
func TestSeveralVNs(t *testing.T) {
	inWorld(t, 61, func(t *testing.T, w *nodetest.World) {
		a := w.Found("a")
		b, c := w.Join("b", a), w.Join("c", a)
		both, hb, hc := a.NewHost(), b.NewHost(), c.NewHost()
		createVN(w, "vn1", both, hb)
		createVN(w, "vn2", both, hc)
		expect(w, a, 0, both, hb, "b/0")
		expect(w, a, 0, both, hc, "c/0")
		expect(w, b, 0, hb, both, "a/0")
		expect(w, c, 0, hc, both, "a/0")
		expect(w, b, 0, hb, hc, "")
		expect(w, c, 0, hc, hb, "")

		w.Must(a, policy.OpVNLeave, policy.VNHostsArgs{VN: "vn2", Hosts: []netip.Addr{both}})
		w.Settle(2 * time.Second)
		expect(w, a, 0, both, hb, "b/0")
		expect(w, a, 0, both, hc, "")
		expect(w, c, 0, hc, both, "")
	})
}

// TestSameSpaceRemote: two VNs have one prefix at different sites, and one VR with one attachment
// has hosts in both. The sender's VN says which site is meant.
func TestSameSpaceRemote(t *testing.T) {
	inWorld(t, 62, func(t *testing.T, w *nodetest.World) {
		a := w.Found("a")
		b, c := w.Join("b", a), w.Join("c", a)
		shared, far := netip.MustParsePrefix("10.200.9.0/24"), netip.MustParseAddr("10.200.9.5")
		h1, h2 := a.NewHost(), a.NewHost()
		createVNWith(w, policy.VNCreateArgs{Name: "vn1", Hosts: []netip.Addr{h1, far}, Prefixes: []policy.PrefixAt{{Prefix: shared, VR: "b"}}})
		createVNWith(w, policy.VNCreateArgs{Name: "vn2", Hosts: []netip.Addr{h2, far}, Prefixes: []policy.PrefixAt{{Prefix: shared, VR: "c"}}})
		expect(w, a, 0, h1, far, "b/0")
		expect(w, a, 0, h2, far, "c/0")
		expect(w, b, 0, far, h1, "a/0")
		expect(w, c, 0, far, h2, "a/0")
		expect(w, b, 0, far, h2, "")
		expect(w, c, 0, far, h1, "")

		// A host in both would have two ways to far: refused at signing.
		r, err := w.Ask(a, policy.OpVNJoin, policy.VNHostsArgs{VN: "vn2", Hosts: []netip.Addr{h1}})
		if err != nil || r.State != tables.StateRefused {
			t.Errorf("a host with two ways: %+v, %v", r, err)
		}
		expect(w, a, 0, h1, far, "b/0")
	})
}

// TestSameSpaceLocal: one VR has the same address in two VNs behind it, on two attachments.
func TestSameSpaceLocal(t *testing.T) {
	inWorld(t, 63, func(t *testing.T, w *nodetest.World) {
		a := w.Found("a")
		b, c := w.Join("b", a), w.Join("c", a)
		d := w.NewSite("d")
		d.Serve = [][]string{{"vn1"}, {"vn2"}}
		if err := d.Enrol(background, a.Endpoint(), ""); err != nil {
			t.Fatal(err)
		}
		d.Start()
		shared, near := netip.MustParsePrefix("10.200.10.0/24"), netip.MustParseAddr("10.200.10.5")
		hb, hc := b.NewHost(), c.NewHost()
		at := []policy.PrefixAt{{Prefix: shared, VR: "d"}}
		createVNWith(w, policy.VNCreateArgs{Name: "vn1", Hosts: []netip.Addr{hb, near}, Prefixes: at})
		createVNWith(w, policy.VNCreateArgs{Name: "vn2", Hosts: []netip.Addr{hc, near}, Prefixes: at})
		expect(w, b, 0, hb, near, "d/0")
		expect(w, c, 0, hc, near, "d/1")
		expect(w, d, 0, near, hb, "b/0")
		expect(w, d, 1, near, hc, "c/0")
		expect(w, d, 0, near, hc, "")
		expect(w, d, 1, near, hb, "")
	})
}

// hostile is the scene of an enrolled VR that attacks: VN 1 of all, VN 2 without it, VN 3 of it and
// the target.
type hostile struct {
	*impostor
	w             *nodetest.World
	a, b          *nodetest.Site
	vn1, vn2, vn3 tables.VNID
	own, own3     netip.Addr // its hosts in VN 1 and VN 3
	ha1, ha2, ha3 netip.Addr // the target's
	hb1, hb2      netip.Addr // another's
	recorded      []byte     // a data datagram from b to a
}

func newHostile(t *testing.T, w *nodetest.World) *hostile {
	h := &hostile{w: w}
	h.a = w.Found("target")
	h.b = w.Join("bystander", h.a)
	evil := w.Join("evil", h.a)
	h.ha1, h.ha2, h.ha3 = h.a.NewHost(), h.a.NewHost(), h.a.NewHost()
	h.hb1, h.hb2 = h.b.NewHost(), h.b.NewHost()
	h.own, h.own3 = evil.NewHost(), evil.NewHost()
	h.vn1 = createVN(w, "vn1", h.ha1, h.hb1, h.own)
	h.vn2 = createVN(w, "vn2", h.ha2, h.hb2)
	h.vn3 = createVN(w, "vn3", h.ha3, h.own3)
	if !w.Reaches(h.b, h.hb1, h.a, h.ha1, 5*time.Second) || !w.Reaches(h.b, h.hb2, h.a, h.ha2, 5*time.Second) {
		t.Fatal("no honest traffic")
	}
	evil.Kill()
	evil.Plug()
	h.impostor = newImpostor(t, evil)
	h.link(h.a, 2)
	w.Settle(time.Second)
	w.Strays = nil
	return h
}

func udp(src, dst netip.Addr) []byte {
	return capturetest.AppendUDP(nil, netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 2), []byte("attack"))
}

// TestHostileVR: an enrolled VR sends what it likes in the VNs that it is in. Nothing of it that
// is not its own reaches a host, and each attempt is counted. With the check of arriving packets
// taken out, what only that check holds back comes through.
func TestHostileVR(t *testing.T) {
	outside := netip.MustParseAddr("192.0.2.77")
	attacks := []struct {
		name   string
		reason string // under which it is counted
		checks bool   // only the check of arriving packets holds it back
		send   func(h *hostile)
	}{
		{"another VR's host as source", "source-not-of-sender", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.hb1, h.ha1)) }},
		{"the target's own host as source", "source-not-of-sender", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.ha1, h.ha1)) }},
		{"a source outside the ViNe space", "outside-space", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(outside, h.ha1)) }},
		{"a destination outside the ViNe space", "outside-space", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.own, outside)) }},
		{"a host of another VN", "destination-not-member", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.own, h.ha2)) }},
		{"a host of another VN of ours", "destination-not-member", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.own, h.ha3)) }},
		{"another VR's host as destination", "destination-not-member", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.own, h.hb1)) }},
		{"bytes after the packet", "trailing-bytes", true, func(h *hostile) { h.send(h.a, h.vn1, h.vn1, [3]byte{}, append(udp(h.own, h.ha1), 0)) }},
		{"relabelled into a VN that we are not in", "data-not-opened", false, func(h *hostile) { h.send(h.a, h.vn1, h.vn2, [3]byte{}, udp(h.own, h.ha2)) }},
		{"relabelled into a VN that we are in", "data-not-opened", false, func(h *hostile) { h.send(h.a, h.vn1, h.vn3, [3]byte{}, udp(h.own3, h.ha3)) }},
		{"in the clear", "data-not-opened", false, func(h *hostile) {
			h.send(h.a, h.vn1, h.vn1, [3]byte{frame.MetaAuthOnly}, udp(h.own, h.ha1))
		}},
		{"a packet of two VNs", "", false, func(h *hostile) {
			whole := udp(h.own, h.ha1)
			h.send(h.a, h.vn3, h.vn3, [3]byte{frame.MetaSplit}, whole[:20])
			h.send(h.a, h.vn1, h.vn1, [3]byte{frame.MetaSplit | frame.MetaSplitLast}, whole[20:])
		}},
		{"the bystander's packet again", "data-not-opened", false, func(h *hostile) { h.write(h.a.Endpoint(), h.recorded) }},
		{"the bystander's packet, changed", "data-not-opened", false, func(h *hostile) {
			forged := slices.Clone(h.recorded)
			forged[15]++
			h.write(h.a.Endpoint(), forged)
		}},
	}
	for _, open := range []bool{false, true} {
		t.Run(map[bool]string{false: "checked", true: "unchecked"}[open], func(t *testing.T) {
			inWorld(t, 64, func(t *testing.T, w *nodetest.World) {
				if open {
					w.Prepare = func(n *node.Node) { n.TrustPeers() }
				}
				h := newHostile(t, w)
				defer h.close()
				w.Net.OnDeliver(func(_ time.Time, from, to netip.AddrPort, p []byte) {
					if from == h.b.Endpoint() && to == h.a.Endpoint() && frame.TypeOf(p) == frame.TypeData {
						h.recorded = p
					}
				})
				if !w.Reaches(h.b, h.hb1, h.a, h.ha1, time.Second) {
					t.Fatal("no honest traffic")
				}
				w.Net.OnDeliver(nil)
				w.Settle(time.Second)
				synctest.Wait()
				endpoint := func() string {
					hold, err := h.a.Node.Holding(background)
					if err != nil {
						t.Fatal(err)
					}
					return hold.Endpoints[h.b.Joined.Router]
				}
				at := endpoint()
				for _, x := range attacks {
					w.Strays = nil
					before := h.a.Status().Packets.Drops
					x.send(h)
					w.Settle(100 * time.Millisecond)
					came := len(w.Strays)
					switch {
					case !open && came > 0:
						t.Errorf("%s: %d delivered", x.name, came)
					case !open && x.reason != "" && h.a.Status().Packets.Drops[x.reason] != before[x.reason]+1:
						t.Errorf("%s: not counted as %s: %v", x.name, x.reason, h.a.Status().Packets.Drops)
					case open && x.checks && came == 0:
						t.Errorf("%s: nothing delivered without the check, so the test proves nothing", x.name)
					case open && !x.checks && came > 0:
						t.Errorf("%s: %d delivered", x.name, came)
					}
				}
				w.Strays = nil
				h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.own, h.ha1))
				w.Settle(100 * time.Millisecond)
				if len(w.Strays) != 1 {
					t.Errorf("%d delivered of the one honest packet", len(w.Strays))
				}
				w.Settle(10 * time.Second)
				if endpoint() != at {
					t.Errorf("the bystander's link moved from %s to %s", at, endpoint())
				}
				if !w.Reaches(h.b, h.hb1, h.a, h.ha1, time.Second) {
					t.Error("no honest traffic any more")
				}
			})
		})
	}
}

// TestRevocation: a revoked VR that goes on sending is cut off within a second of the revocation's
// arrival, and no handshake of it is answered from then on.
func TestRevocation(t *testing.T) {
	inWorld(t, 65, func(t *testing.T, w *nodetest.World) {
		h := newHostile(t, w)
		defer h.close()
		arrivals := func(d time.Duration) (n int) {
			w.Strays = nil
			for end := time.Now().Add(d); time.Now().Before(end); {
				h.mu.Lock()
				ch, ok := h.channels[h.a.Joined.Router]
				h.mu.Unlock()
				if ok && ch.Index[h.vn1] != 0 {
					h.send(h.a, h.vn1, h.vn1, [3]byte{}, udp(h.own, h.ha1))
				}
				w.Settle(10 * time.Millisecond)
			}
			w.Settle(50 * time.Millisecond)
			return len(w.Strays)
		}
		if n := arrivals(time.Second); n < 90 {
			t.Fatalf("%d of 100 packets arrive before the revocation", n)
		}
		// The keys as they are, whatever the impostor's own links make of a close.
		h.mu.Lock()
		stolen := h.channels[h.a.Joined.Router]
		h.mu.Unlock()
		w.Must(h.b, policy.OpRevoke, policy.RevokeArgs{VR: "evil", Reason: "test"})
		known := func() bool {
			list, err := h.a.API().VRs(background)
			if err != nil {
				t.Fatal(err)
			}
			return !slices.ContainsFunc(list, func(v control.VR) bool { return v.Name == "evil" })
		}
		w.Eventually("the revocation is at the target", time.Second, known)
		revoked := time.Now()
		w.Strays = nil
		last := time.Duration(0)
		for time.Since(revoked) < 5*time.Second {
			sealed, _ := stolen.Sender.Seal(nil, stolen.Index[h.vn1], [3]byte{}, h.vn1, udp(h.own, h.ha1))
			h.write(h.a.Endpoint(), sealed)
			seen := len(w.Strays)
			w.Settle(10 * time.Millisecond)
			if len(w.Strays) > seen {
				last = time.Since(revoked)
			}
		}
		t.Logf("last packet %v after the revocation was known, %d in all", last, len(w.Strays))
		if last > time.Second {
			t.Errorf("packets are taken %v after the revocation", last)
		}

		answered := 0
		ups := h.linkUps(h.a)
		w.Net.OnDeliver(func(_ time.Time, from, to netip.AddrPort, p []byte) {
			if from == h.a.Endpoint() && to == h.site.Endpoint() {
				answered++
			}
		})
		for range 30 {
			h.dial(h.a)
			w.Settle(time.Second)
		}
		w.Net.OnDeliver(nil)
		synctest.Wait()
		if answered > 0 || h.linkUps(h.a) != ups {
			t.Errorf("%d datagrams answered to a revoked VR, %d new links", answered, h.linkUps(h.a)-ups)
		}
		if !w.Reaches(h.b, h.hb1, h.a, h.ha1, time.Second) {
			t.Error("no honest traffic any more")
		}
	})
}
