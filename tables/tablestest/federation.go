package tablestest

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// Epoch is the time at which federations of this package are founded.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A Federation is a federation under construction. Change it with its methods; read the fields.
type Federation struct {
	Now       time.Time // signing time of what comes next; advance it as the test does
	Random    io.Reader // deterministic
	RootKeys  []ed25519.PrivateKey
	Authority ed25519.PrivateKey
	Space     []netip.Prefix
	Routers   []*Router // by router ID, from 1

	store *tables.Store
	all   []*tables.Document
	links map[tables.RouterID]uint64
}

// A Router is one enrolled VR with its private keys.
type Router struct {
	ID       tables.RouterID
	Name     string
	Site     string
	Identity ed25519.PrivateKey
	Link     *ecdh.PrivateKey
	Block4   netip.Prefix // a /24
	Block6   netip.Prefix // a /64
	Endpoint netip.AddrPort
}

// Key returns the public half of the identity.
func (r *Router) Key() tables.PublicKey { return tables.PublicOf(r.Identity) }

// LinkKey returns the public half of the link key.
func (r *Router) LinkKey() tables.LinkKey { return tables.LinkKey(r.Link.PublicKey().Bytes()) }

// Host returns the nth address of the router's IPv4 block, n from 1 to 254.
func (r *Router) Host(n int) netip.Addr {
	a := r.Block4.Addr().As4()
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// Host6 returns the nth address of the router's IPv6 block, n from 1 to 65535.
func (r *Router) Host6(n int) netip.Addr {
	a := r.Block6.Addr().As16()
	binary.BigEndian.PutUint16(a[14:], uint16(n))
	return netip.AddrFrom16(a)
}

// New founds a federation at Epoch with one root key, one authority key, a head that lives 30
// days, and that many VRs, each at a site of its own called "s1", "s2" and so on. Everything
// follows from seed.
func New(seed uint64, routers int) *Federation {
	f := Found(seed, 1)
	for range routers {
		f.AddRouter("")
	}
	f.SignHead()
	return f
}

// Found is New without VRs and with that many root keys, all of which must sign.
func Found(seed uint64, rootKeys int) *Federation {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	f := &Federation{Now: Epoch, Random: rand.NewChaCha8(key), links: map[tables.RouterID]uint64{}}
	for range rootKeys {
		f.RootKeys = append(f.RootKeys, f.Key())
	}
	slices.SortFunc(f.RootKeys, compareKeys)
	f.Authority = f.Key()
	ula := [16]byte{0xfd}
	f.read(ula[1:6])
	f.Space = []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10"), netip.PrefixFrom(netip.AddrFrom16(ula), 48)}
	f.store = tables.NewStore(tables.Hash{})
	f.Put(f.RootBody(), f.RootKeys...)
	f.SignHead()
	return f
}

func compareKeys(a, b ed25519.PrivateKey) int {
	return bytes.Compare(a.Public().(ed25519.PublicKey), b.Public().(ed25519.PublicKey))
}

func (f *Federation) read(b []byte) {
	if _, err := io.ReadFull(f.Random, b); err != nil {
		panic(err)
	}
}

// Key returns a new Ed25519 key.
func (f *Federation) Key() ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	f.read(seed)
	return ed25519.NewKeyFromSeed(seed)
}

// RootBody returns the body of root 1, for tests that make variations and further versions.
func (f *Federation) RootBody() tables.Root {
	r := tables.Root{
		Version:       1,
		Federation:    "test",
		Threshold:     uint32(len(f.RootKeys)),
		Authorities:   []tables.AuthorityKey{{Key: tables.PublicOf(f.Authority), NotAfter: Epoch.AddDate(5, 0, 0).Unix()}},
		AuthThreshold: 1,
		Space:         f.Space,
	}
	for _, k := range f.RootKeys {
		r.RootKeys = append(r.RootKeys, tables.PublicOf(k))
	}
	return r
}

// Put signs body and puts the document into the federation. It panics unless it becomes current.
func (f *Federation) Put(body tables.Body, signers ...ed25519.PrivateKey) *tables.Document {
	return f.PutDocument(Sign(body, signers...))
}

// PutDocument is Put for a document that is signed already.
func (f *Federation) PutDocument(d *tables.Document) *tables.Document {
	if o, err := f.store.Put(f.Now, d, tables.FromDisk); o != tables.Kept {
		panic(fmt.Sprintf("tablestest: %s: %s: %v", d.Key(), o, err))
	}
	f.all = append(f.all, d)
	return d
}

