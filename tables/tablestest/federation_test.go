package tablestest_test

import (
	"slices"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// The same seed gives the same bytes, another seed others.
func TestDeterministic(t *testing.T) {
	make := func(seed uint64) []tables.Digest {
		f := tablestest.New(seed, 3)
		f.AddUser("eve", tables.RoleADM, "federation")
		f.SetVN("red", f.Hosts(1, 2)...)
		f.SetVN("red", f.Hosts(1, 2, 3)...)
		return slices.Collect(f.View().Digests())
	}
	if !slices.Equal(make(1), make(1)) {
		t.Error("two federations of one seed differ")
	}
	if slices.Equal(make(1), make(2)) {
		t.Error("federations of two seeds are equal")
	}
}

func TestStoreHoldsAll(t *testing.T) {
	f := tablestest.New(1, 4)
	vn := f.SetVN("red", f.Hosts(1, 2, 3)...)
	s := f.Store()
	if s.Len() != f.View().Len() || s.Held() != 0 {
		t.Fatalf("store holds %d of %d documents, %d held", s.Len(), f.View().Len(), s.Held())
	}
	got, problems := tables.NewInstaller(2).Update(s.Snapshot())
	if len(problems) > 0 || len(got) != 1 || got[0].VN.ID != vn.ID || len(got[0].Sets) != 3 || len(got[0].Local) != 2 {
		t.Fatalf("installed %+v, problems %+v", got, problems)
	}
}
