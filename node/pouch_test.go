package node

import (
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
	"github.com/vine-mesh/vine/transport/secure"
)

// newPouchOf returns the pouch of a router of a federation.
func newPouchOf(t *testing.T, f *tablestest.Federation, id tables.RouterID, boot uint64) *pouch {
	t.Helper()
	n := &Node{self: self{
		Router: id, Federation: f.View().FederationID(), boot: boot,
		static: secure.NewStaticKey([32]byte(f.Router(id).Link.Bytes())),
	}}
	n.directory.Store(&directory{view: f.View()})
	p, err := newPouch(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPouch: what one router seals the other opens, once, whole or in pieces in any order; a third
// cannot, and nobody can in another's name.
func TestPouch(t *testing.T) {
	f := tablestest.New(1, 3)
	a, b, c := newPouchOf(t, f, 1, 1), newPouchOf(t, f, 2, 1), newPouchOf(t, f, 3, 1)
	toB, ok := a.box(2)
	if !ok {
		t.Fatal("no key with an enrolled router")
	}
	for _, size := range []int{1, 1000, 5000} {
		packet := make([]byte, size)
		packet[0] = 7
		sealed, err := toB.Seal(packet)
		if err != nil {
			t.Fatal(err)
		}
		for i := range sealed {
			from, got, ok := b.open(sealed[len(sealed)-1-i])
			if !ok || from != 1 || (got != nil) != (i == len(sealed)-1) {
				t.Fatalf("piece %d of %d: from %v, %d bytes, %v", i, len(sealed), from, len(got), ok)
			}
			if got != nil && string(got) != string(packet) {
				t.Error("another packet came out")
			}
		}
		for _, d := range sealed {
			if _, _, ok := b.open(d); ok {
				t.Error("a datagram opened twice")
			}
			if _, _, ok := c.open(d); ok {
				t.Error("a third router opened it")
			}
			d[7] = 3 // the sender's ID
			if _, _, ok := b.open(d); ok {
				t.Error("it opened in another router's name")
			}
		}
	}
	if _, ok := a.box(1); ok {
		t.Error("a key with ourselves")
	}
	if _, ok := a.box(9); ok {
		t.Error("a key with a stranger")
	}
}

// TestPouchLowOrderKey: a link key with which no secret can be shared is tried once, not for each
// datagram in its owner's name.
func TestPouchLowOrderKey(t *testing.T) {
	f := tablestest.New(2, 2)
	f.SignLink(f.Router(2), func(r *tables.LinkRecord) { r.Link = tables.LinkKey{1} })
	p := newPouchOf(t, f, 1, 1)
	for range 3 {
		if _, ok := p.box(2); ok {
			t.Fatal("a secret with a key of low order")
		}
	}
	if len(p.boxes) != 1 {
		t.Error("the failure is not remembered")
	}
}
