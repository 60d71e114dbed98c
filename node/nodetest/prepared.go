package nodetest

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// Prepared makes a federation of count VRs whose state directories already hold every VR's
// enrolment and endpoint, as if all had joined long ago, and starts them. The first is the
// authority. It costs a tenth of as many joins.
func (w *World) Prepared(count int) []*Site {
	var others []*Site
	founder := w.site("vr1")
	for i := 2; i <= count; i++ {
		others = append(others, w.site(fmt.Sprintf("vr%d", i)))
	}
	return w.PreparedOf(founder, others)
}

// PreparedOf is Prepared with sites of the caller's making, of which the founder must be the first. A site behind a translator of its own is taken
// to be limited.
func (w *World) PreparedOf(founder *Site, others []*Site) []*Site {
	w.T.Helper()
	founder.Found()
	founder.Stop()
	dir := founder.open()
	store, err := node.LoadStore(dir, time.Now(), founder.Log)
	w.check(err)
	seed, _, err := dir.Key("authority")
	w.check(err)
	w.check(dir.Close())
	authority := ed25519.NewKeyFromSeed(seed[:])
	key := tables.PublicOf(authority)
	put := func(body tables.Body, key ed25519.PrivateKey) *tables.Document {
		d, err := tables.Sign(body, key)
		w.check(err)
		_, err = store.Put(time.Now(), d, tables.FromDisk)
		w.check(err)
		return d
	}
	for _, s := range others {
		dir := s.open()
		identity, err := node.MakeKey(dir, "identity", w.random)
		w.check(err)
		link, err := node.MakeKey(dir, "link", w.random)
		w.check(err)
		own := ed25519.NewKeyFromSeed(identity[:])
		request, err := policy.NewRequest(time.Now(), w.random, own, policy.OpJoin, policy.JoinArgs{
			Name: s.Name, Site: s.Name, Link: linkKey(link),
		})
		w.check(err)
		decision := policy.Authority{Key: key, AutoAdmit: "open"}.Decide(time.Now(), store.Snapshot(), request.Hash(), request.Body().(tables.Request))
		for _, body := range decision.Bodies {
			put(body, authority)
		}
		e, ok := store.EnrolmentByIdentity(tables.PublicOf(own))
		if !ok {
			w.T.Fatalf("%s is not enrolled: %+v", s.Name, decision)
		}
		s.Joined = node.Joined{Federation: "world", FederationID: store.FederationID(), Name: e.Name, Router: e.Router, Blocks: e.Blocks}
		record := tables.LinkRecord{
			Version: 1, Router: e.Router, Link: linkKey(link), Endpoints: []netip.AddrPort{s.Endpoint()}, VRKind: "regular",
			Joinable: true, Software: "test",
		}
		if s.NAT != nil {
			record.Endpoints, record.VRKind, record.Joinable = []netip.AddrPort{}, "limited", false
		}
		put(record, own)
		w.check(dir.Close())
	}
	put(tables.BuildHead(store.Snapshot(), key, time.Now().Unix(), time.Now().Add(7*24*time.Hour).Unix()), authority)
	var raw [][]byte
	for d := range store.Documents() {
		raw = append(raw, d.Bytes())
	}
	for _, s := range w.Sites {
		dir := s.open()
		w.check(dir.Append(raw...))
		w.check(dir.Close())
		s.Start()
	}
	return w.Sites
}

func (w *World) check(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// linkKey returns the public half of a link key.
func linkKey(private [32]byte) tables.LinkKey {
	key, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	return tables.LinkKey(key.PublicKey().Bytes())
}
