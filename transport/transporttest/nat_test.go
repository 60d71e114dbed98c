package transporttest

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/transport/underlay"
)

// tryRead lets everything under way arrive and returns what a socket has got.
func tryRead(t testing.TB, s underlay.Socket) []underlay.Datagram {
	t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	dgs := buffers(underlay.BatchMax, 2048)
	n, err := s.(*socket).take(dgs)
	if err != nil {
		t.Fatal(err)
	}
	return dgs[:n]
}

// sends reports whether a packet from one socket reaches another by way of an address, and the
// source the receiver sees.
func sends(t testing.TB, from underlay.Socket, to netip.AddrPort, at underlay.Socket) (netip.AddrPort, bool) {
	t.Helper()
	writeAll(t, from, datagram(to, "x"))
	got := tryRead(t, at)
	if len(got) == 0 {
		return netip.AddrPort{}, false
	}
	return got[0].Addr, true
}

var behaviors = []Behavior{EndpointIndependent, AddressDependent, AddressAndPortDependent}

// TestNATMatrix checks the words of RFC 4787, Sections 4.1 and 5, for every pair of behaviors: an internal
// endpoint X:x sends to Y1:y1, and then to Y1:y2 and Y2:y1.
func TestNATMatrix(t *testing.T) {
	for _, m := range behaviors {
		for _, f := range behaviors {
			t.Run(fmt.Sprintf("%v mapping, %v filtering", m, f), func(t *testing.T) {
				bubble(t, 5, func(t *testing.T, in *Internet) {
					nat := in.NAT("nat", addr("203.0.113.1"), NATKind{Mapping: m, Filtering: f})
					x := listen(t, nat.Host("x", addr("10.0.0.2")), 5000)
					h1, h2 := in.Host("y1", addr("192.0.2.1")), in.Host("y2", addr("192.0.2.2"))
					y1y1, y1y2, y2y1 := listen(t, h1, 1), listen(t, h1, 2), listen(t, h2, 1)

					mapped, ok := sends(t, x, y1y1.LocalAddr(), y1y1)
					if !ok || mapped.Addr() != addr("203.0.113.1") {
						t.Fatalf("Y1:y1 sees %v, %v", mapped, ok)
					}
					// Filtering: who may answer, after one packet to Y1:y1.
					for _, tt := range []struct {
						name string
						from underlay.Socket
						want bool
					}{
						{"Y1:y1", y1y1, true},
						{"Y1:y2", y1y2, f != AddressAndPortDependent},
						{"Y2:y1", y2y1, f == EndpointIndependent},
					} {
						if src, ok := sends(t, tt.from, mapped, x); ok != tt.want || ok && src != tt.from.LocalAddr() {
							t.Errorf("from %s let in: %v from %v, want %v", tt.name, ok, src, tt.want)
						}
					}
					// Mapping: what the others see.
					for _, tt := range []struct {
						name string
						to   underlay.Socket
						same bool
					}{
						{"Y1:y1", y1y1, true},
						{"Y1:y2", y1y2, m != AddressAndPortDependent},
						{"Y2:y1", y2y1, m == EndpointIndependent},
					} {
						seen, ok := sends(t, x, tt.to.LocalAddr(), tt.to)
						if !ok || (seen == mapped) != tt.same {
							t.Errorf("%s sees %v, %v; Y1:y1 saw %v; want the same: %v", tt.name, seen, ok, mapped, tt.same)
						}
						if src, ok := sends(t, tt.to, seen, x); !ok || src != tt.to.LocalAddr() {
							t.Errorf("the answer of %s: %v from %v", tt.name, ok, src)
						}
					}
				})
			})
		}
	}
}

