package policy_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

func joinArgs(name, site string) policy.JoinArgs {
	return policy.JoinArgs{Name: name, Site: site, Link: tables.LinkKey{1}}
}

// invited returns join arguments with an invite of inviter that identity can redeem.
func (w *world) invited(inviter, identity ed25519.PrivateKey, args policy.JoinArgs, invite tables.Invite) policy.JoinArgs {
	w.t.Helper()
	if invite.Authority.IsZero() {
		invite.Authority = tables.PublicOf(w.Authority)
	}
	if invite.NotAfter == 0 {
		invite.NotAfter = w.Now.Add(time.Hour).Unix()
	}
	token, err := tables.NewToken(w.Random, invite, inviter)
	if err != nil {
		w.t.Fatal(err)
	}
	args.Invite = token.Document().Bytes()
	args.Proof = token.Prove(w.View().FederationID(), tables.PublicOf(identity))
	return args
}

func TestJoinOpen(t *testing.T) {
	w := newWorld(t, 1, 2)
	w.auto = "open"
	k := w.Key()
	d := w.must(w.ask(k, policy.OpJoin, joinArgs("lab", "uf")), "vr3")
	if got := kinds(d); got != "site enrolment" {
		t.Errorf("bodies %s", got)
	}
	e, _ := w.View().EnrolmentByIdentity(tables.PublicOf(k))
	if e.Name != "lab" || e.Site != "uf" || !e.MayQueue || e.NotAfter-e.NotBefore != 400*24*3600 {
		t.Errorf("enrolment %+v", e)
	}
	root, _ := w.View().Root()
	if len(e.Blocks) != 2 || e.Blocks[0].String() != "10.192.0.0/24" || e.Blocks[1].Bits() != 64 || !root.Space[1].Contains(e.Blocks[1].Addr()) {
		t.Errorf("blocks %v", e.Blocks)
	}
	// The same identity again is the same router; another one at the same site gets its own
	// name and blocks, and the site is there already.
	if d := w.must(w.ask(k, policy.OpJoin, joinArgs("other", "uf")), "vr3"); len(d.Bodies) > 0 {
		t.Errorf("joined twice: %s", kinds(d))
	}
	w.auto = "never"
	w.must(w.ask(k, policy.OpJoin, joinArgs("other", "uf")), "vr3")
	w.auto = "open"
	d = w.must(w.ask(w.Key(), policy.OpJoin, joinArgs("lab", "uf")), "vr4")
	e, _ = w.View().Enrolment(4)
	if kinds(d) != "enrolment" || e.Name != "lab-2" || e.Blocks[0].String() != "10.192.3.0/24" {
		t.Errorf("%s %+v", kinds(d), e)
	}
	long := strings.Repeat("x", 63)
	w.ask(w.Key(), policy.OpJoin, joinArgs(long, "uf"))
	w.must(w.ask(w.Key(), policy.OpJoin, joinArgs(long, "uf")), "vr6")
	if e, _ = w.View().Enrolment(6); e.Name != long[:61]+"-2" {
		t.Errorf("name %s", e.Name)
	}
	w.must(w.ask(w.Key(), policy.OpJoin, joinArgs("", "")), "vr7")
	if e, _ = w.View().Enrolment(7); e.Name != "vr7" || e.Site != "vr7" {
		t.Errorf("defaults %+v", e)
	}
	w.replay()
}

