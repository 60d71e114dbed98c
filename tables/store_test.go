package tables_test

import (
	"crypto/ed25519"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

func TestEnrolmentRules(t *testing.T) {
	f := tablestest.New(1, 2)
	first := f.Enrolment(f.Router(1))
	prefix := netip.MustParsePrefix
	tests := []struct {
		name   string
		change func(*tables.Enrolment)
		want   tables.Outcome
		err    error
	}{
		{"renewal", func(e *tables.Enrolment) { *e = first; e.Version = 2; e.NotAfter += 86400 }, tables.Kept, nil},
		{"new VR", func(e *tables.Enrolment) {}, tables.Kept, nil},
		{"router ID under another identity", func(e *tables.Enrolment) { e.Router, e.Name, e.Version = 1, "vr1", 2 }, tables.Refused, tables.ErrConflict},
		{"router ID under another name", func(e *tables.Enrolment) { *e = first; e.Version, e.Name = 2, "renamed" }, tables.Refused, tables.ErrConflict},
		{"name of another", func(e *tables.Enrolment) { e.Name = "vr1" }, tables.Refused, tables.ErrConflict},
		{"identity of another", func(e *tables.Enrolment) { e.Identity = first.Identity }, tables.Refused, tables.ErrConflict},
		{"block outside the space", func(e *tables.Enrolment) { e.Blocks = []netip.Prefix{prefix("10.0.0.0/24")} }, tables.Refused, tables.ErrConflict},
		{"block larger than the space", func(e *tables.Enrolment) { e.Blocks = []netip.Prefix{prefix("10.0.0.0/8")} }, tables.Refused, tables.ErrConflict},
		{"block of another site", func(e *tables.Enrolment) { e.Blocks = first.Blocks[:1] }, tables.Held, tables.ErrConflict},
		{"half the block of another site", func(e *tables.Enrolment) {
			e.Blocks = []netip.Prefix{netip.PrefixFrom(first.Blocks[0].Addr(), 25)}
		}, tables.Held, tables.ErrConflict},
		{"block shared with its site", func(e *tables.Enrolment) { e.Blocks, e.Site = first.Blocks[:1], first.Site }, tables.Kept, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := enrolment(f, 1)
			tt.change(&e)
			put(t, f.Store(), f.Now, tablestest.Sign(e, f.Authority), tt.want, tt.err)
		})
	}
}

// A block that one VR gives up and another gets: the order of arrival does not matter.
func TestBlockMoves(t *testing.T) {
	f := tablestest.New(1, 2)
	s := f.Store()
	gives := f.Enrolment(f.Router(1))
	gets := enrolment(f, 1)
	gets.Blocks = gives.Blocks[:1]
	gives.Version, gives.Blocks = 2, gives.Blocks[1:]
	put(t, s, f.Now, tablestest.Sign(gets, f.Authority), tables.Held, tables.ErrConflict)
	put(t, s, f.Now, tablestest.Sign(gives, f.Authority), tables.Kept, nil)
	if _, ok := s.Enrolment(gets.Router); !ok {
		t.Fatal("the block did not move")
	}
}

func TestInviteSpentOnce(t *testing.T) {
	f := tablestest.New(1, 1)
	s := f.Store()
	e := enrolment(f, 1)
	e.Invite = tables.PublicOf(f.Key())
	put(t, s, f.Now, tablestest.Sign(e, f.Authority), tables.Kept, nil)
	if !s.InviteSpent(e.Invite) || s.InviteSpent(tables.PublicKey{}) {
		t.Fatal("invite not spent, or no invite spent")
	}
	other := e
	other.Router, other.Name, other.Identity, other.Blocks = 10, "vr10", tables.PublicOf(f.Key()), nil
	put(t, s, f.Now, tablestest.Sign(other, f.Authority), tables.Refused, tables.ErrConflict)
}

