package tables_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

func joinArgs(args tables.JoinArgs) []byte {
	b, err := tables.EncodeArgs(args)
	if err != nil {
		panic(err)
	}
	return b
}

// invite makes an invite of user to f that ends in a week.
func invite(f *tablestest.Federation, user ed25519.PrivateKey) tables.Token {
	token, err := tables.NewToken(f.Random, tables.Invite{
		Authority: tables.PublicOf(f.Authority), NotAfter: f.Now.AddDate(0, 0, 7).Unix(),
	}, user)
	if err != nil {
		panic(err)
	}
	return token
}

// joinRequest signs a join request that lives 30 days, with an invite unless token is nil.
func joinRequest(f *tablestest.Federation, token *tables.Token) *tables.Document {
	key := f.Key()
	args := tables.JoinArgs{Link: tables.LinkKey{1}}
	if token != nil {
		args.Invite, args.Proof = token.Document().Bytes(), token.Prove(f.View().FederationID(), tables.PublicOf(key))
	}
	return tablestest.Sign(tables.Request{
		User: tables.PublicOf(key), Op: tables.OpJoin, Args: joinArgs(args), Issued: f.Now.Unix(), NotAfter: f.Now.AddDate(0, 0, 30).Unix(),
	}, key)
}

func receipt(f *tablestest.Federation, request *tables.Document, version uint64, state string, at time.Time) *tables.Document {
	return tablestest.Sign(tables.Receipt{Version: version, Request: request.Hash(), State: state, Issued: at.Unix()}, f.Authority)
}

// What strangers ask for goes: a refused join within the hour, an open one within two days; and it
// does not come back, whichever of request and receipt comes first.
func TestJoinsEnd(t *testing.T) {
	f := tablestest.New(1, 1)
	ann := f.AddUser("ann", tables.RoleADM, "federation")
	token := invite(f, ann)
	open, refused, invited := joinRequest(f, nil), joinRequest(f, nil), joinRequest(f, &token)
	no := receipt(f, refused, 1, tables.StateRefused, f.Now.Add(time.Minute))
	s := f.Store()
	for _, d := range []*tables.Document{open, refused, no, invited} {
		put(t, s, f.Now, d, tables.Kept, nil)
	}
	s.TakeChanges()
	has := func(after time.Duration, want ...*tables.Document) {
		t.Helper()
		s.Expire(f.Now.Add(after))
		for _, d := range []*tables.Document{open, refused, no, invited} {
			if got := s.Get(d.Key()) != nil; got != slices.Contains(want, d) {
				t.Errorf("after %s: %s is there: %v", after, d.Key(), got)
			}
		}
	}
	has(time.Hour, open, refused, no, invited)
	has(67*time.Minute, open, no, invited)
	if c := s.TakeChanges(); len(c) != 1 || c[0].Key != refused.Key() || c[0].Doc != nil {
		t.Errorf("changes %+v", c)
	}
	put(t, s, f.Now.Add(67*time.Minute), refused, tables.Refused, tables.ErrExpired)
	has(48*time.Hour, open, no, invited)
	later := 48*time.Hour + 15*time.Minute
	has(later, invited)
	for _, d := range []*tables.Document{open, refused, no} {
		put(t, s, f.Now.Add(later), d, tables.Refused, tables.ErrExpired)
	}
	if n := s.Held(); n != 0 {
		t.Errorf("%d held", n)
	}
	has(8 * 24 * time.Hour) // the invite has ended

	// The request of a straggler and the receipt meet late.
	at := f.Now.Add(2 * time.Hour)
	for _, order := range [][]*tables.Document{{no, refused}, {refused, no}} {
		s := f.Store()
		for _, d := range order {
			s.Put(at, d, tables.FromNetwork) //nolint:errcheck // judged below
		}
		if s.Get(refused.Key()) != nil || s.Get(no.Key()) == nil {
			t.Errorf("%s first: request %v, receipt %v", order[0].Kind(), s.Get(refused.Key()), s.Get(no.Key()))
		}
	}
	// Nobody prolongs the life of a request by dating it ahead.
	f.Now = f.Now.AddDate(0, 0, 20)
	ahead := joinRequest(f, nil)
	put(t, f.Store(), f.Now.AddDate(0, 0, -1), ahead, tables.Refused, tables.ErrExpired)
}