func TestJoinModes(t *testing.T) {
	for _, c := range []struct {
		mode, invite, state, reason string
	}{
		{"open", "", tables.StateDone, ""},
		{"open", "good", tables.StateDone, ""},
		{"open", "expired", tables.StateRefused, "expired"},
		{"invite", "", tables.StatePending, "waiting for an administrator: vine admit "},
		{"invite", "good", tables.StateDone, ""},
		{"invite", "site", tables.StateDone, ""},
		{"invite", "sa", tables.StateDone, ""},
		{"invite", "sa of another site", tables.StateRefused, "may not invite to site"},
		{"invite", "eu", tables.StateRefused, "may not invite to site"},
		{"invite", "stranger", tables.StateRefused, "no grant"},
		{"invite", "expired", tables.StateRefused, "expired"},
		{"invite", "spent", tables.StateRefused, "spent"},
		{"invite", "stolen", tables.StateRefused, "bad signature"},
		{"invite", "junk", tables.StateRefused, "malformed"},
		{"invite", "not an invite", tables.StateRefused, "another kind"},
		{"invite", "no such authority", tables.StateRefused, "another authority"},
		{"never", "", tables.StatePending, "waiting for an administrator"},
		{"never", "good", tables.StatePending, "waiting for an administrator"},
		{"never", "expired", tables.StateRefused, "expired"},
		{"typo", "", tables.StatePending, "waiting for an administrator"},
		{"typo", "good", tables.StatePending, "waiting for an administrator"},
	} {
		t.Run(c.mode+" "+c.invite, func(t *testing.T) {
			w := newWorld(t, 2, 1)
			k, args := w.Key(), joinArgs("lab", "uf")
			switch c.invite {
			case "":
			case "good":
				args = w.invited(w.admin, k, args, tables.Invite{})
			case "site":
				args.Site = "elsewhere"
				args = w.invited(w.admin, k, args, tables.Invite{Site: "uf"})
			case "sa":
				args = w.invited(w.AddUser("sa", tables.RoleSA, "site/uf"), k, args, tables.Invite{})
			case "sa of another site":
				args = w.invited(w.AddUser("sa", tables.RoleSA, "site/s1"), k, args, tables.Invite{})
			case "eu":
				args = w.invited(w.AddUser("eu", tables.RoleEU, "site/uf"), k, args, tables.Invite{})
			case "stranger":
				args = w.invited(w.Key(), k, args, tables.Invite{})
			case "expired":
				args = w.invited(w.admin, k, args, tables.Invite{NotAfter: w.Now.Add(-time.Hour).Unix()})
			case "spent":
				w.auto = "invite"
				first := w.Key()
				args = w.invited(w.admin, first, args, tables.Invite{})
				w.must(w.ask(first, policy.OpJoin, args), "vr2")
				token, err := tables.NewToken(w.Random, tables.Invite{Authority: tables.PublicOf(w.Authority), NotAfter: w.Now.Add(time.Hour).Unix()}, w.admin)
				if err != nil {
					t.Fatal(err)
				}
				args.Invite, args.Proof = token.Document().Bytes(), token.Prove(w.View().FederationID(), tables.PublicOf(first))
				second := w.Key()
				again := policy.JoinArgs{Name: "b", Site: "uf", Link: args.Link, Invite: args.Invite}
				again.Proof = token.Prove(w.View().FederationID(), tables.PublicOf(second))
				w.must(w.ask(second, policy.OpJoin, again), "vr3")
				args.Proof = token.Prove(w.View().FederationID(), tables.PublicOf(k))
			case "stolen": // the proof is for another identity
				args = w.invited(w.admin, w.Key(), args, tables.Invite{})
			case "junk":
				args.Invite = []byte("junk")
			case "not an invite":
				args.Invite = w.Documents()[0].Bytes()
			case "no such authority":
				args = w.invited(w.admin, k, args, tables.Invite{Authority: tables.PublicOf(w.admin)})
			}
			w.auto = c.mode
			d := w.ask(k, policy.OpJoin, args)
			w.want(d, c.state, c.reason)
			if e, ok := w.View().EnrolmentByIdentity(tables.PublicOf(k)); ok && e.Site != "uf" {
				t.Errorf("site %s", e.Site)
			}
			if len(d.Reason) > 256 {
				t.Errorf("reason of %d bytes", len(d.Reason))
			}
			w.replay()
		})
	}
}

func TestJoinRefuses(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		args         policy.JoinArgs
	}{
		{"name", "choose another with --name", joinArgs("My Lab", "uf")},
		{"name of escapes", `\x1b`, joinArgs("\x1b[2J", "uf")},
		{"long name", "choose another with --name", joinArgs(strings.Repeat("x", 4000), "uf")},
		{"site", "choose another with --site", joinArgs("lab", "u/f")},
		{"link", "no link key", policy.JoinArgs{Name: "lab", Site: "uf"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 3, 1)
			w.auto = "open"
			w.refuses(w.ask(w.Key(), policy.OpJoin, c.args), c.reason)
		})
	}
	w := newWorld(t, 3, 1)
	w.refuses(w.ask(w.Key(), policy.OpJoin, policy.VNArgs{VN: "x"}), "malformed")
	// The authority, not the store, refuses whoever is revoked: the request may have come first.
	w.Revoke(w.Routers[0])
	r := tables.Request{User: w.Routers[0].Key(), Op: policy.OpJoin, NotAfter: w.Now.Add(time.Hour).Unix()}
	r.Args, _ = tables.EncodeArgs(joinArgs("a", "b"))
	w.refuses(w.authority().Decide(w.Now, w.View(), tables.Hash{1}, r), "revoked")
}