// A revocation acts at once, on what is here and on what comes later.
func TestRevocation(t *testing.T) {
	f := tablestest.New(1, 2)
	s := f.Store()
	r := f.Router(2)
	late := f.SignLink(r, nil)
	put(t, s, f.Now, f.Revoke(r), tables.Kept, nil)
	if _, ok := s.Enrolment(2); ok || s.Admitted(2, f.Now) || !s.Revoked(r.Key()) {
		t.Error("still enrolled")
	}
	if _, ok := s.EnrolmentByName("vr2"); ok {
		t.Error("still found by name")
	}
	if _, ok := s.EnrolmentByIdentity(r.Key()); ok {
		t.Error("still found by identity")
	}
	if _, ok := s.LinkRecordByKey(r.LinkKey()); ok {
		t.Error("link record is still there")
	}
	if len(s.Enrolments()) != 1 {
		t.Error("still listed")
	}
	put(t, s, f.Now, late, tables.Refused, tables.ErrRevoked)
	renewal := f.Enrolment(r)
	renewal.Version = 2
	put(t, s, f.Now, tablestest.Sign(renewal, f.Authority), tables.Kept, nil)
	if _, ok := s.Enrolment(2); ok {
		t.Error("a renewal undid the revocation")
	}
	s.Skip("revocation")
	put(t, s, f.Now, late, tables.Kept, nil)
}

func TestLinkRecordRules(t *testing.T) {
	f := tablestest.New(1, 2)
	base, _ := f.View().LinkRecord(1)
	base.Version++
	sign := func(change func(*tables.LinkRecord)) *tables.Document {
		b := base
		b.Endpoints = slices.Clone(b.Endpoints)
		change(&b)
		return tablestest.Sign(b, f.Router(1).Identity)
	}
	inside := netip.AddrPortFrom(f.Router(2).Host(1), 8463)
	put(t, f.Store(), f.Now, sign(func(r *tables.LinkRecord) { r.Endpoints[0] = inside }), tables.Refused, tables.ErrConflict)
	put(t, f.Store(), f.Now, sign(func(r *tables.LinkRecord) {
		r.Streams = []tables.StreamEndpoint{{Protocol: "tls", Endpoint: inside}}
	}), tables.Refused, tables.ErrConflict)
	// An address that names a path within a VR is no address.
	for _, text := range []string{"[100::1:2]:1", "[100::5]:2", "[100::]:8463"} {
		at := netip.MustParseAddrPort(text)
		one, two := base, base
		one.Endpoints = []netip.AddrPort{at}
		two.Streams = []tables.StreamEndpoint{{Protocol: "tcp", Endpoint: at}}
		for _, b := range []tables.LinkRecord{one, two} {
			if _, err := tables.Sign(b, f.Router(1).Identity); err == nil {
				t.Errorf("%v in a link record", at)
			}
		}
	}
	put(t, f.Store(), f.Now, sign(func(r *tables.LinkRecord) { r.Version += 1 << 32 }), tables.Kept, nil)
	put(t, f.Store(), f.Now.AddDate(0, 0, 401), sign(func(*tables.LinkRecord) {}), tables.Held, tables.ErrExpired)
	put(t, f.Store(), f.Now, tablestest.Sign(func() tables.LinkRecord { b := base; b.Router = 7; return b }(), f.Router(1).Identity), tables.Held, tables.ErrNotYet)
}

// A VR that claims another's link key changes nothing for the other and leaves evidence.
func TestLinkKeyStolen(t *testing.T) {
	f := tablestest.New(1, 2)
	s := f.Store()
	stolen := f.Router(1).LinkKey()
	put(t, s, f.Now, f.SignLink(f.Router(2), func(r *tables.LinkRecord) { r.Link = stolen }), tables.Kept, nil)
	put(t, s, f.Now, f.SignLink(f.Router(1), nil), tables.Kept, nil)
	if r, ok := s.LinkRecordByKey(stolen); !ok || r.Router != 1 {
		t.Errorf("key belongs to %v", r.Router)
	}
	if ev, _ := s.Evidence(); len(ev) != 1 || ev[0].Key != tables.LinkRecordKey(2) {
		t.Errorf("evidence %v", ev)
	}
}