// Stores that have heard of the same requests and receipts, in whatever order and twice as
// anti-entropy sees to it, hold the same ones once they have looked at the clock.
func TestJoinsEndEverywhere(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		f := tablestest.New(rapid.Uint64().Draw(r, "seed"), 1)
		ann := f.AddUser("ann", tables.RoleADM, "federation")
		start := f.Now
		var docs []*tables.Document
		hours := rapid.IntRange(0, 24*9)
		for range rapid.IntRange(1, 6).Draw(r, "requests") {
			f.Now = start.Add(time.Duration(hours.Draw(r, "issued")) * time.Hour)
			var d *tables.Document
			switch rapid.IntRange(0, 2).Draw(r, "kind") {
			case 0:
				d = joinRequest(f, nil)
			case 1:
				token := invite(f, ann)
				d = joinRequest(f, &token)
			default:
				d = tablestest.Sign(tables.Request{User: tables.PublicOf(ann), Op: "vn.create", Issued: f.Now.Unix(),
					NotAfter: f.Now.Unix() + 3600*int64(hours.Draw(r, "life")+1)}, ann)
			}
			docs = append(docs, d)
			version, at := uint64(0), f.Now
			for _, state := range []string{tables.StatePending, rapid.SampledFrom([]string{tables.StateRefused, tables.StateDone}).Draw(r, "final")} {
				if rapid.Bool().Draw(r, state) {
					version++
					at = at.Add(time.Duration(hours.Draw(r, "answered")) * 10 * time.Minute)
					docs = append(docs, receipt(f, d, version, state, at))
				}
			}
		}
		now := start.Add(time.Duration(24*9+hours.Draw(r, "now")) * time.Hour)
		f.Now = now
		f.SignHead()
		var want string
		for i := range 3 {
			s := f.Store()
			order := rapid.Permutation(docs).Draw(r, "order")
			for range 2 {
				for _, d := range order {
					s.Put(now, d, tables.FromNetwork) //nolint:errcheck // judged below
				}
			}
			s.Expire(now)
			got := ""
			for d := range s.Documents() {
				got += fmt.Sprintln(d.Key(), d.Version())
			}
			if i == 0 {
				want = got
			}
			if got != want {
				r.Fatalf("one store has\n%s\nanother\n%s", want, got)
			}
		}
	})
}

// Junk joins take no place from who was invited, and one invite does not take all places.
func TestJoinQuotas(t *testing.T) {
	f := tablestest.New(1, 1)
	ann := f.AddUser("ann", tables.RoleADM, "federation")
	s := f.Store()
	for range 64 {
		put(t, s, f.Now, joinRequest(f, nil), tables.Kept, nil)
	}
	put(t, s, f.Now, joinRequest(f, nil), tables.Refused, tables.ErrQuota)
	nobody := invite(f, f.Key())
	put(t, s, f.Now, joinRequest(f, &nobody), tables.Refused, tables.ErrQuota)
	one := invite(f, ann)
	for range 4 {
		put(t, s, f.Now, joinRequest(f, &one), tables.Kept, nil)
	}
	put(t, s, f.Now, joinRequest(f, &one), tables.Refused, tables.ErrQuota)
	for range 63 {
		token := invite(f, ann)
		for range 4 {
			put(t, s, f.Now, joinRequest(f, &token), tables.Kept, nil)
		}
	}
	another := invite(f, ann)
	put(t, s, f.Now, joinRequest(f, &another), tables.Refused, tables.ErrQuota)

	// What is refused at once counts too, for its hour.
	s = f.Store()
	for range 256 {
		d := joinRequest(f, nil)
		put(t, s, f.Now, d, tables.Kept, nil)
		put(t, s, f.Now, receipt(f, d, 1, tables.StateRefused, f.Now), tables.Kept, nil)
	}
	last := joinRequest(f, nil)
	put(t, s, f.Now, last, tables.Refused, tables.ErrQuota)
	put(t, s, f.Now, joinRequest(f, &one), tables.Kept, nil)
	put(t, s, f.Now.Add(66*time.Minute), last, tables.Kept, nil)
}