func TestNoReuse(t *testing.T) {
	w := newWorld(t, 4, 3)
	w.auto = "open"
	w.must(w.ask(w.admin, policy.OpRevoke, policy.RevokeArgs{VR: "vr3", Reason: "lost"}), "vr3")
	w.must(w.ask(w.Key(), policy.OpJoin, joinArgs("vr3", "s3")), "vr4")
	e, _ := w.View().Enrolment(4)
	if e.Name != "vr3-2" || slices.Contains(e.Blocks, w.Routers[2].Block4) {
		t.Errorf("%+v", e)
	}
}

// When nothing else is left, blocks of revoked VRs are given again, then nothing is.
func TestSpaceExhausted(t *testing.T) {
	now := tablestest.Epoch
	founding := founding()
	founding.Space = prefixes("10.192.0.0/22")
	f, err := policy.Found(now, founding)
	if err != nil {
		t.Fatal(err)
	}
	s := tables.NewStore(tables.Hash{})
	put := func(b tables.Body, k ed25519.PrivateKey) {
		t.Helper()
		if o, err := s.Put(now, tablestest.Sign(b, k), tables.FromDisk); o != tables.Kept {
			t.Fatalf("%s: %s %v", b.Kind(), o, err)
		}
	}
	put(f.Root, key(1))
	for _, b := range f.Authority {
		put(b, key(2))
	}
	a := policy.Authority{Key: founding.Authority, AutoAdmit: "open"}
	join := func(n byte) policy.Decision {
		t.Helper()
		r := tables.Request{User: tables.PublicOf(key(n)), Op: policy.OpJoin, Issued: now.Unix(), NotAfter: now.Unix() + 60}
		r.Args, _ = tables.EncodeArgs(joinArgs("x", "x"))
		d := a.Decide(now, s.Snapshot(), tables.Hash{n}, r)
		for _, b := range d.Bodies {
			put(b, key(2))
		}
		return d
	}
	for n := byte(10); n < 13; n++ {
		if d := join(n); d.State != tables.StateDone {
			t.Fatal(d.Reason)
		}
	}
	if d := join(13); d.State != tables.StateRefused || !strings.Contains(d.Reason, "no free /24 is left") {
		t.Fatalf("%s %s", d.State, d.Reason)
	}
	e, _ := s.Enrolment(3)
	put(tables.Revocation{Version: 1, Identity: e.Identity, Issued: now.Unix()}, key(2))
	if d := join(13); d.Result != "vr5" {
		t.Fatalf("%s %s", d.State, d.Reason)
	}
	if e, _ := s.Enrolment(5); !slices.Equal(e.Blocks, prefixes("10.192.2.0/24")) {
		t.Errorf("blocks %v", e.Blocks)
	}
}