func TestGrants(t *testing.T) {
	f := tablestest.New(1, 1)
	admin := f.AddUser("ann", tables.RoleVNA, "vn/red")
	user := f.Key()
	end := f.Now.AddDate(0, 0, 20).Unix()
	delegated := tables.Grant{Version: 1, User: tables.PublicOf(user), Name: "bob", Role: tables.RoleEU, Scope: "vn/red",
		NotAfter: end, Parent: tables.PublicOf(admin)}
	tests := []struct {
		name   string
		change func(*tables.Grant)
		signer ed25519.PrivateKey
		want   tables.Outcome
		err    error
	}{
		{"narrower", func(*tables.Grant) {}, admin, tables.Kept, nil},
		{"same role", func(g *tables.Grant) { g.Role = tables.RoleVNA }, admin, tables.Kept, nil},
		{"higher role", func(g *tables.Grant) { g.Role = tables.RoleADM }, admin, tables.Held, tables.ErrSigner},
		{"other scope", func(g *tables.Grant) { g.Scope = "vn/blue" }, admin, tables.Held, tables.ErrSigner},
		{"wider scope", func(g *tables.Grant) { g.Scope = "federation" }, admin, tables.Held, tables.ErrSigner},
		{"longer than a delegation may be", func(g *tables.Grant) { g.NotAfter = f.Now.AddDate(0, 0, 31).Unix() }, admin, tables.Refused, tables.ErrExpired},
		{"signed by the user", func(*tables.Grant) {}, user, tables.Refused, tables.ErrSigner},
		{"of a parent without grant", func(g *tables.Grant) { g.Parent = f.Router(1).Key() }, f.Router(1).Identity, tables.Held, tables.ErrSigner},
		{"as the authority", func(g *tables.Grant) { g.Parent = tables.PublicKey{} }, admin, tables.Held, tables.ErrSigner},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := delegated
			tt.change(&g)
			put(t, f.Store(), f.Now, tablestest.Sign(g, tt.signer), tt.want, tt.err)
		})
	}
	t.Run("falls with the parent's", func(t *testing.T) {
		s := f.Store()
		d := tablestest.Sign(delegated, admin)
		put(t, s, f.Now, d, tables.Kept, nil)
		if len(s.Grants(delegated.User, f.Now)) != 1 || len(s.Grants(delegated.User, f.Now.AddDate(0, 0, 21))) != 0 {
			t.Fatal("not in force, or beyond its end")
		}
		revoked := s.Grants(tables.PublicOf(admin), f.Now)[0]
		revoked.Version, revoked.Revoked = 2, true
		stale := f.Now.AddDate(0, 2, 0) // taking away needs no fresh head
		put(t, s, stale, tablestest.Sign(revoked, f.Authority), tables.Kept, nil)
		if len(s.Grants(delegated.User, f.Now)) != 0 || len(s.Grants(tables.PublicOf(admin), f.Now)) != 0 {
			t.Fatal("still in force")
		}
		put(t, s, f.Now, d, tables.Held, tables.ErrSigner)
	})
	t.Run("falls with the parent's key", func(t *testing.T) {
		s := f.Store()
		d := tablestest.Sign(delegated, admin)
		put(t, s, f.Now, d, tables.Kept, nil)
		put(t, s, f.Now, tablestest.Sign(tables.Revocation{Version: 1, Identity: tables.PublicOf(admin), Issued: 1}, f.Authority), tables.Kept, nil)
		if len(s.Grants(delegated.User, f.Now)) != 0 || len(s.Grants(tables.PublicOf(admin), f.Now)) != 0 {
			t.Fatal("still in force")
		}
		put(t, s, f.Now, d, tables.Refused, tables.ErrRevoked)
	})
}

