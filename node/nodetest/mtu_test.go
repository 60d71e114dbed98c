package nodetest_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// narrow is one path MTU.
type narrow struct {
	mtu   int
	inner int // largest packet that goes whole
}

var narrows = []narrow{{1500, 1440}, {1280, 1220}, {1124, 1064}}

// inNarrow runs f with two sites and a host of each family at both, all in one VN.
func inNarrow(t *testing.T, p narrow, f func(t *testing.T, w *nodetest.World, a, b *nodetest.Site, four, six *nodetest.Flow)) {
	t.Helper()
	inWorld(t, 50, func(t *testing.T, w *nodetest.World) {
		w.Net.SetDefaultPath(transporttest.Path{Latency: 10 * time.Millisecond, MTU: p.mtu})
		w.PathMTU = p.mtu
		a := w.Found("alpha")
		b := w.Join("beta", a)
		a4, a6, b4, b6 := a.NewHost(), a.NewHost6(), b.NewHost(), b.NewHost6()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{a4, a6, b4, b6}})
		if !w.Reaches(a, a4, b, b4, 5*time.Second) || !w.Reaches(a, a6, b, b6, 5*time.Second) {
			t.Fatal("small packets do not pass")
		}
		var longest atomic.Int64
		w.Net.OnSend(func(_ time.Time, _, _ netip.AddrPort, b []byte) {
			if n := int64(len(b) + 28); frame.TypeOf(b) == frame.TypeData && n > longest.Load() {
				longest.Store(n)
			}
		})
		f(t, w, a, b, w.NewFlow(a, a4, b, b4), w.NewFlow(a, a6, b, b6))
		if n := longest.Load(); n > int64(p.mtu) {
			t.Errorf("data went in an IP packet of %d bytes on a path of %d", n, p.mtu)
		}
		if dropped := w.Net.Counters().Dropped[transporttest.DropTooBig]; dropped > 0 {
			t.Errorf("%d packets were too big for the underlay", dropped)
		}
	})
}

// TestEveryPacketOf1280: 1 MiB of packets of every size up to 1,280 bytes arrives whole,
// whatever the path.
func TestEveryPacketOf1280(t *testing.T) {
	for _, p := range narrows {
		t.Run(fmt.Sprint(p.mtu), func(t *testing.T) {
			inNarrow(t, p, func(t *testing.T, w *nodetest.World, a, b *nodetest.Site, four, six *nodetest.Flow) {
				total, start := 0, time.Now()
				rng := rand.New(rand.NewPCG(1, 1))
				for total < 1<<20 {
					four.Size, six.Size = 20+rng.IntN(1280-28-20+1), 20+rng.IntN(1280-48-20+1)
					if rng.IntN(4) == 0 {
						four.Size, six.Size = 1280-28, 1280-48
					}
					total += four.Size + six.Size
					w.Run(time.Millisecond, time.Millisecond, four, six)
				}
				w.Settle(time.Second)
				if n := four.Lost(start) + six.Lost(start); n > 0 || len(w.Strays) > 0 {
					t.Errorf("%d of %d packets lost, %d changed", n, four.Sent()+six.Sent(), len(w.Strays))
				}
			})
		})
	}
}

// plain4 returns an IPv4 packet of length bytes with UDP and random content.
func plain4(src, dst netip.Addr, length int, df bool, id uint16) []byte {
	payload := make([]byte, length-28)
	for i := range payload {
		payload[i] = byte(i*7) ^ byte(i>>8) ^ byte(id)
	}
	b := capturetest.AppendUDP(nil, netip.AddrPortFrom(src, 7), netip.AddrPortFrom(dst, 9), payload)
	binary.BigEndian.PutUint16(b[4:], id)
	if !df {
		b[6] = 0
	}
	return seal4(b)
}

