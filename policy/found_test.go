package policy_test

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func founding() policy.Founding {
	return policy.Founding{
		Name: "test", VR: "gate", Site: "home", UserName: "ann",
		Space: prefixes("fd12:3456:789a::/48", "10.192.0.0/10"),
		Root:  tables.PublicOf(key(1)), Authority: tables.PublicOf(key(2)),
		Identity: tables.PublicOf(key(3)), User: tables.PublicOf(key(4)),
	}
}

func TestFound(t *testing.T) {
	now := tablestest.Epoch
	f, err := policy.Found(now, founding())
	if err != nil {
		t.Fatal(err)
	}
	s := tables.NewStore(tables.Hash{})
	put := func(b tables.Body, k ed25519.PrivateKey, origin tables.Origin) {
		t.Helper()
		if o, err := s.Put(now, tablestest.Sign(b, k), origin); o != tables.Kept {
			t.Fatalf("%s: %s %v", b.Kind(), o, err)
		}
	}
	put(f.Root, key(1), tables.FromDisk)
	for _, b := range f.Authority {
		put(b, key(2), tables.FromDisk)
	}
	put(tables.BuildHead(s.Snapshot(), tables.PublicOf(key(2)), now.Unix(), now.AddDate(0, 0, 7).Unix()), key(2), tables.FromNetwork)
	e, ok := s.EnrolmentByName("gate")
	want := prefixes("10.192.0.0/24", "fd12:3456:789a::/64")
	if !ok || e.Router != 1 || e.Site != "home" || !slices.Equal(e.Blocks, want) || !s.Admitted(1, now) || !e.MayQueue {
		t.Errorf("enrolment %+v", e)
	}
	if g := s.Grants(tables.PublicOf(key(4)), now); len(g) != 1 || g[0].Role != tables.RoleADM || g[0].Scope != "federation" {
		t.Errorf("grants %+v", g)
	}
	if len(s.Sites()) != 1 || !s.HeadMatches(tables.PublicOf(key(2))) || s.TrustStale(now) {
		t.Errorf("sites %v, head matches %v, stale %v", s.Sites(), s.HeadMatches(tables.PublicOf(key(2))), s.TrustStale(now))
	}
	if !s.Authority(tables.PublicOf(key(2)), now.AddDate(2, 0, -1)) || s.Authority(tables.PublicOf(key(2)), now.AddDate(2, 0, 1)) {
		t.Error("the authority key does not last two years")
	}
}

func TestFoundRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		bend func(*policy.Founding)
		want string
	}{
		{"federation name", func(f *policy.Founding) { f.Name = "My Lab" }, "federation name"},
		{"VR name", func(f *policy.Founding) { f.VR = "" }, "VR name"},
		{"site name", func(f *policy.Founding) { f.Site = strings.Repeat("x", 64) }, "site name"},
		{"user name", func(f *policy.Founding) { f.UserName = "a b" }, "user name"},
		{"no space", func(f *policy.Founding) { f.Space = nil }, "empty"},
		{"host bits", func(f *policy.Founding) { f.Space = prefixes("10.192.0.1/10") }, "do you mean 10.192.0.0/10"},
		{"overlap", func(f *policy.Founding) { f.Space = prefixes("10.0.0.0/8", "10.192.0.0/10") }, "overlap"},
		{"multicast", func(f *policy.Founding) { f.Space = prefixes("224.0.0.0/8") }, "unicast"},
		{"no prefix", func(f *policy.Founding) { f.Space = []netip.Prefix{{}} }, "unicast"},
		{"small", func(f *policy.Founding) { f.Space = prefixes("10.192.0.0/25") }, "no free /24"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := founding()
			c.bend(&f)
			if _, err := policy.Found(tablestest.Epoch, f); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}
