package policy_test

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// Whatever is asked for in whatever order, a fresh store accepts what the authority signs in the
// order of signing, every router installs every VN, a reference keeps the same membership, and
// no host that is in two VNs has two ways to one address.
func TestRandomOperations(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(r, rapid.Uint64().Draw(r, "seed"), 3)
		w.auto = rapid.SampledFrom([]string{"open", "invite", "never"}).Draw(r, "auto")
		users := []ed25519.PrivateKey{w.admin, w.admin, w.admin, w.admin, w.AddUser("sa", tables.RoleSA, "site/s1"), w.AddUser("vna", tables.RoleVNA, "vn/b")}
		newcomers := []ed25519.PrivateKey{w.Key(), w.Key(), w.Key()}
		members := map[string]map[netip.Addr]bool{}
		states := map[string]map[uint64][]netip.Addr{} // the hosts of each VN after each entry of its log
		name := rapid.SampledFrom([]string{"a", "b", "b", "c"})
		host := rapid.Custom(func(r *rapid.T) netip.Addr {
			// The blocks of three VRs, of newcomers, of nobody and a place outside the space.
			third := rapid.SampledFrom([]byte{1, 1, 1, 2, 2, 2, 3, 3, 0, 9}).Draw(r, "block")
			return netip.AddrFrom4([4]byte{10, 192, third, byte(rapid.IntRange(1, 2).Draw(r, "host"))})
		})
		hosts := rapid.SliceOfN(host, 1, 2)
		at := rapid.Custom(func(r *rapid.T) policy.PrefixAt {
			p := rapid.SampledFrom(prefixes("10.192.2.0/24", "10.192.2.0/24", "10.192.2.0/25", "10.192.3.0/24", "10.192.9.0/24", "10.192.8.0/22")).Draw(r, "prefix")
			return policy.PrefixAt{Prefix: p, VR: fmt.Sprintf("vr%d", rapid.IntRange(1, 4).Draw(r, "vr"))}
		})
		for range rapid.IntRange(5, 40).Draw(r, "steps") {
			w.Now = w.Now.Add(time.Second)
			user := rapid.SampledFrom(users).Draw(r, "user")
			if w.openRequests(user) >= 15 {
				user = w.admin // what waits for consent counts
			}
			newcomer := rapid.SampledFrom(newcomers).Draw(r, "newcomer")
			fpr := tables.PublicOf(newcomer).Fingerprint()
			vn, h := name.Draw(r, "vn"), hosts.Draw(r, "hosts")
			switch rapid.SampledFrom([]string{"create", "create", "create", "join", "join", "join", "leave", "shutdown", "merge", "split", "restore", "enter", "admit", "refuse", "revoke", "withdraw", "withdraw", "consent"}).Draw(r, "op") {
			case "withdraw":
				site := rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(r, "site")
				var gone []netip.Addr
				if header, ok := w.View().VNByName(vn); ok {
					roster, _ := w.View().Roster(header.ID, site)
					gone = roster.Hosts
				}
				if w.ask(user, policy.OpWithdraw, policy.WithdrawArgs{Site: site, VN: vn}).State == tables.StateDone {
					for _, a := range gone {
						delete(members[vn], a)
					}
				}
			case "consent":
				for _, d := range w.View().Requests() {
					request := d.Body().(tables.Request)
					for _, site := range policy.WaitsFor(w.Now, w.View(), d.Hash(), request) {
						w.ask(w.admin, policy.OpConsent, policy.ConsentArgs{Request: d.Hash(), Site: site, Refuse: rapid.Bool().Draw(r, "no")})
					}
					if request.Op != policy.OpJoin && w.View().Open(d.Hash()) && w.decide(d).State == tables.StateDone {
						w.remember(members, states, request)
						w.note(r, states)
					}
				}
			case "create":
				args := policy.VNCreateArgs{Name: vn, Hosts: h, Prefixes: rapid.SliceOfN(at, 0, 2).Draw(r, "prefixes")}
				if w.ask(user, policy.OpVNCreate, args).State == tables.StateDone {
					members[vn] = map[netip.Addr]bool{}
					for _, a := range h {
						members[vn][a] = true
					}
				}
			case "join":
				if w.ask(user, policy.OpVNJoin, policy.VNHostsArgs{VN: vn, Hosts: h}).State == tables.StateDone {
					for _, a := range h {
						members[vn][a] = true
					}
				}
			case "leave":
				if w.ask(user, policy.OpVNLeave, policy.VNHostsArgs{VN: vn, Hosts: h}).State == tables.StateDone {
					for _, a := range h {
						delete(members[vn], a)
					}
				}
			case "shutdown":
				if rapid.IntRange(0, 3).Draw(r, "sure") == 0 && w.ask(user, policy.OpVNShutdown, policy.VNArgs{VN: vn}).State == tables.StateDone {
					delete(members, vn)
				}
			case "merge":
				w.askAndRemember(user, policy.OpVNMerge, policy.VNMergeArgs{VN: vn, From: name.Draw(r, "from")}, members, states)
			case "split":
				into := rapid.SampledFrom([]string{"c", "d", "e"}).Draw(r, "into")
				w.askAndRemember(user, policy.OpVNSplit, policy.VNSplitArgs{VN: vn, Into: into, Hosts: h}, members, states)
			case "restore":
				number := uint64(rapid.IntRange(1, 9).Draw(r, "number"))
				w.askAndRemember(user, policy.OpVNRestore, policy.VNRestoreArgs{VN: vn, Number: number}, members, states)
			case "enter":
				if !w.View().Revoked(tables.PublicOf(newcomer)) {
					w.ask(newcomer, policy.OpJoin, joinArgs("new", rapid.SampledFrom([]string{"s1", "s9"}).Draw(r, "site")))
				}
			case "admit":
				w.ask(user, policy.OpAdmit, policy.AdmitArgs{Fingerprint: fpr})
			case "refuse":
				w.ask(user, policy.OpRefuse, policy.RefuseArgs{Fingerprint: fpr})
			case "revoke":
				if rapid.IntRange(0, 3).Draw(r, "sure") == 0 {
					w.ask(user, policy.OpRevoke, policy.RevokeArgs{VR: fmt.Sprintf("vr%d", rapid.IntRange(2, 5).Draw(r, "vr"))})
				}
			}
			w.note(r, states)
		}
		w.checkLogs(r, states)
		w.replay()
		w.replayFrom(tables.FromNetwork) // a VR that hears it all at once
		w.checkMembers(r, members)
		w.checkWays(r)
	})
}