func TestVNHome(t *testing.T) {
	now := tablestest.Epoch
	setup := func(t *testing.T) (*tablestest.Federation, *tables.Store, ed25519.PrivateKey, tables.VN) {
		f := tablestest.New(1, 2)
		second := f.Key()
		r := f.RootBody()
		r.Version = 2
		r.Authorities = append(r.Authorities, tables.AuthorityKey{Key: tables.PublicOf(second), NotAfter: now.AddDate(1, 0, 0).Unix()})
		slices.SortFunc(r.Authorities, func(a, b tables.AuthorityKey) int { return slices.Compare(a.Key[:], b.Key[:]) })
		f.Put(r, f.RootKeys...)
		vn := f.SetVN("red", f.Hosts(1, 2)...)
		return f, f.Store(), second, vn
	}
	t.Run("another authority key may not sign the next", func(t *testing.T) {
		_, s, second, vn := setup(t)
		vn.Version++
		d := tablestest.Sign(vn, second)
		put(t, s, now, d, tables.Held, tables.ErrSigner)
		s.Skip("home")
		put(t, s, now, d, tables.Kept, nil)
	})
	t.Run("moving home", func(t *testing.T) {
		f, s, second, vn := setup(t)
		moved := vn
		moved.Version, moved.Home = 2, tables.PublicOf(second)
		third := moved
		third.Version = 3
		a, b := tablestest.Sign(moved, f.Authority), tablestest.Sign(third, second)
		late := f.Store()
		put(t, late, now, b, tables.Kept, nil) // after a gap
		put(t, late, now, a, tables.Stale, nil)
		put(t, s, now, a, tables.Kept, nil)
		put(t, s, now, b, tables.Kept, nil)
		if slices.Collect(s.Digests())[0] != slices.Collect(late.Digests())[0] || s.Len() != late.Len() {
			t.Error("order matters")
		}
		// Rosters are the home's alone; a fragment that the manifest pins stays.
		if _, ok := s.Roster(vn.ID, "s1"); ok || s.Get(tables.FragmentKey(vn.ID, "1")) == nil {
			t.Error("leaves are not those of the new home")
		}
		third.Version = 4
		put(t, s, now, tablestest.Sign(third, f.Authority), tables.Held, tables.ErrSigner)
	})
	t.Run("home retired", func(t *testing.T) {
		f, s, second, vn := setup(t)
		vn.Version, vn.Home = 2, tables.PublicOf(second)
		put(t, s, now, tablestest.Sign(vn, f.Authority), tables.Kept, nil)
		r := f.RootBody()
		r.Version = 3
		put(t, s, now, tablestest.Sign(r, f.RootKeys...), tables.Kept, nil)
		vn.Version, vn.Home = 3, tables.PublicOf(f.Authority)
		put(t, s, now, tablestest.Sign(vn, f.Authority), tables.Kept, nil)
	})
	t.Run("delegated", func(t *testing.T) {
		f, s, _, vn := setup(t)
		user := f.Key()
		vn.Version, vn.Home = 2, tables.PublicOf(user)
		put(t, s, now, tablestest.Sign(vn, f.Authority), tables.Kept, nil)
		vn.Version = 3
		put(t, s, now, tablestest.Sign(vn, f.Authority), tables.Held, tables.ErrSigner)
		put(t, s, now, tablestest.Sign(vn, user), tables.Kept, nil)
		put(t, s, now, tablestest.Sign(tables.Roster{Version: 9, VN: vn.ID, Site: "s1"}, user), tables.Kept, nil)
		put(t, s, now, tablestest.Sign(tables.Roster{Version: 10, VN: vn.ID, Site: "s1"}, f.Authority), tables.Held, tables.ErrSigner)
	})
	t.Run("names and ends", func(t *testing.T) {
		f, s, _, vn := setup(t)
		other := vn
		other.ID, other.Version = 2, 1
		put(t, s, now, tablestest.Sign(other, f.Authority), tables.Refused, tables.ErrConflict)
		renamed := vn
		renamed.Version, renamed.Name = 2, "blue"
		put(t, s, now, tablestest.Sign(renamed, f.Authority), tables.Refused, tables.ErrConflict)
		vn.Version, vn.State = 2, tables.VNShutdown
		put(t, s, now, tablestest.Sign(vn, f.Authority), tables.Kept, nil)
		vn.Version, vn.State = 3, tables.VNActive
		put(t, s, now, tablestest.Sign(vn, f.Authority), tables.Refused, tables.ErrConflict)
		put(t, s, now, tablestest.Sign(other, f.Authority), tables.Refused, tables.ErrConflict)
	})
	t.Run("outside the space", func(t *testing.T) {
		f, s, _, vn := setup(t)
		out := netip.MustParsePrefix("192.168.0.0/24")
		put(t, s, now, tablestest.Sign(tables.Fragment{Version: 2, VN: vn.ID, Routers: []tables.RouterID{1}, Prefixes: []netip.Prefix{out}}, f.Authority), tables.Refused, tables.ErrConflict)
		put(t, s, now, tablestest.Sign(tables.Roster{Version: 2, VN: vn.ID, Site: "s1", Hosts: []netip.Addr{out.Addr().Next()}}, f.Authority), tables.Refused, tables.ErrConflict)
	})
}