func TestAdmit(t *testing.T) {
	w := newWorld(t, 6, 1)
	k := w.Key()
	join := w.request(k, policy.OpJoin, joinArgs("lab", "uf"))
	w.want(w.decide(join), tables.StatePending, "vine admit "+tables.PublicOf(k).Fingerprint())
	w.refuses(w.ask(w.AddUser("sa1", tables.RoleSA, "site/s1"), policy.OpAdmit, policy.AdmitArgs{Fingerprint: tables.PublicOf(k).Fingerprint()}), "may not admit")
	w.refuses(w.ask(w.admin, policy.OpAdmit, policy.AdmitArgs{Fingerprint: "abc\x1b"}), "vine pending")
	w.refuses(w.ask(w.admin, policy.OpAdmit, policy.AdmitArgs{Fingerprint: tables.PublicOf(k).Fingerprint(), Name: "A"}), "VR name")
	fpr := strings.ToUpper(tables.PublicOf(k).Fingerprint())
	d := w.must(w.ask(w.AddUser("sa2", tables.RoleSA, "site/uf"), policy.OpAdmit, policy.AdmitArgs{Fingerprint: fpr[:4] + "-" + fpr[4:], Name: "gate"}), "vr2")
	if kinds(d) != "site enrolment receipt" {
		t.Errorf("bodies %s", kinds(d))
	}
	r, _ := w.View().Receipt(join.Hash())
	e, _ := w.View().Enrolment(2)
	if r.State != tables.StateDone || r.Result != "vr2" || r.Version != 2 || e.Name != "gate" || e.Request != join.Hash() {
		t.Errorf("receipt %+v, enrolment %+v", r, e)
	}
	// Whoever is too late gets the same answer, who may not do it none.
	w.must(w.ask(w.admin, policy.OpAdmit, policy.AdmitArgs{Fingerprint: fpr}), "vr2")
	w.refuses(w.ask(w.AddUser("sa3", tables.RoleSA, "site/s1"), policy.OpAdmit, policy.AdmitArgs{Fingerprint: fpr}), "already")
	w.must(w.decide(join), "vr2")
	w.replay()
}

// A person who admits may move the newcomer only to a site of theirs.
func TestAdmitMoves(t *testing.T) {
	w := newWorld(t, 7, 1)
	w.auto = "never"
	k := w.Key()
	args := w.invited(w.admin, k, joinArgs("lab", "uf"), tables.Invite{})
	w.want(w.ask(k, policy.OpJoin, args), tables.StatePending, "waiting")
	sa := w.AddUser("sa", tables.RoleSA, "site/uf")
	fpr := tables.PublicOf(k).Fingerprint()
	w.refuses(w.ask(sa, policy.OpAdmit, policy.AdmitArgs{Fingerprint: fpr, Site: "s1"}), "may not admit")
	w.must(w.ask(w.admin, policy.OpAdmit, policy.AdmitArgs{Fingerprint: fpr, Site: "s1"}), "vr2")
	e, _ := w.View().Enrolment(2)
	if e.Site != "s1" || e.Invite.IsZero() {
		t.Errorf("%+v: the invite is not spent or the site another", e)
	}
	w.replay()
}

// A site's administrator may take in who has misspelled the site, and not who wants to another.
func TestAdmitTakes(t *testing.T) {
	w := newWorld(t, 12, 2)
	sa := w.AddUser("sa", tables.RoleSA, "site/s1")
	for site, want := range map[string]string{"s-1": tables.StateDone, "s2": tables.StateRefused} {
		k := w.Key()
		w.ask(k, policy.OpJoin, joinArgs("lab", site))
		d := w.ask(sa, policy.OpAdmit, policy.AdmitArgs{Fingerprint: tables.PublicOf(k).Fingerprint(), Site: "s1"})
		if d.State != want {
			t.Errorf("asked for %s: %s (%s), want %s", site, d.State, d.Reason, want)
		}
	}
	w.replay()
}

func TestRefuse(t *testing.T) {
	w := newWorld(t, 8, 1)
	k := w.Key()
	fpr := tables.PublicOf(k).Fingerprint()
	first := w.request(k, policy.OpJoin, joinArgs("lab", "uf"))
	second := w.request(k, policy.OpJoin, joinArgs("lab", "uf2"))
	w.decide(first)
	w.refuses(w.ask(w.AddUser("sa", tables.RoleSA, "site/uf"), policy.OpRefuse, policy.RefuseArgs{Fingerprint: fpr}), "may not refuse")
	w.refuses(w.ask(w.admin, policy.OpRefuse, policy.RefuseArgs{Fingerprint: fpr, Reason: "a\nb"}), "cannot be printed")
	w.must(w.ask(w.admin, policy.OpRefuse, policy.RefuseArgs{Fingerprint: fpr, Reason: "who are you?"}), "")
	for _, d := range []*tables.Document{first, second} {
		if r, _ := w.View().Receipt(d.Hash()); r.State != tables.StateRefused || r.Reason != "who are you?" {
			t.Errorf("receipt %+v", r)
		}
	}
	w.refuses(w.ask(w.admin, policy.OpRefuse, policy.RefuseArgs{Fingerprint: fpr}), "nobody")
	w.refuses(w.ask(w.admin, policy.OpRefuse, policy.RefuseArgs{Fingerprint: w.Routers[0].Key().Fingerprint()}), "already")
	w.replay()
}

