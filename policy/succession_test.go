package policy_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// What stands after a theft: what stood in the honest file, and what is named; without such a file everything.
func TestSucceed(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.must(w.create("old", w.at(1, 1), w.at(2, 1)), "vn1")
	honest := w.View()
	w.must(w.create("young", w.at(1, 2), w.at(2, 2)), "vn2")
	w.must(w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "old", Hosts: []netip.Addr{w.at(2, 1)}}), "vn1")
	next := w.RootBody()
	next.Version = 2
	next.Authorities = []tables.AuthorityKey{{Key: tables.PublicOf(w.Key()), NotAfter: next.Authorities[0].NotAfter}}
	choose := func(texts ...string) (list []policy.Choice) {
		for _, text := range texts {
			c, err := policy.ParseChoice(text)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, c)
		}
		return list
	}
	version := func(s policy.Succession, key tables.DocKey) uint64 {
		for _, d := range s.Stand {
			if d.Key() == key {
				return d.Version()
			}
		}
		return 0
	}
	for _, tt := range []struct {
		name          string
		honest        *tables.View
		also, without []policy.Choice
		old, young    uint64 // the versions that stand
		falls         bool
	}{
		{"all", nil, nil, nil, 2, 1, false},
		{"all but one", nil, nil, choose("vn:2"), 2, 0, true},
		{"honest", honest, nil, nil, 1, 0, true},
		{"honest and a younger one", honest, choose("vn:2"), nil, 1, 1, true},
		{"honest but in one", honest, choose("vn:1"), nil, 2, 0, true},
		{"honest without one", honest, nil, choose("vn:1"), 0, 0, true},
	} {
		s, err := policy.Succeed(w.View(), tt.honest, next, tt.also, tt.without)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if o, y := version(s, tables.VNKey(1)), version(s, tables.VNKey(2)); o != tt.old || y != tt.young || (len(s.Fall) > 0) != tt.falls {
			t.Errorf("%s: versions %d and %d stand, want %d and %d; %d fall", tt.name, o, y, tt.old, tt.young, len(s.Fall))
		}
		// A VN stands or falls with its parts.
		parts := func(id string) (n int) {
			for _, d := range s.Stand {
				if d.Kind() == tables.KindRoster && d.Key().ID == id {
					n++
				}
			}
			return n
		}
		if (parts("2/s1") > 0) != (tt.young > 0) || (parts("1/s1") > 0) != (tt.old > 0) {
			t.Errorf("%s: rosters do not go with their VNs", tt.name)
		}
		if tt.old == 1 && !slices.ContainsFunc(s.Returns, func(d *tables.Document) bool { return d.Key() == tables.VNKey(1) && d.Version() == 1 }) {
			t.Errorf("%s: version 1 does not return", tt.name)
		}
	}
	if _, err := policy.Succeed(w.View(), nil, next, nil, choose("vn:7")); err == nil {
		t.Error("a VN that is not there was left out")
	}
	if s, _ := policy.Succeed(w.View(), nil, w.RootBody(), nil, nil); len(s.Stand)+len(s.Fall) > 0 {
		t.Error("documents of a key in office are orphans")
	}
	for _, text := range []string{"", "vn", "vn:", "root:1", "head:x", "link-record:1", "request:0", "thing:1"} {
		if _, err := policy.ParseChoice(text); err == nil {
			t.Errorf("%q names a document", text)
		}
	}
}
