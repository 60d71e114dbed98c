package node_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
)

// forgedInit returns a first message with a good MAC1 to the owner of a link key, from nobody.
func forgedInit(t *testing.T, key tables.LinkKey) []byte {
	t.Helper()
	config := secure.Config{Static: secure.NewStaticKey([32]byte{66}), Rand: &counted{}}
	i, err := secure.NewInitiator(&config, key, 16, secure.Order{Boot: 1, Counter: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := i.Datagram()
	secure.NewCookieClient(key).Stamp(time.Now(), b)
	return b
}

// TestInitFlood: first messages with a good MAC1 from 10,000 forged addresses come at a VR a
// thousand times as fast as it can handle them (each costs it 50 ms here). The link that it has
// stays up and carries its traffic, and an enrolled router still makes a new one, by a cookie; without
// cookies it does not.
func TestInitFlood(t *testing.T) {
	const cost = 50 * time.Millisecond
	for _, off := range []bool{false, true} {
		t.Run(map[bool]string{false: "cookies", true: "no cookies"}[off], func(t *testing.T) {
			inWorld(t, 91, func(t *testing.T, w *nodetest.World) {
				a := w.Found("a")
				c := w.Join("c", a)
				w.Prepare = func(n *node.Node) {
					n.DearHandshakes(cost)
					if off {
						n.NoCookies()
					}
				}
				b := w.Join("b", a)
				ha, hb := a.NewHost(), b.NewHost()
				createVN(w, "physics", ha, hb)
				w.Eventually("the same documents everywhere", time.Minute, func() bool { return nodetest.Same(a, b, c) })
				c.Stop()
				flow := w.NewFlow(a, ha, b, hb)
				w.Run(10*time.Second, 100*time.Millisecond, flow)
				peer := newImpostor(t, c)
				defer peer.close()
				peer.deaf.Store(true)
				record, ok := peer.store.LinkRecord(b.Joined.Router)
				conn := b.Node.LinkWith(background, a.Joined.Router)
				if !ok || conn == 0 {
					t.Fatal("no record or no link: the test shows nothing")
				}

				var cookies atomic.Int64
				w.Net.OnSend(func(_ time.Time, from, to netip.AddrPort, p []byte) {
					if from == b.Endpoint() && to == c.Endpoint() && frame.TypeOf(p) == frame.TypeCookie {
						cookies.Add(1)
					}
				})
				forged := forgedInit(t, record.Link)
				stranger := w.Net.Host("stranger", netip.MustParseAddr("198.18.0.1"))
				start, sent := time.Now(), 0
				flood := func(d time.Duration) {
					for range d / (10 * time.Millisecond) {
						for range 200 {
							i := sent % 10_000
							from := netip.AddrFrom4([4]byte{60 + byte(i>>8), byte(i), 7, 1})
							stranger.SendFrom(netip.AddrPortFrom(from, 1), b.Endpoint(), forged)
							sent++
						}
						w.Run(10*time.Millisecond, 10*time.Millisecond, flow)
					}
				}
				flood(time.Second)
				if peer.linkUps(b) > 0 {
					t.Fatal("a link without a dial: the test shows nothing")
				}
				peer.dial(b)
				flood(4 * time.Second)
				up := peer.linkUps(b) > 0
				w.Settle(time.Second)
				if !off && (!up || cookies.Load() == 0) {
					t.Errorf("link %v by %d cookies", up, cookies.Load())
				}
				if off && up {
					t.Error("a link without cookies: the test shows nothing")
				}
				if now := b.Node.LinkWith(background, a.Joined.Router); now != conn {
					t.Errorf("connection %v became %v", conn, now)
				}
				t.Logf("%d cookies, %v", cookies.Load(), b.Status().Packets.Drops)
				if n := flow.Lost(start); n > 0 {
					t.Errorf("%d of %d packets lost", n, flow.Sent())
				}
				if got := w.Net.Counters().Dropped; got[6] > 0 { // DropReceiveBuffer
					t.Errorf("%d datagrams did not reach the VR", got[6])
				}
			})
		})
	}
}