// note writes down in states what VNs consist of now.
func (w *world) note(t *rapid.T, states map[string]map[uint64][]netip.Addr) {
	for _, vn := range w.View().VNs() {
		s, err := policy.StateNow(w.View(), vn)
		if err != nil {
			t.Fatal(err)
		}
		if states[vn.Name] == nil {
			states[vn.Name] = map[uint64][]netip.Addr{}
		}
		states[vn.Name][s.Entry] = s.Hosts
	}
}

// checkLogs compares what the logs tell of earlier states with what was seen then.
func (w *world) checkLogs(t *rapid.T, states map[string]map[uint64][]netip.Addr) {
	for name, seen := range states {
		vn, _ := w.View().VNByName(name)
		for number, hosts := range seen {
			s, err := policy.StateAt(w.View(), vn, number)
			if err != nil || !slices.Equal(s.Hosts, hosts) {
				t.Fatalf("after entry %d VN %s had %v; its log says %v, %v", number, name, hosts, s.Hosts, err)
			}
		}
	}
}

// openRequests counts the requests of a user that have no final answer.
func (w *world) openRequests(user ed25519.PrivateKey) (n int) {
	for _, d := range w.View().Requests() {
		if d.Body().(tables.Request).User == tables.PublicOf(user) && w.View().Open(d.Hash()) {
			n++
		}
	}
	return n
}

