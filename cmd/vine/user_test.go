package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// An office is a desk whose user has a role in a federation, which its VR knows.
type office struct {
	desk
	vr *paperVR
	f  *tablestest.Federation
}

func newOffice(t *testing.T, role tables.Role, scope string) office {
	f := tablestest.New(1, 1)
	f.Now = time.Now() // as the commands have it
	vr := &paperVR{outcome: control.Request{State: "done", Result: "ok"}}
	o := office{newDesk(t, vr), vr, f}
	f.Put(tables.Grant{Version: 1, User: tables.PublicOf(o.user), Name: "me", Role: role, Scope: scope, NotAfter: time.Now().AddDate(0, 1, 0).Unix()}, f.Authority)
	o.tell()
	return o
}

// tell has the VR know what the federation does.
func (o office) tell() {
	o.vr.documents = nil
	for d := range o.f.View().Documents() {
		o.vr.documents = append(o.vr.documents, d.Bytes())
	}
}

// asked returns the one request that was made, and reads its arguments.
func (o office) asked(args any) tables.Request {
	o.t.Helper()
	if len(o.vr.asked) != 1 {
		o.t.Fatalf("%d requests", len(o.vr.asked))
	}
	r := o.vr.asked[0]
	if err := tables.DecodeArgs(r.Args, args); err != nil {
		o.t.Fatal(err)
	}
	return r
}

func TestUserAdd(t *testing.T) {
	ann := tablestest.New(5, 0).Key()
	public := tables.PublicOf(ann)
	o := newOffice(t, tables.RoleADM, "federation")
	code, _, stderr := o.run("user", "add", "ann", "--key", hex.EncodeToString(public[:]), "--role", "vna", "--scope", "vn/blue", "--until", "90d")
	var args policy.UserGrantArgs
	r := o.asked(&args)
	end := time.Now().AddDate(0, 0, 90).Unix()
	if code != 0 || r.Op != policy.OpUserGrant || args.User != public || args.Name != "ann" || args.Role != tables.RoleVNA || args.Scope != "vn/blue" ||
		args.NotAfter > end || args.NotAfter < end-60 {
		t.Errorf("exit %d, %s, %+v, stderr %s", code, r.Op, args, stderr)
	}
	// By fingerprint, who has a role already.
	o.vr.asked = nil
	if code, _, stderr := o.run("user", "add", "ann", "--key", public.Fingerprint(), "--role", "eu", "--scope", "vn/blue"); code != 3 || !strings.Contains(stderr, "vine user key") {
		t.Errorf("unknown fingerprint: exit %d, stderr %s", code, stderr)
	}
	o.f.Put(tables.Grant{Version: 1, User: public, Name: "ann", Role: tables.RoleVNA, Scope: "vn/blue", NotAfter: end}, o.f.Authority)
	o.tell()
	if code, _, stderr := o.run("user", "add", "ann", "--key", public.Fingerprint(), "--role", "eu", "--scope", "vn/blue"); code != 0 {
		t.Errorf("known fingerprint: exit %d, stderr %s", code, stderr)
	}
	if o.asked(&args); args.User != public {
		t.Error("another key")
	}
}

// A delegated key works by itself at a VR that has not heard of it, and can be delegated on, as far as
// it goes.
func TestUserDelegate(t *testing.T) {
	o := newOffice(t, tables.RoleVNA, "vn/blue")
	from := ""
	for step := range tables.DelegationDepth {
		out := filepath.Join(o.dir, "job"+string(rune('0'+step)))
		o.vr.published = nil
		code, stdout, stderr := o.run("user", "delegate", "--role", "eu", "--scope", "vn/blue", "--for", fmt.Sprint(6-step, "h"), "--out", out, "--user", from, "--json")
		var got struct{ Key, Until string }
		if err := json.Unmarshal([]byte(stdout), &got); code != 0 || err != nil {
			t.Fatalf("step %d: exit %d, %v, stderr %s", step, code, err, stderr)
		}
		if st, err := os.Stat(out); err != nil || st.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", st, err)
		}
		if len(o.vr.published) != step+1 {
			t.Fatalf("step %d: the VR got %d documents", step, len(o.vr.published))
		}
		from = out
		// The same key asks, and brings its whole chain.
		o.vr.published, o.vr.asked = nil, nil
		if code, _, stderr := o.run("vn", "leave", "blue", "10.192.0.1", "--user", out); code != 0 || len(o.vr.published) != step+1 || len(o.vr.asked) != 1 {
			t.Fatalf("step %d: exit %d, %d documents, stderr %s", step, code, len(o.vr.published), stderr)
		}
		if key, _ := parseUserKey(got.Key); key != o.vr.asked[0].User {
			t.Error("another key signed")
		}
		store := o.f.Store()
		for _, d := range o.vr.published {
			if outcome, err := store.Put(time.Now(), d, tables.FromDisk); outcome != tables.Kept {
				t.Fatalf("step %d: a VR would not take it: %v", step, err)
			}
		}
	}
	code, _, stderr := o.run("user", "delegate", "--scope", "vn/blue", "--for", "1h", "--out", filepath.Join(o.dir, "one-more"), "--user", from)
	if code != 4 || !strings.Contains(stderr, "no chain of at most 3") {
		t.Errorf("one step too many: exit %d, stderr %s", code, stderr)
	}
}