// TestHolePunching has both sides send to the endpoint that a third host saw of the other, twice. It
// works unless both map by port, or one does and the other filters by port.
func TestHolePunching(t *testing.T) {
	kinds := map[string]NATKind{"full": FullCone, "restricted": RestrictedCone, "port-restricted": PortRestrictedCone, "symmetric": Symmetric}
	fails := map[[2]string]bool{
		{"symmetric", "symmetric"}: true, {"symmetric", "port-restricted"}: true, {"port-restricted", "symmetric"}: true,
	}
	for na, ka := range kinds {
		for nb, kb := range kinds {
			t.Run(na+" and "+nb, func(t *testing.T) {
				bubble(t, 9, func(t *testing.T, in *Internet) {
					a := listen(t, in.NAT("na", addr("203.0.113.1"), ka).Host("a", addr("10.0.0.2")), 5000)
					b := listen(t, in.NAT("nb", addr("203.0.113.2"), kb).Host("b", addr("10.0.0.2")), 5000)
					third := listen(t, in.Host("third", addr("192.0.2.1")), 1)
					mappedA, _ := sends(t, a, third.LocalAddr(), third)
					mappedB, _ := sends(t, b, third.LocalAddr(), third)
					toB, toA := mappedB, mappedA
					heardA, heardB := false, false
					for range 3 {
						writeAll(t, a, datagram(toB, "x"))
						writeAll(t, b, datagram(toA, "x"))
						for _, d := range tryRead(t, a) {
							heardA, toB = true, d.Addr // answer to where it came from
						}
						for _, d := range tryRead(t, b) {
							heardB, toA = true, d.Addr
						}
					}
					if got, want := heardA && heardB, !fails[[2]string{na, nb}]; got != want {
						t.Errorf("a heard: %v, b heard: %v; want both: %v", heardA, heardB, want)
					}
				})
			})
		}
	}
}

func TestNATTimeout(t *testing.T) {
	for _, inbound := range []bool{false, true} {
		bubble(t, 1, func(t *testing.T, in *Internet) {
			nat := in.NAT("nat", addr("203.0.113.1"), NATKind{Timeout: time.Minute, RefreshInbound: inbound, PreservePort: true})
			x, y := listen(t, nat.Host("x", addr("10.0.0.2")), 5000), listen(t, in.Host("y", addr("192.0.2.1")), 1)
			mapped, _ := sends(t, x, y.LocalAddr(), y)
			time.Sleep(50 * time.Second)
			if _, ok := sends(t, y, mapped, x); !ok {
				t.Error("the mapping ended before its time")
			}
			time.Sleep(20 * time.Second) // 72 s after the last packet from inside, 21 s after the one from outside
			if _, ok := sends(t, y, mapped, x); ok != inbound {
				t.Errorf("inbound refresh %v: the mapping is alive: %v", inbound, ok)
			}
			// "The NAT UDP mapping timer ... NAT Outbound refresh behavior of 'True'." REQ-6
			for range 5 {
				sends(t, x, y.LocalAddr(), y)
				time.Sleep(40 * time.Second)
			}
			if _, ok := sends(t, y, mapped, x); !ok {
				t.Error("packets from inside do not keep the mapping alive")
			}
			nat.Reset()
			if _, ok := sends(t, y, mapped, x); ok || nat.Mappings() != 0 {
				t.Error("the mapping outlived a reset")
			}
		})
	}
}

func TestHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		bubble(t, 1, func(t *testing.T, in *Internet) {
			nat := in.NAT("nat", addr("203.0.113.1"), NATKind{Hairpin: hairpin})
			a, b := nat.Host("a", addr("10.0.0.2")), nat.Host("b", addr("10.0.0.3"))
			sa, sb := listen(t, a, 5000), listen(t, b, 5000)
			y := listen(t, in.Host("y", addr("192.0.2.1")), 1)
			mappedA, _ := sends(t, sa, y.LocalAddr(), y)
			mappedB, _ := sends(t, sb, y.LocalAddr(), y)
			src, ok := sends(t, sa, mappedB, sb)
			if ok != hairpin || ok && src != mappedA {
				t.Errorf("hairpin %v: arrived %v from %v, want from %v", hairpin, ok, src, mappedA)
			}
			if !hairpin && a.Counters().Dropped[DropHairpin] != 1 {
				t.Errorf("%+v", a.Counters())
			}
			// Neighbours always reach each other by their private addresses.
			if src, ok := sends(t, sa, sb.LocalAddr(), sb); !ok || src != sa.LocalAddr() {
				t.Errorf("neighbour: %v from %v", ok, src)
			}
		})
	}
}

func TestPortPreservation(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		nat := in.NAT("nat", addr("203.0.113.1"), NATKind{PreservePort: true})
		a, b := listen(t, nat.Host("a", addr("10.0.0.2")), 5000), listen(t, nat.Host("b", addr("10.0.0.3")), 5000)
		y := listen(t, in.Host("y", addr("192.0.2.1")), 1)
		first, _ := sends(t, a, y.LocalAddr(), y)
		second, ok := sends(t, b, y.LocalAddr(), y)
		if first.Port() != 5000 || !ok || second.Port() == 5000 || second.Port() < natPortMin {
			t.Errorf("mapped to %v and %v", first, second)
		}
	})
}

