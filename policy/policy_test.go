package policy_test

import (
	"crypto/ed25519"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// A world is a federation whose authority decides by package policy.
type world struct {
	*tablestest.Federation
	t     failer
	admin ed25519.PrivateKey // adm of the federation
	auto  string             // AutoAdmit
}

// A failer is a *testing.T or *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newWorld(t failer, seed uint64, routers int) *world {
	f := tablestest.New(seed, routers)
	return &world{Federation: f, t: t, admin: f.AddUser("root", tables.RoleADM, "federation"), auto: "invite"}
}

func (w *world) authority() policy.Authority {
	return policy.Authority{Key: tables.PublicOf(w.Authority), AutoAdmit: w.auto}
}

// request signs a request and stores it.
func (w *world) request(key ed25519.PrivateKey, op string, args any) *tables.Document {
	w.t.Helper()
	d, err := policy.NewRequest(w.Now, w.Random, key, op, args)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.PutDocument(d)
}

// decide answers a request twice, to see that the answers are equal, and stores the answer as the
// authority does.
func (w *world) decide(d *tables.Document) policy.Decision {
	w.t.Helper()
	r := d.Body().(tables.Request)
	decision := w.authority().Decide(w.Now, w.View(), d.Hash(), r)
	again := w.authority().Decide(w.Now, w.View(), d.Hash(), r)
	if diff := cmp.Diff(decision, again, cmpopts.IgnoreUnexported(policy.Decision{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		w.t.Fatalf("two answers to one request:\n%s", diff)
	}
	if decision.State != tables.StateDone && len(decision.Bodies) > 0 {
		w.t.Fatalf("%s with bodies", decision.State)
	}
	if decision.State != tables.StateDone && decision.Reason == "" {
		w.t.Fatalf("%s without a reason", decision.State)
	}
	for _, b := range decision.Bodies {
		w.Put(b, w.Authority)
	}
	old, answered := w.View().Receipt(d.Hash())
	if !answered || old.State != decision.State || old.Reason != decision.Reason {
		w.Put(tables.Receipt{
			Version: old.Version + 1, Request: d.Hash(), State: decision.State,
			Reason: decision.Reason, Result: decision.Result, Issued: w.Now.Unix(),
		}, w.Authority)
	}
	return decision
}

func (w *world) ask(key ed25519.PrivateKey, op string, args any) policy.Decision {
	w.t.Helper()
	return w.decide(w.request(key, op, args))
}

// must fails the test unless d is done with that result.
func (w *world) must(d policy.Decision, result string) policy.Decision {
	w.t.Helper()
	if d.State != tables.StateDone || d.Result != result {
		w.t.Fatalf("%s %q (%s), want done %q", d.State, d.Result, d.Reason, result)
	}
	return d
}

// want fails the test unless d has that state and its reason contains text.
func (w *world) want(d policy.Decision, state, text string) {
	w.t.Helper()
	if d.State != state || !strings.Contains(d.Reason, text) {
		w.t.Fatalf("%s %q: %s; want %s: ...%s...", d.State, d.Result, d.Reason, state, text)
	}
}

func (w *world) refuses(d policy.Decision, text string) {
	w.t.Helper()
	w.want(d, tables.StateRefused, text)
}

// open gives every site a policy that lets hosts into any VN.
func (w *world) open() {
	for _, r := range w.Routers {
		w.Put(tables.Site{Version: 1, Name: r.Site, Consent: "open"}, w.Authority)
	}
}

// replay puts everything ever signed into a fresh store and installs it at every router.
func (w *world) replay() {
	w.t.Helper()
	w.replayFrom(tables.FromDisk)
}

func (w *world) replayFrom(origin tables.Origin) {
	w.t.Helper()
	s := tables.NewStore(w.View().FederationID())
	for _, d := range w.Documents() {
		if o, err := s.Put(w.Now, d, origin); err != nil || o != tables.Kept {
			w.t.Fatalf("fresh store: %s: %s %v", d.Key(), o, err)
		}
	}
	if s.Held() > 0 {
		w.t.Fatalf("fresh store holds %d documents back", s.Held())
	}
	active := 0
	for _, vn := range s.VNs() {
		if vn.State == tables.VNActive {
			active++
		}
	}
	for _, e := range s.Enrolments() {
		installed, problems := tables.NewInstaller(e.Router).Update(s.Snapshot())
		if len(problems) > 0 || len(installed) != active {
			w.t.Fatalf("%s installs %d of %d VNs, problems %+v", e.Router, len(installed), active, problems)
		}
	}
}

func kinds(d policy.Decision) string {
	var list []string
	for _, b := range d.Bodies {
		list = append(list, b.Kind().String())
	}
	return strings.Join(list, " ")
}

func prefixes(text ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range text {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

func addrs(text ...string) []netip.Addr {
	var list []netip.Addr
	for _, s := range text {
		list = append(list, netip.MustParseAddr(s))
	}
	return list
}

// installed returns a VN as router has it.
func (w *world) installed(router tables.RouterID, name string) tables.Installed {
	w.t.Helper()
	list, problems := tables.NewInstaller(router).Update(w.View())
	if len(problems) > 0 {
		w.t.Fatalf("problems: %+v", problems)
	}
	i := slices.IndexFunc(list, func(i tables.Installed) bool { return i.VN.Name == name })
	if i < 0 {
		w.t.Fatalf("VN %s is not installed", name)
	}
	return list[i]
}