// seal4 computes the checksum of an IPv4 header without options (RFC 1071).
func seal4(b []byte) []byte {
	b[10], b[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return b
}

// TestTooBig: above 1,280 bytes an IPv4 packet that may be fragmented is; any other is answered
// with ICMP that names the largest size that goes whole, and never less than 1,280 to IPv6.
func TestTooBig(t *testing.T) {
	for _, p := range narrows[1:] {
		t.Run(fmt.Sprint(p.mtu), func(t *testing.T) {
			inNarrow(t, p, func(t *testing.T, w *nodetest.World, a, b *nodetest.Site, four, six *nodetest.Flow) {
				// 1 MiB that may be fragmented.
				want := map[uint16][]byte{}
				for id := uint16(1); len(want)*1400 < 1<<20; id++ {
					pkt := plain4(four.Src, four.Dst, 1400, false, id)
					want[id] = append([]byte(nil), pkt[20:]...)
					a.Devices[0].Send(pkt)
					w.Settle(time.Millisecond)
				}
				w.Settle(time.Second)
				got, have := map[uint16][]byte{}, map[uint16]int{}
				for _, s := range w.Strays {
					if s.Site != b || len(s.Bytes) > p.inner {
						t.Fatalf("a packet of %d bytes at %s", len(s.Bytes), s.Site.Name)
					}
					id := binary.BigEndian.Uint16(s.Bytes[4:])
					if got[id] == nil {
						got[id] = make([]byte, 1380)
					}
					have[id] += copy(got[id][int(binary.BigEndian.Uint16(s.Bytes[6:])&0x1fff)*8:], s.Bytes[20:])
				}
				for id, payload := range want {
					if have[id] != len(payload) || !bytes.Equal(got[id], payload) {
						t.Fatalf("packet %d: %d bytes of %d, or wrong ones", id, have[id], len(payload))
					}
				}

				// What must not be fragmented.
				w.Strays = nil
				a.Devices[0].Send(plain4(four.Src, four.Dst, 1400, true, 9))
				w.Settle(100 * time.Millisecond)
				if len(w.Strays) != 1 || w.Strays[0].Site != a {
					t.Fatalf("%d answers", len(w.Strays))
				}
				answer := w.Strays[0].Bytes
				if answer[20] != 3 || answer[21] != 4 || int(binary.BigEndian.Uint16(answer[26:])) != p.inner || w.Strays[0].Bytes[9] != 1 {
					t.Errorf("answer % x, want ICMP 3/4 with MTU %d", answer[:28], p.inner)
				}
				w.Strays = nil
				pkt := capturetest.AppendUDP(nil, netip.AddrPortFrom(six.Src, 7), netip.AddrPortFrom(six.Dst, 9), make([]byte, 1400-48))
				a.Devices[0].Send(pkt)
				w.Settle(100 * time.Millisecond)
				if len(w.Strays) != 1 || w.Strays[0].Site != a {
					t.Fatalf("%d answers", len(w.Strays))
				}
				answer = w.Strays[0].Bytes
				if answer[6] != 58 || answer[40] != 2 || binary.BigEndian.Uint32(answer[44:]) != 1280 {
					t.Errorf("answer % x, want ICMPv6 2 with MTU 1280", answer[:48])
				}
			})
		})
	}
}

// syn returns a TCP SYN with the MSS option.
func syn(src, dst netip.Addr, mss uint16) []byte {
	b := []byte{0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0}
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	tcp := []byte{0, 80, 0, 90, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, byte(mss >> 8), byte(mss)}
	b = seal4(append(b, tcp...))
	binary.BigEndian.PutUint16(b[36:], ^tcpSum(b))
	return b
}

// tcpSum is the ones' complement sum over the pseudo header and the segment (RFC 9293, Section 3.1).
func tcpSum(b []byte) uint16 {
	sum := uint32(6 + len(b) - 20)
	for i := 12; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// TestMSS: a SYN through a narrow path asks for segments that go whole, and for no larger ones
// than its sender did.
func TestMSS(t *testing.T) {
	for _, p := range narrows {
		inNarrow(t, p, func(t *testing.T, w *nodetest.World, a, b *nodetest.Site, four, _ *nodetest.Flow) {
			for _, mss := range []uint16{1460, 500} {
				w.Strays = nil
				a.Devices[0].Send(syn(four.Src, four.Dst, mss))
				w.Settle(100 * time.Millisecond)
				if len(w.Strays) != 1 || w.Strays[0].Site != b {
					t.Fatalf("%d packets", len(w.Strays))
				}
				got := w.Strays[0].Bytes
				if n, want := binary.BigEndian.Uint16(got[42:]), min(mss, uint16(p.inner-40)); n != want {
					t.Errorf("MTU %d: MSS %d became %d, want %d", p.mtu, mss, n, want)
				}
				if tcpSum(got) != 0xffff {
					t.Error("the TCP checksum is wrong")
				}
			}
		})
	}
}

// TestPathMTUIsFound: VRs that are told nothing of an underlay narrower than usual find out what it carries. 1 MiB of packets of
// every size arrives whole from then on; and when it becomes narrower still under traffic, that is noticed within three
// seconds.
func TestPathMTUIsFound(t *testing.T) {
	for _, mtu := range []int{1124, 1280, 1400} {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			inWorld(t, 51, func(t *testing.T, w *nodetest.World) {
				w.Net.SetDefaultPath(transporttest.Path{Latency: 10 * time.Millisecond, MTU: mtu})
				a := w.Found("alpha")
				b := w.Join("beta", a)
				a4, a6, b4, b6 := a.NewHost(), a.NewHost6(), b.NewHost(), b.NewHost6()
				w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{a4, a6, b4, b6}})
				if !w.Reaches(a, a4, b, b4, 5*time.Second) {
					t.Fatal("small packets do not pass")
				}
				four, six := w.NewFlow(a, a4, b, b4), w.NewFlow(a, a6, b, b6)
				full := func() {
					four.Size, six.Size = 1280-28, 1280-48
					w.Run(10*time.Millisecond, 10*time.Millisecond, four, six)
				}
				for range 500 {
					full()
				}
				start := time.Now()
				for total := 0; total < 1<<20; total += four.Size + six.Size {
					full()
				}
				w.Settle(time.Second)
				if n := four.Lost(start) + six.Lost(start); n > 0 {
					t.Errorf("%d packets of 1,280 bytes are lost", n)
				}
				if mtu < 1400 {
					return
				}
				w.Net.SetDefaultPath(transporttest.Path{Latency: 10 * time.Millisecond, MTU: 1280})
				narrows := time.Now()
				for time.Since(narrows) < 10*time.Second {
					full()
				}
				w.Settle(time.Second)
				if lost, sent := four.LostBetween(narrows.Add(3*time.Second), narrows.Add(9*time.Second)); lost > 0 {
					t.Errorf("%d of %d are lost from 3 s on", lost, sent)
				}
				if lost, _ := four.LostBetween(narrows, narrows.Add(time.Second)); lost == 0 {
					t.Error("nothing is lost when the path narrows: the test shows nothing")
				}
			})
		})
	}
}