func TestForward(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		nat := in.NAT("nat", addr("203.0.113.1"), Symmetric)
		h := nat.Host("x", addr("10.0.0.2"))
		x, y := listen(t, h, 5000), listen(t, in.Host("y", addr("192.0.2.1")), 1)
		public := endpoint("203.0.113.1:8463")
		nat.Forward(8463, h, 5000)
		if _, ok := sends(t, y, public, x); !ok {
			t.Error("a forwarded port does not let in")
		}
		if src, ok := sends(t, x, y.LocalAddr(), y); !ok || src != public {
			t.Errorf("the answer comes from %v, want %v", src, public)
		}
		nat.SetPublic(addr("203.0.113.9"))
		if src, ok := sends(t, x, y.LocalAddr(), y); !ok || src.Addr() != addr("203.0.113.9") {
			t.Errorf("with another address the answer comes from %v", src)
		}
	})
}

// TestCarrierNAT has two boxes one behind the other, and IPv6 through both.
func TestCarrierNAT(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		carrier := in.NAT("carrier", addr("203.0.113.1"), PortRestrictedCone)
		home := carrier.NAT("home", addr("100.64.0.2"), PortRestrictedCone)
		x := listen(t, home.Host("x", addr("192.168.1.2"), addr("2001:db8:1::2")), 5000)
		y := listen(t, in.Host("y", addr("192.0.2.1"), addr("2001:db8:2::1")), 1)
		six, other := endpoint("[2001:db8:2::1]:1"), endpoint("[2001:db8:1::2]:5000")
		mapped, ok := sends(t, x, y.LocalAddr(), y)
		if !ok || mapped.Addr() != addr("203.0.113.1") {
			t.Errorf("seen as %v, %v", mapped, ok)
		}
		if src, ok := sends(t, y, mapped, x); !ok || src != y.LocalAddr() {
			t.Errorf("answer: %v from %v", ok, src)
		}
		if _, ok := sends(t, y, other, x); ok {
			t.Error("IPv6 from outside was let in unasked")
		}
		if src, ok := sends(t, x, six, y); !ok || src != other {
			t.Errorf("IPv6 seen as %v, %v", src, ok)
		}
		if _, ok := sends(t, y, other, x); !ok {
			t.Error("the IPv6 answer was not let in")
		}
	})
}

func TestFirewall(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a, b, sa, sb := twoHosts(t, in)
		a.SetFirewall(Firewall{BlockInbound: true, Open: []uint16{1001}, Timeout: time.Minute})
		open, other := listen(t, a, 1001), listen(t, b, 2001)
		want := func(what string, from, to underlay.Socket, want bool) {
			t.Helper()
			if _, got := sends(t, from, to.LocalAddr(), to); got != want {
				t.Errorf("%s passes: %v, want %v", what, got, want)
			}
		}
		want("unasked", sb, sa, false)
		want("to an open port", sb, open, true)
		want("outbound", sa, sb, true)
		want("an answer", sb, sa, true)
		want("an answer from another port", other, sa, false)
		time.Sleep(time.Minute)
		want("a late answer", sb, sa, false)
		a.SetFirewall(Firewall{BlockUDP: true})
		want("outbound with UDP blocked", sa, sb, false)
		want("inbound with UDP blocked", sb, open, false)
		a.SetFirewall(Firewall{})
		want("anything without a firewall", sb, sa, true)
		if got := b.Counters().Dropped[DropFirewall]; got != 4 {
			t.Errorf("the other host lost %d packets to the firewall, want 4", got)
		}
	})
}

// TestNATTableIsBounded has one host open more flows than a table may hold.
func TestNATTableIsBounded(t *testing.T) {
	in := New(1)
	table := newNATTable(addr("203.0.113.1"), Symmetric, in.random(&node{}))
	inner := endpoint("10.0.0.2:1")
	drops := 0
	for i := range mappingsMax + 100 {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), uint16(i>>16)+1)
		if _, drop := table.out(0, inner, to); drop == DropNATFull {
			drops++
		}
	}
	if len(table.byOuter) != mappingsMax || drops != 100 {
		t.Errorf("%d mappings and %d refused, want %d and 100", len(table.byOuter), drops, mappingsMax)
	}
	if _, drop := table.out(natTimeoutDefault, inner, endpoint("192.0.2.9:9")); drop != 0 {
		t.Errorf("full after all mappings expired: %v", drop)
	}
}