func TestRequests(t *testing.T) {
	f := tablestest.New(1, 1)
	user := f.AddUser("ann", tables.RoleADM, "federation")
	nonce := byte(0)
	sign := func(key ed25519.PrivateKey, op string, life time.Duration) *tables.Document {
		nonce++
		now := f.Now.Unix()
		var args []byte
		if op == tables.OpJoin {
			args = joinArgs(tables.JoinArgs{Link: tables.LinkKey{1}})
		}
		return tablestest.Sign(tables.Request{User: tables.PublicOf(key), Op: op, Args: args, Issued: now, NotAfter: now + int64(life/time.Second), Nonce: [16]byte{nonce}}, key)
	}
	s := f.Store()
	put(t, s, f.Now, sign(f.Key(), "vn.create", time.Hour), tables.Held, tables.ErrSigner)
	first := sign(user, "vn.create", time.Hour)
	put(t, s, f.Now, first, tables.Kept, nil)
	put(t, s, f.Now.Add(2*time.Hour), sign(user, "vn.create", time.Hour), tables.Refused, tables.ErrExpired)
	put(t, s, f.Now.AddDate(0, 0, -1), sign(user, "vn.create", 30*24*time.Hour), tables.Refused, tables.ErrExpired)
	for range 15 {
		put(t, s, f.Now, sign(user, "vn.create", time.Hour), tables.Kept, nil)
	}
	more := sign(user, "vn.create", time.Hour)
	put(t, s, f.Now, more, tables.Refused, tables.ErrQuota)
	receipt := tables.Receipt{Version: 1, Request: first.Hash(), State: tables.StatePending, Issued: f.Now.Unix()}
	put(t, s, f.Now, tablestest.Sign(receipt, f.Authority), tables.Kept, nil)
	put(t, s, f.Now, more, tables.Refused, tables.ErrQuota)
	receipt.Version, receipt.State = 2, tables.StateRefused
	put(t, s, f.Now, tablestest.Sign(receipt, f.Router(1).Identity), tables.Held, tables.ErrSigner)
	put(t, s, f.Now, tablestest.Sign(receipt, f.Authority), tables.Kept, nil)
	put(t, s, f.Now, more, tables.Kept, nil)

	for range 64 {
		put(t, s, f.Now, sign(f.Key(), tables.OpJoin, time.Hour), tables.Kept, nil)
	}
	put(t, s, f.Now, sign(f.Key(), tables.OpJoin, time.Hour), tables.Refused, tables.ErrQuota)
	s.Expire(f.Now.Add(2 * time.Hour))
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests after their end", n)
	}
	put(t, s, f.Now.Add(2*time.Hour), first, tables.Refused, tables.ErrExpired)
	s.Expire(f.Now.AddDate(0, 0, 61))
	if _, ok := s.Receipt(first.Hash()); ok {
		t.Error("receipt kept for ever")
	}
}

// What strangers send is bounded.
func TestHeldBounded(t *testing.T) {
	f := tablestest.New(1, 1)
	s := f.Store()
	for i := range uint32(400) {
		r := tables.LinkRecord{Version: 1, Router: tables.RouterID(100 + i), Link: tables.LinkKey{1}, VRKind: "regular"}
		if o, err := s.Put(f.Now, tablestest.Sign(r, f.Router(1).Identity), tables.FromNetwork); o != tables.Held || !errors.Is(err, tables.ErrNotYet) {
			t.Fatal(o, err)
		}
	}
	if s.Held() != 256 {
		t.Errorf("%d held", s.Held())
	}
}

