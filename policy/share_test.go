package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

func joinWith(name, site, with string) policy.JoinArgs {
	args := joinArgs(name, site)
	args.With = with
	return args
}

// Who may share the blocks of a VR: whoever brings an invite to its site, or an administrator admits. That anybody may join does
// not let anybody have the traffic of a site's hosts.
func TestJoinWith(t *testing.T) {
	for _, c := range []struct {
		mode, invite, site, with string
		state, reason            string
	}{
		{"open", "", "", "vr1", tables.StatePending, "asks to share the blocks of VR vr1: vine admit "},
		{"open", "any site", "", "vr1", tables.StatePending, "asks to share the blocks of VR vr1: vine admit "},
		{"invite", "any site", "s1", "vr1", tables.StatePending, "asks to share the blocks"},
		{"invite", "s1", "", "vr1", tables.StateDone, ""},
		{"invite", "s1", "s1", "vr1", tables.StateDone, ""},
		{"invite", "s2", "", "vr1", tables.StatePending, "asks to share the blocks"},
		{"never", "s1", "", "vr1", tables.StatePending, "waiting for an administrator"},
		{"open", "", "s2", "vr1", tables.StateRefused, "only within a site"},
		{"open", "", "", "nobody", tables.StateRefused, `no VR is called "nobody"`},
	} {
		t.Run(fmt.Sprintf("%s invite %q site %q with %s", c.mode, c.invite, c.site, c.with), func(t *testing.T) {
			w := newWorld(t, 9, 2)
			w.auto = c.mode
			k, args := w.Key(), joinWith("second", c.site, c.with)
			switch c.invite {
			case "":
			case "any site":
				args = w.invited(w.admin, k, args, tables.Invite{})
			default:
				args = w.invited(w.admin, k, args, tables.Invite{Site: c.invite})
			}
			d := w.ask(k, policy.OpJoin, args)
			if d.State != c.state || !strings.Contains(d.Reason, c.reason) {
				t.Fatalf("%s, %q", d.State, d.Reason)
			}
			if e, ok := w.View().EnrolmentByIdentity(tables.PublicOf(k)); ok != (c.state == tables.StateDone) {
				t.Errorf("enrolled: %v", ok)
			} else if first := w.Router(1); ok && (e.Site != "s1" || !slices.Equal(e.Blocks, w.Enrolment(first).Blocks)) {
				t.Errorf("enrolment %+v", e)
			}
		})
	}
}

// An administrator admits to share blocks, and no more than a delivery set has room for.
func TestAdmitWith(t *testing.T) {
	w := newWorld(t, 9, 2)
	w.auto = "open"
	for n := 3; n <= 2+tables.SharersMax; n++ {
		k := w.Key()
		asked := w.ask(k, policy.OpJoin, joinWith("", "", "vr1"))
		if n == 2+tables.SharersMax {
			if asked.State != tables.StateRefused || !strings.Contains(asked.Reason, "16 VRs share") {
				t.Errorf("one too many: %s %q", asked.State, asked.Reason)
			}
			break
		}
		args := policy.AdmitArgs{Fingerprint: tables.PublicOf(k).Fingerprint()}
		if d := w.ask(w.AddUser("sa", tables.RoleSA, "site/s2"), policy.OpAdmit, args); d.State != tables.StateRefused {
			t.Fatalf("admitted by the administrator of another site: %+v", d)
		}
		d := w.ask(w.admin, policy.OpAdmit, args)
		w.must(d, fmt.Sprintf("vr%d", n))
	}
	if got := len(w.View().Sharers(1)); got != tables.SharersMax {
		t.Errorf("%d VRs share the blocks", got)
	}
	w.replay()
}

// A VN has the whole delivery set, whichever VR of it is named, and keeps its hosts when the one that it was made for is revoked.
func TestVNOfSharedBlocks(t *testing.T) {
	w := newWorld(t, 9, 2)
	w.auto = "invite"
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: addrs("10.192.1.1", "10.192.2.1")}), "vn1")
	k := w.Key()
	w.must(w.ask(k, policy.OpJoin, w.invited(w.admin, k, joinWith("second", "", "vr1"), tables.Invite{Site: "s1"})), "vr3")
	sets := func(vn string) string {
		t.Helper()
		header, _ := w.View().VNByName(vn)
		m, _ := w.View().Manifest(header.ID)
		var list []string
		for _, f := range m.Fragments {
			list = append(list, f.Set)
		}
		return strings.Join(list, " ")
	}
	installed := func(self tables.RouterID, vn int) string {
		t.Helper()
		got, _ := tables.NewInstaller(self).Update(w.View())
		var list []string
		for _, s := range got[vn].Sets {
			list = append(list, tables.SetID(s.Routers))
		}
		return strings.Join(list, " ") + fmt.Sprint(" ", got[vn].Local)
	}
	// Nothing was signed, and yet both deliver.
	if sets("red") != "1 2" || installed(3, 0) != "1+3 2 [10.192.1.1]" || installed(2, 0) != "1+3 2 [10.192.2.1]" {
		t.Errorf("signed %s, installed %s and %s", sets("red"), installed(3, 0), installed(2, 0))
	}
	// The next versions name all of them, also where a prefix is given to one.
	w.must(w.ask(w.admin, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: addrs("10.192.1.1"),
		Prefixes: []policy.PrefixAt{{Prefix: prefixes("10.192.77.0/24")[0], VR: "second"}}}), "vn2")
	w.must(w.ask(w.admin, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: addrs("10.192.1.2")}), "vn1")
	if sets("red") != "1+3 2" || sets("blue") != "1+3" {
		t.Errorf("signed %s and %s", sets("red"), sets("blue"))
	}
	// The first VR goes for good: what it delivered the other one delivers, before and after the next version.
	w.must(w.ask(w.admin, policy.OpRevoke, policy.RevokeArgs{VR: "vr1"}), "vr1")
	if installed(3, 0) != "2 3 [10.192.1.1 10.192.1.2]" {
		t.Errorf("installed %s", installed(3, 0))
	}
	w.must(w.ask(w.admin, policy.OpVNLeave, policy.VNHostsArgs{VN: "red", Hosts: addrs("10.192.1.2")}), "vn1")
	if sets("red") != "2 3" || installed(3, 0) != "2 3 [10.192.1.1]" {
		t.Errorf("signed %s, installed %s", sets("red"), installed(3, 0))
	}
	w.replay()
}