// Sign is tables.Sign for what must not fail.
func Sign(body tables.Body, signers ...ed25519.PrivateKey) *tables.Document {
	d, err := tables.Sign(body, signers...)
	if err != nil {
		panic(err)
	}
	return d
}

// AddRouter enrols one more VR, called "vr<ID>", and signs its link record. An empty site means
// "s<ID>".
func (f *Federation) AddRouter(site string) *Router {
	id := tables.RouterID(len(f.Routers) + 1)
	if site == "" {
		site = fmt.Sprintf("s%d", id)
	}
	var link [32]byte
	f.read(link[:])
	private, err := ecdh.X25519().NewPrivateKey(link[:])
	if err != nil {
		panic(err)
	}
	block6 := f.Space[1].Addr().As16()
	binary.BigEndian.PutUint16(block6[6:], uint16(id))
	r := &Router{
		ID: id, Name: fmt.Sprintf("vr%d", id), Site: site, Identity: f.Key(), Link: private,
		Block4:   netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 192 + byte(id>>8), byte(id), 0}), 24),
		Block6:   netip.PrefixFrom(netip.AddrFrom16(block6), 64),
		Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2 + byte(id>>8), byte(id)}), 8463),
	}
	f.Routers = append(f.Routers, r)
	f.Put(f.Enrolment(r), f.Authority)
	f.SignLink(r, nil)
	return r
}

// Enrolment returns the body of the first enrolment of r.
func (f *Federation) Enrolment(r *Router) tables.Enrolment {
	return tables.Enrolment{
		Version: 1, Router: r.ID, Name: r.Name, Site: r.Site, Identity: r.Key(),
		Blocks: []netip.Prefix{r.Block4, r.Block6}, MayQueue: true,
		NotBefore: Epoch.Unix(), NotAfter: Epoch.AddDate(0, 0, 400).Unix(),
	}
}

// Router returns the VR with that ID.
func (f *Federation) Router(id tables.RouterID) *Router { return f.Routers[id-1] }

// SignLink signs the next link record of r; change, if not nil, may alter it first.
func (f *Federation) SignLink(r *Router, change func(*tables.LinkRecord)) *tables.Document {
	f.links[r.ID]++
	b := tables.LinkRecord{
		Version: 1<<32 | f.links[r.ID], Router: r.ID, Link: r.LinkKey(),
		Endpoints: []netip.AddrPort{r.Endpoint}, VRKind: "regular", Joinable: true, Software: "test",
	}
	if change != nil {
		change(&b)
	}
	return f.Put(b, r.Identity)
}

// AddUser makes a user key and lets the authority grant it a role for a year.
func (f *Federation) AddUser(name string, role tables.Role, scope string) ed25519.PrivateKey {
	k := f.Key()
	f.Put(tables.Grant{
		Version: 1, User: tables.PublicOf(k), Name: name, Role: role, Scope: scope,
		NotAfter: f.Now.AddDate(1, 0, 0).Unix(),
	}, f.Authority)
	return k
}

// SignHead signs the next head over what the federation holds, with a life of 30 days.
func (f *Federation) SignHead() *tables.Document {
	now := f.Now.Unix()
	return f.Put(tables.BuildHead(f.store.Snapshot(), tables.PublicOf(f.Authority), now, now+30*24*3600), f.Authority)
}

// Revoke revokes the identity of r.
func (f *Federation) Revoke(r *Router) *tables.Document {
	return f.Put(tables.Revocation{Version: 1, Identity: r.Key(), Reason: "test", Issued: f.Now.Unix()}, f.Authority)
}

// Documents returns everything ever signed, superseded versions too, in the order of signing.
func (f *Federation) Documents() []*tables.Document { return slices.Clone(f.all) }

// View returns the present state.
func (f *Federation) View() *tables.View { return f.store.Snapshot() }

// Store returns a new store, pinned to the federation, that holds the present state.
func (f *Federation) Store() *tables.Store {
	s := tables.NewStore(f.View().FederationID())
	if errs := s.Load(f.Now, slices.Collect(f.View().Documents()), tables.FromDisk); len(errs) > 0 {
		panic(errs[0])
	}
	s.TakeChanges()
	return s
}
