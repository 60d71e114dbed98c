package policy

import (
	"crypto/ed25519"
	"net/netip"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
)

func TestLowestFree(t *testing.T) {
	p := netip.MustParsePrefix
	for _, c := range []struct {
		name        string
		space, used []netip.Prefix
		bits        int
		want        string // empty: none
	}{
		{"first", []netip.Prefix{p("10.192.0.0/10")}, nil, 24, "10.192.0.0/24"},
		{"gap", []netip.Prefix{p("10.192.0.0/10")}, []netip.Prefix{p("10.192.2.0/24"), p("10.192.0.0/24")}, 24, "10.192.1.0/24"},
		{"after a host", []netip.Prefix{p("10.192.0.0/10")}, []netip.Prefix{p("10.192.0.9/32")}, 24, "10.192.1.0/24"},
		{"after a wide one and what is in it", []netip.Prefix{p("10.192.0.0/10")}, []netip.Prefix{p("10.192.0.0/16"), p("10.192.7.0/24"), p("10.193.0.0/24")}, 24, "10.193.1.0/24"},
		{"second part", []netip.Prefix{p("10.0.0.0/24"), p("10.2.0.0/23")}, []netip.Prefix{p("10.0.0.0/24"), p("10.2.0.0/24")}, 24, "10.2.1.0/24"},
		{"too narrow a part", []netip.Prefix{p("10.0.0.0/25"), p("10.2.0.0/24")}, nil, 24, "10.2.0.0/24"},
		{"full", []netip.Prefix{p("10.0.0.0/23")}, []netip.Prefix{p("10.0.0.0/24"), p("10.0.1.0/25")}, 24, ""},
		{"the last addresses there are", []netip.Prefix{p("255.255.254.0/23")}, []netip.Prefix{p("255.255.254.0/24"), p("255.255.255.0/24")}, 24, ""},
		{"IPv6", []netip.Prefix{p("fd00::/48")}, []netip.Prefix{p("fd00::/64"), p("10.0.0.0/8")}, 64, "fd00:0:0:1::/64"},
		{"all of IPv6", []netip.Prefix{p("ffff:ffff:ffff:ffff::/64")}, []netip.Prefix{p("::/0")}, 64, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := lowestFree(c.space, c.used, c.bits)
			if ok != (c.want != "") || ok && got != p(c.want) {
				t.Errorf("%v %v, want %q", got, ok, c.want)
			}
		})
	}
}

// The one pass of lowestFree finds what trying every block finds.
func TestLowestFreeReference(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		space := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/21"), netip.MustParsePrefix("10.1.0.0/22")}
		used := rapid.SliceOf(rapid.Custom(func(r *rapid.T) netip.Prefix {
			a := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 1).Draw(r, "part")), byte(rapid.IntRange(0, 8).Draw(r, "block")), 130})
			return netip.PrefixFrom(a, rapid.IntRange(20, 32).Draw(r, "bits")).Masked()
		})).Draw(r, "used")
		var want netip.Prefix
		for _, s := range space {
			for i := range 1 << (24 - s.Bits()) {
				a := s.Addr().As4()
				a[2] += byte(i)
				b := netip.PrefixFrom(netip.AddrFrom4(a), 24)
				if !want.IsValid() && !slices.ContainsFunc(used, b.Overlaps) {
					want = b
				}
			}
		}
		if got, ok := lowestFree(space, used, 24); got != want || ok != want.IsValid() {
			r.Fatalf("%v %v, want %v", got, ok, want)
		}
	})
}

func TestReason(t *testing.T) {
	long := reason("%s", string(slices.Repeat([]byte("aä"), 200)))
	if len(long) > reasonMax || !plain(long) || long[len(long)-3:] != "..." {
		t.Errorf("reason of %d bytes: %q", len(long), long)
	}
	if got := short("\x1b[2J\u202e"); got != `"\x1b[2J\u202e"` {
		t.Errorf("short %s", got)
	}
	for s, want := range map[string]bool{"": true, "lost, 3 May": true, "a\nb": false, "\u202e": false, "\xff": false} {
		if plain(s) != want {
			t.Errorf("plain(%q) is %v", s, !want)
		}
	}
}

// What fits can be signed, and what is a little longer does not fit.
func TestFits(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	d := newDraft(tables.NewStore(tables.Hash{}).Snapshot(), tables.VN{ID: 1, Name: "x"})
	roster := tables.Roster{Version: 1, VN: 1, Site: "s"}
	a := netip.MustParseAddr("fd00::1")
	for len(roster.Hosts) < 14000 {
		roster.Hosts = append(roster.Hosts, a)
		a = a.Next()
	}
	full := sort.Search(len(roster.Hosts), func(n int) bool {
		r := roster
		r.Hosts = r.Hosts[:n]
		return d.fits([]tables.Body{r}) != nil
	}) - 1
	roster.Hosts = roster.Hosts[:full]
	if _, err := tables.Sign(roster, key); err != nil || full < 13000 {
		t.Errorf("a roster of %d hosts: %v", full, err)
	}
	d.sets = make([]tables.DeliverySet, setsMax)
	if err := d.fits(nil); err != nil {
		t.Error(err)
	}
	d.sets = make([]tables.DeliverySet, setsMax+1)
	if d.fits(nil) == nil {
		t.Error("one VR too many fits")
	}
}