func TestRevoke(t *testing.T) {
	w := newWorld(t, 9, 3)
	w.SetVN("red", w.Hosts(1, 2, 3)...)
	w.refuses(w.ask(w.admin, policy.OpRevoke, policy.RevokeArgs{VR: "nobody"}), "vine vrs")
	w.refuses(w.ask(w.admin, policy.OpRevoke, policy.RevokeArgs{VR: "vr1", Reason: strings.Repeat("x", 257)}), "longer")
	w.refuses(w.ask(w.AddUser("sa", tables.RoleSA, "site/s1"), policy.OpRevoke, policy.RevokeArgs{VR: "vr2"}), "may not revoke")
	d := w.must(w.ask(w.admin, policy.OpRevoke, policy.RevokeArgs{VR: "vr2", Reason: "stolen"}), "vr2")
	if kinds(d) != "revocation" || !w.View().Revoked(w.Routers[1].Key()) {
		t.Errorf("bodies %s", kinds(d))
	}
	w.refuses(w.ask(w.admin, policy.OpRevoke, policy.RevokeArgs{VR: "vr2"}), "revoked already")
	// The next version of the VN does without it and its hosts.
	d = w.must(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: addrs(w.Routers[0].Host(9).String())}), "vn1")
	if got := kinds(d); got != "vn manifest roster roster entry" {
		t.Errorf("bodies %s", got)
	}
	if r, _ := w.View().Roster(1, "s2"); len(r.Hosts) > 0 {
		t.Errorf("hosts of a revoked VR: %v", r.Hosts)
	}
	w.replay()
}

func TestDecideEnds(t *testing.T) {
	w := newWorld(t, 10, 1)
	w.refuses(w.ask(w.admin, "vn.paint", policy.VNArgs{VN: "x"}), "unknown to this authority")
	d := w.request(w.Key(), policy.OpJoin, joinArgs("a", "b"))
	r := d.Body().(tables.Request)
	a := w.authority()
	a.AutoAdmit = "open"
	w.want(a.Decide(w.Now.AddDate(0, 0, 31), w.View(), d.Hash(), r), tables.StateRefused, "ask again")
	w.want(a.Decide(w.Now.AddDate(6, 0, 0), w.View(), d.Hash(), r), tables.StatePending, "new root")
	a.Key = tables.PublicOf(w.admin)
	w.want(a.Decide(w.Now, w.View(), d.Hash(), r), tables.StatePending, "new root")
}

func TestRenewals(t *testing.T) {
	w := newWorld(t, 11, 3)
	w.Revoke(w.Routers[2])
	at := func(days int) []tables.Body { return w.authority().Renewals(w.Now.AddDate(0, 0, days), w.View()) }
	if got := at(199); len(got) > 0 {
		t.Fatalf("renewed early: %+v", got)
	}
	for _, days := range []int{200, 399, 401} { // also late
		if got := at(days); len(got) != 2 {
			t.Fatalf("%d renewals after %d days", len(got), days)
		}
	}
	list := at(201)
	w.Now = w.Now.AddDate(0, 0, 201)
	for _, b := range list {
		w.Put(b, w.Authority)
	}
	e, _ := w.View().Enrolment(1)
	if e.Version != 2 || e.NotAfter != w.Now.AddDate(0, 0, 400).Unix() || e.Name != "vr1" || len(e.Blocks) != 2 {
		t.Errorf("%+v", e)
	}
	if got := at(0); len(got) > 0 {
		t.Errorf("renewed twice: %+v", got)
	}
	// Not with a key that is none of root's.
	stranger := policy.Authority{Key: tables.PublicOf(w.admin)}
	if got := stranger.Renewals(w.Now.AddDate(0, 0, 300), w.View()); len(got) > 0 {
		t.Errorf("a stranger renews %+v", got)
	}
	w.replay()
}