// askAndRemember asks, and does to members what was done.
func (w *world) askAndRemember(user ed25519.PrivateKey, op string, args any, members map[string]map[netip.Addr]bool, states map[string]map[uint64][]netip.Addr) {
	d := w.request(user, op, args)
	if w.decide(d).State == tables.StateDone {
		w.remember(members, states, d.Body().(tables.Request))
	}
}

// remember does to members what a request did. states has what VNs consisted of after each entry of their logs.
func (w *world) remember(members map[string]map[netip.Addr]bool, states map[string]map[uint64][]netip.Addr, r tables.Request) {
	var create policy.VNCreateArgs
	var join policy.VNHostsArgs
	var merge policy.VNMergeArgs
	var split policy.VNSplitArgs
	var restore policy.VNRestoreArgs
	decodes := func(op string, args any) bool { return r.Op == op && tables.DecodeArgs(r.Args, args) == nil }
	set := func(vn string, hosts []netip.Addr) {
		members[vn] = map[netip.Addr]bool{}
		for _, a := range hosts {
			members[vn][a] = true
		}
	}
	switch {
	case decodes(policy.OpVNCreate, &create):
		set(create.Name, create.Hosts)
	case decodes(policy.OpVNJoin, &join):
		for _, a := range join.Hosts {
			members[join.VN][a] = true
		}
	case decodes(policy.OpVNMerge, &merge):
		for a := range members[merge.From] {
			members[merge.VN][a] = true
		}
		delete(members, merge.From)
	case decodes(policy.OpVNSplit, &split):
		set(split.Into, split.Hosts)
		for _, a := range split.Hosts {
			delete(members[split.VN], a)
		}
	case decodes(policy.OpVNRestore, &restore):
		set(restore.VN, states[restore.VN][restore.Number])
	}
}

// checkMembers compares what the routers have as local hosts with members, which knows nothing of
// revoked VRs.
func (w *world) checkMembers(t *rapid.T, members map[string]map[netip.Addr]bool) {
	got := map[string]map[netip.Addr]bool{}
	for _, e := range w.View().Enrolments() {
		list, _ := tables.NewInstaller(e.Router).Update(w.View())
		for _, i := range list {
			if got[i.VN.Name] == nil {
				got[i.VN.Name] = map[netip.Addr]bool{}
			}
			for _, h := range i.Local {
				if got[i.VN.Name][h] {
					t.Fatalf("%s is local at two VRs in VN %s", h, i.VN.Name)
				}
				if !members[i.VN.Name][h] {
					t.Fatalf("%s is in VN %s, uncalled for", h, i.VN.Name)
				}
				got[i.VN.Name][h] = true
			}
		}
	}
	if len(w.View().Revocations()) > 0 {
		return
	}
	for name, hosts := range members {
		for h := range hosts {
			if !got[name][h] {
				t.Fatalf("%s is not in VN %s", h, name)
			}
		}
	}
}

// checkWays looks for the same host, at the same VR, in two VNs that deliver a prefix differently.
func (w *world) checkWays(t *rapid.T) {
	for _, e := range w.View().Enrolments() {
		list, _ := tables.NewInstaller(e.Router).Update(w.View())
		for i, a := range list {
			for _, b := range list[i+1:] {
				if slices.ContainsFunc(a.Local, func(h netip.Addr) bool { return slices.Contains(b.Local, h) }) && differ(a, b) {
					t.Fatalf("%s: VNs %s and %s share a host and deliver differently", e.Name, a.VN.Name, b.VN.Name)
				}
			}
		}
	}
}

func differ(a, b tables.Installed) bool {
	for _, s := range a.Sets {
		for _, u := range b.Sets {
			for _, p := range s.Prefixes {
				if !slices.Equal(s.Routers, u.Routers) && slices.ContainsFunc(u.Prefixes, p.Overlaps) {
					return true
				}
			}
		}
	}
	return false
}
