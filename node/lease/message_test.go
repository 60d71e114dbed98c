package lease

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

func signer(seed byte) (ed25519.PrivateKey, func([]byte) []byte) {
	k := ed25519.NewKeyFromSeed(append(make([]byte, 31), seed))
	return k, func(m []byte) []byte { return ed25519.Sign(k, m) }
}

// TestMessage: what was said is what is heard, padded or not, and nothing else is: not of another group or router, not signed by
// another VR of the set or for another purpose, not with a bit changed, not cut short.
func TestMessage(t *testing.T) {
	k, sign := signer(1)
	_, other := signer(2)
	group := GroupOf(tables.Hash{7}, []netip.Addr{netip.MustParseAddr("192.168.1.254"), netip.MustParseAddr("fd00::fe")})
	key := func(id tables.RouterID) (tables.PublicKey, bool) { return tables.PublicOf(k), id == 3 }
	m := Message{Group: group, Router: 3, Epoch: 1<<40 | 5, Count: 77, Holds: true, Leaves: true, Hears: []Peer{{4, 9}, {5, 1 << 60}}}
	b := m.Append(nil, sign)
	if got, err := Parse(append(b, 0, 0, 0), group, key); err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("%+v, %v", got, err)
	}
	refused := func(what string, b []byte, g Group) {
		t.Helper()
		if got, err := Parse(b, g, key); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for i := range b {
		refused("cut short", b[:i], group)
		for bit := range 8 {
			c := append([]byte(nil), b...)
			c[i] ^= 1 << bit
			refused("with a bit changed", c, group)
		}
	}
	refused("for another group", b, GroupOf(tables.Hash{7}, nil))
	refused("by another VR", m.Append(nil, other), group)
	refused("for another purpose", m.Append(nil, func(b []byte) []byte { return sign(b[len(domain):]) }), group)
	stranger := m
	stranger.Router = 4
	refused("of a router that is not of the set", stranger.Append(nil, sign), group)
	if GroupOf(tables.Hash{7}, []netip.Addr{netip.MustParseAddr("fd00::fe"), netip.MustParseAddr("192.168.1.254")}) != group {
		t.Error("the order of addresses counts")
	}
}

func FuzzParse(f *testing.F) {
	k, sign := signer(1)
	f.Add(Message{Router: 3, Hears: []Peer{{1, 2}}}.Append(nil, sign))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b, Group{}, func(tables.RouterID) (tables.PublicKey, bool) { return tables.PublicOf(k), true })
		if err == nil && len(m.Hears) > PeersMax {
			t.Error("too many peers")
		}
	})
}

var (
	here  = MAC{2, 0, 0, 0, 0, 1}
	there = MAC{2, 0, 0, 0, 0, 2}
)

// What is written is read back. That kernels take it TestSharedGateway in tests/netns shows.
func TestFrames(t *testing.T) {
	four, six := netip.MustParseAddr("192.168.1.254"), netip.MustParseAddr("fd00::fe")
	host4, host6 := netip.MustParseAddr("192.168.1.11"), netip.MustParseAddr("fe80::11")
	for _, addr := range []netip.Addr{four, six} {
		b := AppendAnnouncement(nil, here, addr)
		if got := ParseFrame(b); got != (Claim{addr, here}) {
			t.Errorf("announcement %v: %v", addr, got)
		}
		if MAC(b[:6])[0]&1 == 0 || MAC(b[6:12]) != here || len(b) < frameMin {
			t.Errorf("announcement %v: %x", addr, b)
		}
	}
	for _, a := range []Ask{{four, host4, there}, {four, netip.IPv4Unspecified(), there}, {six, host6, there}} {
		b := AppendAnswer(nil, here, a)
		if got := ParseFrame(b); got != (Claim{a.Addr, here}) || MAC(b[:6]) != there {
			t.Errorf("answer %v: %v, %x", a, got, b)
		}
	}
	if b := AppendAnswer(nil, here, Ask{six, netip.IPv6Unspecified(), there}); MAC(b[:6]) != (MAC{0x33, 0x33, 0, 0, 0, 1}) {
		t.Errorf("an answer to nobody in particular: %x", b)
	}
	request := AppendAsk(nil, there, host4, four)
	if got := ParseFrame(request); got != (Ask{four, host4, there}) {
		t.Errorf("ARP request: %v", got)
	}
	solicitation := appendAdvertisement(ether(nil, multicastMAC(SolicitedNode(six)), there, etherIPv6), 0, there, six, SolicitedNode(six))
	nd := solicitation[etherLen+ipv6Len:]
	copy(solicitation[etherLen+8:], host6.AsSlice())
	nd[0], nd[ndLen] = solicit, optSource
	binary.BigEndian.PutUint16(nd[2:], 0)
	binary.BigEndian.PutUint16(nd[2:], checksumND(solicitation[etherLen+8:etherLen+40], nd))
	if got := ParseFrame(solicitation); got != (Ask{six, host6, there}) {
		t.Errorf("neighbour solicitation: %v", got)
	}
	forwarded := append([]byte(nil), solicitation...)
	forwarded[etherLen+7] = 254
	if got := ParseFrame(forwarded); got != nil {
		t.Errorf("a solicitation that a router passed on: %v", got)
	}
	if got, ok := ParseFrame(AppendBeat(nil, here, []byte("hello"))).(Beat); !ok || got.MAC != here || string(got.Message[:5]) != "hello" {
		t.Errorf("beat: %v", got)
	}
	if got := SolicitedNode(netip.MustParseAddr("fd00::1:2:3")); got != netip.MustParseAddr("ff02::1:ff02:3") {
		t.Errorf("solicited node %v", got)
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(AppendAnnouncement(nil, here, netip.MustParseAddr("fd00::fe")))
	f.Add(AppendAnnouncement(nil, here, netip.MustParseAddr("192.168.1.254")))
	f.Fuzz(func(_ *testing.T, b []byte) { ParseFrame(b) })
}