// No join request that no federation would enrol on is kept.
func TestMalformedJoins(t *testing.T) {
	f := tablestest.New(1, 1)
	token := invite(f, f.AddUser("ann", tables.RoleADM, "federation"))
	key := f.Key()
	good := tables.JoinArgs{Name: "lab", Site: "uf", Link: tables.LinkKey{1}, Invite: token.Document().Bytes(),
		Proof: token.Prove(f.View().FederationID(), tables.PublicOf(key))}
	ask := func(args []byte) *tables.Document {
		return tablestest.Sign(tables.Request{User: tables.PublicOf(key), Op: tables.OpJoin, Args: args, Issued: f.Now.Unix(), NotAfter: f.Now.Unix() + 60}, key)
	}
	change := func(change func(*tables.JoinArgs)) []byte {
		args := good
		change(&args)
		return joinArgs(args)
	}
	put(t, f.Store(), f.Now, ask(joinArgs(good)), tables.Kept, nil)
	for name, c := range map[string]struct {
		args []byte
		err  error
	}{
		"no arguments":    {nil, tables.ErrFormat},
		"cut":             {joinArgs(good)[:40], tables.ErrFormat},
		"too big":         {change(func(a *tables.JoinArgs) { a.Invite = bytes.Repeat([]byte{1}, 2048) }), tables.ErrTooBig},
		"name":            {change(func(a *tables.JoinArgs) { a.Name = "NOT A NAME" }), tables.ErrFormat},
		"site":            {change(func(a *tables.JoinArgs) { a.Site = "a\nb" }), tables.ErrFormat},
		"link":            {change(func(a *tables.JoinArgs) { a.Link = tables.LinkKey{} }), tables.ErrFormat},
		"no invite":       {change(func(a *tables.JoinArgs) { a.Invite = nil }), tables.ErrFormat},
		"junk invite":     {change(func(a *tables.JoinArgs) { a.Invite = []byte("junk") }), tables.ErrFormat},
		"another kind":    {change(func(a *tables.JoinArgs) { a.Invite = f.View().Get(tables.RootKey(1)).Bytes() }), tables.ErrFormat},
		"another signer":  {change(func(a *tables.JoinArgs) { a.Invite = tablestest.Sign(token.Invite(), f.Key()).Bytes() }), tables.ErrSignature},
		"stolen":          {change(func(a *tables.JoinArgs) { a.Proof = token.Prove(f.View().FederationID(), tables.PublicOf(f.Key())) }), tables.ErrSignature},
		"proof left away": {change(func(a *tables.JoinArgs) { a.Proof = nil }), tables.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			s := f.Store()
			before := s.Len()
			put(t, s, f.Now, ask(c.args), tables.Refused, c.err)
			if s.Len() != before || s.Held() > 0 {
				t.Error("kept")
			}
		})
	}
}

// A signer whose documents are lost counts on from their marks.
func TestNextVersions(t *testing.T) {
	f := tablestest.New(1, 3)
	f.SetVN("red", f.Hosts(1, 2)...)
	key := tables.PublicOf(f.Authority)
	head, _ := f.View().Head(key)
	lost := tables.NewStore(f.View().FederationID())
	lost.SetHighWater(f.Store().HighWater())
	put(t, lost, f.Now, f.View().Get(tables.RootKey(1)), tables.Kept, nil)
	before := lost.Snapshot()
	if before.NextRouter() != 4 || before.NextVN() != 2 || before.NextVersion(tables.EnrolmentKey(2)) != 2 || before.NextVersion(tables.EnrolmentKey(9)) != 1 {
		t.Errorf("next router %d, VN %d, version %d", before.NextRouter(), before.NextVN(), before.NextVersion(tables.EnrolmentKey(2)))
	}
	next := tables.BuildHead(before, key, f.Now.Unix(), f.Now.Unix()+3600)
	if next.Version != head.Version+1 {
		t.Errorf("head version %d after %d", next.Version, head.Version)
	}
	put(t, lost, f.Now, tablestest.Sign(next, f.Authority), tables.Kept, nil)
	f.Revoke(f.Router(3))
	if got := f.View().NextVersion(tables.LinkRecordKey(3)); got != 1<<32+2 {
		t.Errorf("a link record that a revocation took out counts on at %d", got)
	}
	if before.NextVersion(tables.HeadKey(key)) != head.Version+1 {
		t.Error("a snapshot has changed")
	}
}