// Every way of asking for more than one has ends before a key is made.
func TestUserDelegateRefused(t *testing.T) {
	o := newOffice(t, tables.RoleVNA, "vn/blue")
	out := filepath.Join(o.dir, "job")
	for flags, want := range map[string]struct {
		code int
		text string
	}{
		"--role vna --scope vn/red":                {4, "you are not vna in vn/red"},
		"--role sa --scope vn/blue":                {4, "you are not sa"},
		"--role adm --scope federation":            {4, "you are not adm"},
		"--scope vn/blue --for 25h":                {2, "longer takes --until"},
		"--scope vn/blue --for 0h":                 {2, "--for"},
		"--scope vn/blue --for -1h":                {2, "--for"},
		"--scope vn/blue --for soon":               {2, "--for"},
		"--scope vn/blue --until 31d":              {2, "within the next 30 days"},
		"--scope vn/blue --until 2020-01-01":       {2, "within the next 30 days"},
		"--scope vn/blue --until never":            {2, "neither a day"},
		"--scope vn/blue --for 1h --until 2d":      {2, "if any flags in the group"},
		"--role king --scope vn/blue":              {2, "not a role"},
		"--scope planet":                           {2, "not a scope"},
		"--scope federation":                       {2, "at a site or in a VN only"},
		"--scope vn/blue --name Job":               {2, "not a name"},
		"--scope vn/blue --user /nonexistent/key":  {1, "no user key"},
		"--scope vn/blue extra":                    {2, "unexpected argument"},
		"--scope vn/blue --user " + o.dir + "/bad": {1, "line 2 is no delegation"},
	} {
		if err := os.WriteFile(filepath.Join(o.dir, "bad"), []byte(strings.Repeat("01", 32)+"\nnonsense\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := o.run(append([]string{"user", "delegate", "--out", out}, strings.Fields(flags)...)...)
		if code != want.code || !strings.Contains(stderr, want.text) {
			t.Errorf("%s: exit %d, stderr %s", flags, code, stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%s: there is a key", flags)
		}
	}
	// Beyond one's own end.
	short := newOffice(t, tables.RoleVNA, "vn/blue")
	short.f.Put(tables.Grant{Version: 2, User: tables.PublicOf(short.user), Name: "me", Role: tables.RoleVNA, Scope: "vn/blue", NotAfter: time.Now().Add(time.Hour).Unix()}, short.f.Authority)
	short.tell()
	if code, _, stderr := short.run("user", "delegate", "--scope", "vn/blue", "--out", out); code != 4 || !strings.Contains(stderr, "your own right ends") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
}

// What one has delegated one takes back oneself; for the rest the authority is asked.
func TestUserRevoke(t *testing.T) {
	o := newOffice(t, tables.RoleVNA, "vn/blue")
	job := tables.Grant{Version: 1, User: tables.PublicOf(o.f.Key()), Name: "job", Role: tables.RoleEU, Scope: "vn/blue",
		NotAfter: time.Now().Add(time.Hour).Unix(), Parent: tables.PublicOf(o.user)}
	o.f.Put(job, o.user)
	ann := o.f.AddUser("ann", tables.RoleEU, "vn/blue")
	twin := job
	twin.User, twin.Name = tables.PublicOf(o.f.Key()), "twin"
	o.f.Put(twin, o.user)
	twin.User = tables.PublicOf(o.f.Key())
	o.f.Put(twin, o.user)
	o.tell()

	if code, _, stderr := o.run("user", "revoke", "job"); code != 0 || len(o.vr.published) != 1 || len(o.vr.asked) != 0 {
		t.Fatalf("exit %d, stderr %s", code, stderr)
	}
	d := o.vr.published[0]
	if g := d.Body().(tables.Grant); !g.Revoked || g.Version != 2 || g.NotAfter != job.NotAfter || g.Key() != job.Key() {
		t.Errorf("%+v", g)
	}
	store := o.f.Store()
	if outcome, err := store.Put(time.Now(), d, tables.FromNetwork); outcome != tables.Kept || len(store.Grants(job.User, time.Now())) != 0 {
		t.Errorf("%s, %v", outcome, err)
	}
	if code, _, _ := o.run("user", "revoke", "twin", "--yes"); code != 2 {
		t.Errorf("two of one name: exit %d", code)
	}
	if code, _, _ := o.run("user", "revoke", "nobody", "--yes"); code != 3 {
		t.Errorf("nobody: exit %d", code)
	}
	if code, _, stderr := o.run("user", "revoke", "ann"); code != 2 || !strings.Contains(stderr, "--yes") {
		t.Errorf("without a word: exit %d, stderr %s", code, stderr)
	}
	if code, _, stderr := o.run("user", "revoke", "ann", "--scope", "vn/blue", "--reason", "gone", "--yes"); code != 0 {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
	var args policy.UserRevokeArgs
	if r := o.asked(&args); r.Op != policy.OpUserRevoke || args != (policy.UserRevokeArgs{User: tables.PublicOf(ann), Scope: "vn/blue", Reason: "gone"}) {
		t.Errorf("%s %+v", r.Op, args)
	}
}

// A key file is read as it was written, and whatever else it holds is an error that shows nothing of
// it.
func TestKeyFileWithDelegations(t *testing.T) {
	f := tablestest.New(1, 1)
	key := f.Key()
	d := f.SignHead()
	c := credential{key, [][]byte{d.Bytes(), f.SignHead().Bytes()}}
	got, err := parseDelegations(string(c.text()))
	if err != nil || !slices.EqualFunc(got, c.delegations, bytes.Equal) {
		t.Fatalf("%d delegations, %v", len(got), err)
	}
	for _, text := range []string{"x\ndelegation", "x\ndelegation !!!", "x\ndelegation AAAA", "x\nAAAA", "x\n" + strings.Repeat("ab", ed25519.SeedSize)} {
		if list, err := parseDelegations(text); err == nil || strings.Contains(err.Error(), "abab") {
			t.Errorf("%q: %d delegations, %v", text, len(list), err)
		}
	}
	if list, err := parseDelegations("x\n"); err != nil || len(list) > 0 {
		t.Errorf("a plain key: %v, %v", list, err)
	}
}

func TestPendingRequests(t *testing.T) {
	vr := &paperVR{empty: true, waiting: []control.OpenRequest{{
		ID: "3f9a01c2" + strings.Repeat("0", 56), Op: "vn.join", About: "blue 10.192.0.1", User: "ann\x1b[2J", Asked: time.Unix(1_800_000_000, 0), State: "pending", WaitsFor: []string{"east", "west"}, Reason: "waiting",
	}}}
	d := newDesk(t, vr)
	code, stdout, _ := d.run("pending")
	want := "\nREQUEST           OPERATION  ABOUT            USER     ASKED                 WAITS FOR SITE  REASON\n" +
		"3f9a01c200000000  vn.join    blue 10.192.0.1  ann?[2J  2027-01-15T08:00:00Z  east west       waiting\n"
	if code != 0 || stdout != want {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
	code, stdout, _ = d.run("pending", "--json")
	var got struct{ Pending, Requests []map[string]any }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || got.Pending == nil || len(got.Requests) != 1 {
		t.Errorf("exit %d, %v: %s", code, err, stdout)
	}
	// Two sites: which one is meant has to be said; and it has to be a request that waits.
	if code, _, stderr := d.run("consent", "3f9a01c2"); code != 2 || !strings.Contains(stderr, "--site") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
	if code, _, _ := d.run("consent", "00000000"); code != 3 {
		t.Errorf("exit %d", code)
	}
	vr.waiting = append(vr.waiting, control.OpenRequest{ID: "3f9a01c2" + strings.Repeat("1", 56)})
	if code, _, stderr := d.run("consent", "3f9a01c2"); code != 2 || !strings.Contains(stderr, "more of the name") {
		t.Errorf("exit %d, stderr %s", code, stderr)
	}
	if code, _, _ := d.run("consent", "3f9a01c21"); code != 4 {
		t.Errorf("it waits for nobody: exit %d", code)
	}
}

func TestParseUntil(t *testing.T) {
	now := time.Date(2026, 11, 27, 4, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90d": now.AddDate(0, 0, 90), "12h": now.Add(12 * time.Hour), "2027-03-31": time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC),
		"2027-03-31T12:00:00Z": time.Date(2027, 3, 31, 12, 0, 0, 0, time.UTC), "1h30m": now.Add(90 * time.Minute),
	} {
		if got, err := parseUntil(now, text); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "1.5d", "99999999d", "99999999999d", "2027-02-30", "tomorrow", "31.3.2027"} {
		if got, err := parseUntil(now, text); codeOf(err) != exitUsage {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
