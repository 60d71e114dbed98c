package forward

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// A VN that was merged carries what its members send each other, until it is closed; the other one carries the rest.
func TestClosing(t *testing.T) {
	a, b, c := netip.MustParseAddr("10.192.1.1"), netip.MustParseAddr("10.192.2.1"), netip.MustParseAddr("10.192.3.1")
	set := func(id tables.RouterID, p string) Set {
		return Set{Routers: []tables.RouterID{id}, Prefixes: []netip.Prefix{netip.MustParsePrefix(p)}}
	}
	one, two, three := set(1, "10.192.1.0/24"), set(2, "10.192.2.0/24"), set(3, "10.192.3.0/24")
	merged := VNInput{ID: 5, Seal: tables.SealEncrypt, Sets: []Set{one, two, three}, Members: []netip.Addr{a, b, c}, Local: []LocalHost{{Addr: a}}}
	old := VNInput{ID: 7, Seal: tables.SealEncrypt, Sets: []Set{one, two}, Members: []netip.Addr{a, b}, Local: []LocalHost{{Addr: a}}, Closing: true}
	input := Input{Self: 1, Space: []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10")}, VNs: []VNInput{merged, old}}
	decide := func(dst netip.Addr) tables.VNID {
		t.Helper()
		s, err := NewSnapshot(input)
		if err != nil {
			t.Fatal(err)
		}
		d := Decide(s, 0, udp(a.String(), dst.String(), 100))
		if d.Drop != DropNone {
			t.Fatalf("to %v: dropped, %v", dst, d.Drop)
		}
		for from, src := range map[tables.RouterID]netip.Addr{2: b} {
			if _, drop := Arrived(s, from, d.VN, udp(src.String(), a.String(), 100)); drop != DropNone {
				t.Errorf("in %v from vr%d: %v", d.VN, from, drop)
			}
		}
		return d.VN
	}
	if vn := decide(b); vn != 7 {
		t.Errorf("between members of the old VN: %v", vn)
	}
	if vn := decide(c); vn != 5 {
		t.Errorf("to a member of the other VN: %v", vn)
	}
	// An address that nobody is known to have goes where it stays.
	if vn := decide(b.Next()); vn != 5 {
		t.Errorf("to an address that nobody has: %v", vn)
	}
	input.VNs = input.VNs[:1]
	if vn := decide(b); vn != 5 {
		t.Errorf("when the old VN is closed: %v", vn)
	}
}