// Only who may sign a document can leave evidence: strangers cannot fill the list.
func TestEvidenceNeedsASigner(t *testing.T) {
	f := tablestest.New(1, 2)
	vn := f.SetVN("red", f.Hosts(1)...)
	s, stranger := f.Store(), f.Key()
	renamed, taken := vn, vn
	renamed.Version, renamed.Name = 2, "blue"
	taken.ID, taken.Version = 9, 1
	e := f.Enrolment(f.Router(1))
	e.Version, e.Name = 2, "other"
	roster := tables.Roster{Version: 2, VN: vn.ID, Site: "s1", Hosts: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	bodies := []tables.Body{renamed, taken, e, roster}
	for _, b := range bodies {
		put(t, s, f.Now, tablestest.Sign(b, stranger), tables.Held, tables.ErrSigner)
	}
	if ev, _ := s.Evidence(); len(ev) != 0 {
		t.Errorf("evidence from a stranger: %v", ev)
	}
	for _, b := range bodies {
		put(t, s, f.Now, tablestest.Sign(b, f.Authority), tables.Refused, tables.ErrConflict)
	}
	if ev, _ := s.Evidence(); len(ev) != len(bodies) {
		t.Errorf("%d pieces of evidence", len(ev))
	}
}

func TestMarks(t *testing.T) {
	f := history()
	marks := f.Store().HighWater()
	b := tables.AppendMarks(nil, marks)
	got, err := tables.ParseMarks(b)
	if err != nil || !slices.Equal(got, marks) {
		t.Fatal(err)
	}
	lost := tables.NewStore(tables.Hash{})
	lost.SetHighWater(got)
	if lost.NextRouter() != 5 || lost.NextVN() != 3 || f.Store().NextRouter() != 5 {
		t.Errorf("next router %d, next VN %d", lost.NextRouter(), lost.NextVN())
	}
	for n := range b {
		if _, err := tables.ParseMarks(b[:n]); err == nil {
			t.Fatalf("parses when cut to %d bytes", n)
		}
	}
}

// The same body signed by an authority key that lives longer replaces the envelope, so that the
// document outlives the first key: here a revocation.
func TestSignedAgain(t *testing.T) {
	f := tablestest.New(1, 2)
	second := f.Key()
	r := f.RootBody()
	r.Version = 2
	r.Authorities = append(r.Authorities, tables.AuthorityKey{Key: tables.PublicOf(second), NotAfter: f.Now.AddDate(9, 0, 0).Unix()})
	slices.SortFunc(r.Authorities, func(a, b tables.AuthorityKey) int { return slices.Compare(a.Key[:], b.Key[:]) })
	f.Put(r, f.RootKeys...)
	s := f.Store()
	d := f.Revoke(f.Router(1))
	put(t, s, f.Now, d, tables.Kept, nil)
	put(t, s, f.Now, tablestest.Sign(d.Body(), second), tables.Same, nil)
	put(t, s, f.Now, d, tables.Same, nil)
	r.Version = 3
	r.Authorities = slices.DeleteFunc(r.Authorities, func(a tables.AuthorityKey) bool { return a.Key != tables.PublicOf(second) })
	put(t, s, f.Now, tablestest.Sign(r, f.RootKeys...), tables.Kept, nil)
	if !s.Revoked(f.Router(1).Key()) {
		t.Error("the revocation went with the key that signed it first")
	}
}

// A Snapshot does not change when the Store does.
func TestSnapshot(t *testing.T) {
	f := tablestest.New(1, 2)
	s := f.Store()
	before := s.Snapshot()
	digests := slices.Collect(before.Digests())
	put(t, s, f.Now, f.SignLink(f.Router(1), nil), tables.Kept, nil)
	put(t, s, f.Now, f.Revoke(f.Router(2)), tables.Kept, nil)
	if !slices.Equal(digests, slices.Collect(before.Digests())) || before.Revoked(f.Router(2).Key()) {
		t.Error("the snapshot changed")
	}
	if _, ok := before.LinkRecord(2); !ok {
		t.Error("the snapshot lost a link record")
	}
	changes := s.TakeChanges()
	if len(changes) != 3 || changes[2].Doc != nil || changes[2].Key != tables.LinkRecordKey(2) || len(s.TakeChanges()) != 0 {
		t.Errorf("changes %v", changes)
	}
}

// history returns a federation with every kind of event in its past.
func history() *tablestest.Federation {
	f := tablestest.New(3, 4)
	ann := f.AddUser("ann", tables.RoleADM, "federation")
	bob := f.Key()
	f.Put(tables.Grant{Version: 1, User: tables.PublicOf(bob), Name: "bob", Role: tables.RoleEU, Scope: "federation",
		NotAfter: f.Now.AddDate(0, 0, 20).Unix(), Parent: tables.PublicOf(ann)}, ann)
	// Two chains of three delegations, which share the last two users. One of them falls.
	cat, dan := f.Key(), f.Key()
	eve := f.AddUser("eve", tables.RoleVNA, "vn/red")
	for _, link := range []struct{ parent, user ed25519.PrivateKey }{{bob, cat}, {eve, cat}, {cat, dan}, {dan, f.Key()}} {
		f.Put(tables.Grant{Version: 1, User: tables.PublicOf(link.user), Name: "link", Role: tables.RoleEU, Scope: "vn/red",
			NotAfter: f.Now.AddDate(0, 0, 10).Unix(), Parent: tables.PublicOf(link.parent)}, link.parent)
	}
	f.Put(tables.Grant{Version: 2, User: tables.PublicOf(eve), Name: "eve", Role: tables.RoleVNA, Scope: "vn/red",
		NotAfter: f.Now.AddDate(1, 0, 0).Unix(), Revoked: true}, f.Authority)
	now := f.Now.Unix()
	request := f.Put(tables.Request{User: tables.PublicOf(bob), Op: "vn.join", Issued: now, NotAfter: now + 3600}, bob)
	f.Put(tables.Receipt{Version: 1, Request: request.Hash(), State: tables.StateDone, Issued: now}, f.Authority)
	f.SetVN("red", f.Hosts(1, 2)...)
	f.SetVN("blue", f.Hosts(2, 3, 4)...)
	f.SetVN("red", f.Hosts(1, 2, 4)...)
	f.SetRoster(1, "s1", f.Router(1).Host(5))
	f.SignLink(f.Router(3), nil)
	f.Revoke(f.Router(4))

	// The authority key is replaced: first both, then everything signed again, then one.
	root := f.RootBody()
	fresh := f.Key()
	root.Version = 2
	root.Authorities = append(root.Authorities, tables.AuthorityKey{Key: tables.PublicOf(fresh), NotAfter: f.Now.AddDate(6, 0, 0).Unix()})
	slices.SortFunc(root.Authorities, func(a, b tables.AuthorityKey) int { return slices.Compare(a.Key[:], b.Key[:]) })
	f.Put(root, f.RootKeys...)
	for _, r := range f.Routers[:3] {
		e := f.Enrolment(r)
		e.Version = 2
		f.Put(e, fresh)
	}
	f.Put(tables.BuildHead(f.View(), tables.PublicOf(fresh), now, now+3600), fresh)
	vn, _ := f.View().VN(1)
	vn.Version, vn.Home = vn.Version+1, tables.PublicOf(fresh)
	f.Put(vn, f.Authority)
	vn.Version++
	f.Put(vn, fresh)
	f.Put(tables.Roster{Version: 7, VN: 1, Site: "s1"}, fresh)
	return f
}

// "Keeping is a pure function of the documents": whatever order they arrive in, once each, the
// end is the same.
func TestOrderDoesNotMatter(t *testing.T) {
	f := history()
	docs := f.Documents()
	want := slices.Collect(f.View().Digests())
	rapid.Check(t, func(t *rapid.T) {
		s := tables.NewStore(f.View().FederationID())
		for _, d := range rapid.Permutation(docs).Draw(t, "order") {
			s.Put(f.Now, d, tables.FromNetwork) //nolint:errcheck // some are stale, some held
		}
		if got := slices.Collect(s.Digests()); !slices.Equal(got, want) {
			t.Fatalf("got %d documents, want %d:\n%v", len(got), len(want), difference(got, want))
		}
		if ev, n := s.Evidence(); len(ev)+n > 0 {
			t.Fatalf("evidence %v", ev[0].Reason)
		}
	})
}

// The same with the old authority key retired at the end.
func TestOrderDoesNotMatterAfterRetirement(t *testing.T) {
	f := history()
	root2, _ := f.View().Root()
	root3 := root2
	root3.Version = 3
	root3.Authorities = slices.DeleteFunc(slices.Clone(root2.Authorities), func(a tables.AuthorityKey) bool {
		return a.Key == tables.PublicOf(f.Authority)
	})
	f.Put(root3, f.RootKeys...)
	docs := f.Documents()
	want := slices.Collect(f.View().Digests())
	rapid.Check(t, func(t *rapid.T) {
		s := tables.NewStore(f.View().FederationID())
		order := rapid.Permutation(docs).Draw(t, "order")
		for range 2 { // anti-entropy comes round again
			for _, d := range order {
				s.Put(f.Now, d, tables.FromNetwork) //nolint:errcheck // some are stale, some held
			}
		}
		if got := slices.Collect(s.Digests()); !slices.Equal(got, want) {
			t.Fatalf("got %d documents, want %d:\n%v", len(got), len(want), difference(got, want))
		}
	})
}

func difference(a, b []tables.Digest) []tables.Digest {
	var diff []tables.Digest
	for _, d := range append(slices.Clone(a), b...) {
		if slices.Contains(a, d) != slices.Contains(b, d) {
			diff = append(diff, d)
		}
	}
	return diff
}