// TestRelayedMTU: two limited VRs link through a queue-VR where every underlay carries 1,124 bytes, told or not, and packets of 1,280
// bytes pass whole.
func TestRelayedMTU(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("told %v", told), func(t *testing.T) {
			inWorld(t, 52, func(t *testing.T, w *nodetest.World) {
				w.Net.SetDefaultPath(transporttest.Path{Latency: 10 * time.Millisecond, MTU: 1124})
				if told {
					w.PathMTU = 1124
				}
				var inits atomic.Int64
				w.Net.OnSend(func(_ time.Time, _, _ netip.AddrPort, b []byte) {
					if _, payload, err := frame.ParseRelay(b); err == nil && frame.TypeOf(payload) == frame.TypeInit {
						inits.Add(1)
					}
				})
				a := w.Found("alpha")
				w.Join("beta", a)
				c, d := w.Behind("c", transporttest.Symmetric).JoinAs(a), w.Behind("d", transporttest.Symmetric).JoinAs(a)
				hc, hd := c.NewHost(), d.NewHost()
				w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{hc, hd}})
				if !w.Reaches(c, hc, d, hd, 30*time.Second) {
					t.Fatal("small packets do not pass")
				}
				f := w.NewFlow(c, hc, d, hd)
				f.Size = 1280 - 28
				w.Run(20*time.Second, 10*time.Millisecond, f)
				start := time.Now()
				w.Run(10*time.Second, 10*time.Millisecond, f)
				w.Settle(time.Second)
				if n := f.Lost(start); n > 0 {
					t.Errorf("%d packets of 1,280 bytes are lost", n)
				}
				if inits.Load() == 0 {
					t.Error("no handshake went through a queue-VR: the test shows nothing")
				}
				if n := w.Net.Counters().Dropped[transporttest.DropTooBig]; told && n > 0 {
					t.Errorf("%d packets were too big for the underlay", n)
				}
			})
		})
	}
}
