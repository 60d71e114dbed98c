package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// TestTables compares what the looking commands print with what a user should see. Nothing that
// steers a terminal gets through.
func TestTables(t *testing.T) {
	d := newDesk(t, &paperVR{})
	for command, want := range map[string]string{
		"members": "NAME   ROUTER  STATUS  TAGS\n" +
			"tokyo  vr1     alive   kind=regular,site=east\n",
		"sites": "NAME  VRS    CONTACT                       LOCATION  SUBNETS\n" +
			"east  tokyo  ops@tokyo.example?]0;gotcha?  -         -\n",
		"vrs": "NAME   ROUTER  SITE  KIND  LINKED  BLOCKS  ENDPOINTS         EXPIRES     SOFTWARE\n" +
			"tokyo  vr1     east  -     no      -       203.0.113.5:8463  2027-01-15  -\n",
		"hosts": "ADDRESS      VN    SITE  VR     NAME\n" +
			"10.192.0.10  blue  east  tokyo  -\n",
		"host list": "NAME  ADDRESS      MAC                VNS\n" +
			"desk  10.192.0.10  02:00:5e:10:00:01  blue\n",
		"host requests": "ID  NAME  MAC                FROM          VN    ASKED       STATE    ADDRESS\n" +
			"3   lamp  02:00:5e:10:00:02  192.168.1.20  blue  2027-01-15  waiting  -\n",
		"routes": "VN    PREFIX         VRS    VIA\n" +
			"blue  10.192.0.0/24  tokyo  local\n" +
			"blue  10.192.1.0/24  osaka  203.0.113.5:8463\n" +
			"blue  10.192.2.0/24  kyoto  no link\n",
		"links": "PEER   STATE  PATH     VIA    TRANSPORT  RTT   LOSS   MTU   BANDWIDTH                           USED      KEY AGE  CHANNELS\n" +
			"osaka  up     relayed  kyoto  tls        13ms  1.2 %  1392  17.4 Mb/s (at least, traffic, 3 s)  950 kb/s  1m1s     blue\n",
		"pending": "FINGERPRINT                       NAME   SITE  SHARES BLOCKS WITH  ASKED                 REASON\n" +
			"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb  osaka  -     -                   2027-01-15T08:00:00Z  -\n",
		"user list": "NAME     ROLE  SCOPE    UNTIL                 STATE   GIVEN BY           FINGERPRINT\n" +
			"ann?[2J  vna   vn/blue  2027-01-15T08:00:00Z  active  delegated by root  cccccccccccccccccccccccccccccccc\n",
		"site show east": "name                 east\ncontact              ops@tokyo.example?]0;gotcha?\nlocation             -\nsubnets              -\n" +
			"VRs                  tokyo\nconsent              ask\nwithout asking: VNs  blue red\n  with sites         -\n  by users           -\nhas left             -\n",
		"vn list": "NAME  ID   STATE   SEAL     VERSION  INSTALLED  SETS  HOSTS\n" +
			"blue  vn7  active  encrypt  3        3          1     1\n",
		"vn show blue": "name       blue\nID         vn7\nstate      active\nseal       encrypt\nversion    3\ninstalled  3\n" +
			"delivers   tokyo: 10.192.0.0/24\n\nADDRESS      SITE  VR\n10.192.0.10  east  tokyo\n",
	} {
		code, stdout, stderr := d.run(strings.Fields(command)...)
		if diff := cmp.Diff(want, stdout); code != 0 || stderr != "" || diff != "" {
			t.Errorf("vine %s: exit %d, stderr %q, difference (-want +got):\n%s", command, code, stderr, diff)
		}
	}
	code, stdout, _ := d.run("status")
	for _, want := range []string{"VR           tokyo (vr1)\n", "dropped      2 no-route\n", "problem      the disk?[2J is full\n", "started      2027-01-15T08:00:00Z, boot 4\n",
		"kind         regular (confirmed: dialled back)\n", "NAT          mapping endpoint-independent, filtering unknown\n", "queue-VRs    osaka kyoto\n", "draining     no\n"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("vine status lacks %q (exit %d):\n%s", want, code, stdout)
		}
	}
}

// TestJSONIsOneDocument checks that with --json every looking command prints one document with a
// schema version, also when there is nothing to list, and that lists are never null.
func TestJSONIsOneDocument(t *testing.T) {
	for _, vr := range []*paperVR{{}, {empty: true}} {
		d := newDesk(t, vr)
		for command, list := range map[string]string{
			"status": "", "members": "members", "sites": "sites", "vrs": "vrs", "hosts": "hosts", "routes": "routes",
			"host list": "lan_hosts", "host requests": "host_requests", "vn log blue": "", "vn plan leave blue 10.192.0.10": "", "vn compare blue 1": "",
			"links": "links", "queues": "", "paths osaka": "", "drain -q": "", "drain --undo -q": "", "pending": "pending", "user list": "users", "vn list": "vns", "vn show blue": "", "reload": "",
		} {
			code, stdout, stderr := d.run(append(strings.Fields(command), "--json")...)
			var got map[string]any
			if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || stderr != "" {
				t.Errorf("vine %s --json: exit %d, err %v, stderr %q:\n%s", command, code, err, stderr, stdout)
				continue
			}
			if got["schema_version"] != 1.0 {
				t.Errorf("vine %s --json: schema_version %v", command, got["schema_version"])
			}
			want := 1
			if vr.empty {
				want = 0
			}
			if rows, ok := got[list].([]any); list != "" && list != "routes" && (!ok || len(rows) != want) {
				t.Errorf("vine %s --json: %s is %v, want a list of %d", command, list, got[list], want)
			}
		}
	}
}

// TestNothingToList says so on standard error, and with -q nowhere.
func TestNothingToList(t *testing.T) {
	d := newDesk(t, &paperVR{empty: true})
	if code, stdout, stderr := d.run("pending"); code != 0 || stdout != "" || stderr != "nobody waits for admission\n" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, stdout, stderr := d.run("pending", "-q"); code != 0 || stdout+stderr != "" {
		t.Errorf("with -q: exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestRequests checks what each changing command asks for: the operation, its arguments, who signs.
func TestRequests(t *testing.T) {
	fingerprint := strings.Repeat("a", 32)
	for command, want := range map[string]struct {
		op   string
		args any
	}{
		"admit AAAA-aaaa-aaaa-aaaa:aaaa-aaaa-aaaa-aaaa": {policy.OpAdmit, &policy.AdmitArgs{Fingerprint: fingerprint}},
		"admit --name osaka --site west " + fingerprint: {policy.OpAdmit, &policy.AdmitArgs{Fingerprint: fingerprint, Name: "osaka", Site: "west"}},
		"refuse --reason unknown " + fingerprint:        {policy.OpRefuse, &policy.RefuseArgs{Fingerprint: fingerprint, Reason: "unknown"}},
		"revoke osaka --reason stolen --yes":            {policy.OpRevoke, &policy.RevokeArgs{VR: "osaka", Reason: "stolen"}},
		"vn create red --host 10.192.0.1,10.192.1.1 --host fd00::1 --prefix 10.200.0.0/28@tokyo": {policy.OpVNCreate, &policy.VNCreateArgs{
			Name: "red", Seal: tables.SealEncrypt, Hosts: addrs("10.192.0.1", "10.192.1.1", "fd00::1"),
			Prefixes: []policy.PrefixAt{{Prefix: netip.MustParsePrefix("10.200.0.0/28"), VR: "tokyo"}},
		}},
		"vn create red --auth-only --host ::ffff:10.192.0.1": {policy.OpVNCreate, &policy.VNCreateArgs{
			Name: "red", Seal: tables.SealAuth, Hosts: addrs("10.192.0.1"), Prefixes: []policy.PrefixAt{},
		}},
		"vn merge blue green --yes":             {policy.OpVNMerge, &policy.VNMergeArgs{VN: "blue", From: "green"}},
		"vn split blue --into green 10.192.0.1": {policy.OpVNSplit, &policy.VNSplitArgs{VN: "blue", Into: "green", Hosts: addrs("10.192.0.1")}},
		"vn update blue --seal auth --add 10.200.0.0/28@tokyo --remove 10.200.1.0/28 --disable 10.200.2.0/28 --enable 10.200.3.0/28": {policy.OpVNUpdate, &policy.VNUpdateArgs{
			VN: "blue", Seal: tables.SealAuth, Add: []policy.PrefixAt{{Prefix: netip.MustParsePrefix("10.200.0.0/28"), VR: "tokyo"}},
			Remove: []netip.Prefix{netip.MustParsePrefix("10.200.1.0/28")}, Disable: []netip.Prefix{netip.MustParsePrefix("10.200.2.0/28")},
			Enable: []netip.Prefix{netip.MustParsePrefix("10.200.3.0/28")},
		}},
		"vn restore blue 4":                  {policy.OpVNRestore, &policy.VNRestoreArgs{VN: "blue", Number: 4}},
		"disable osaka":                      {policy.OpVRDisable, &policy.VRArgs{VR: "osaka"}},
		"enable osaka":                       {policy.OpVREnable, &policy.VRArgs{VR: "osaka"}},
		"host add lamp --vn blue":            {policy.OpVNJoin, &policy.VNHostsArgs{VN: "blue", Hosts: addrs("10.192.0.20")}},
		"host approve 3":                     {policy.OpVNJoin, &policy.VNHostsArgs{VN: "blue", Hosts: addrs("10.192.0.20")}},
		"vn join blue 10.192.0.1 10.192.0.2": {policy.OpVNJoin, &policy.VNHostsArgs{VN: "blue", Hosts: addrs("10.192.0.1", "10.192.0.2")}},
		"vn leave blue 10.192.0.1":           {policy.OpVNLeave, &policy.VNHostsArgs{VN: "blue", Hosts: addrs("10.192.0.1")}},
		"vn shutdown blue --yes":             {policy.OpVNShutdown, &policy.VNArgs{VN: "blue"}},
		"site set east --consent ask --allow-vn blue,red --with west --contact me": {policy.OpSiteSet, &policy.SiteSetArgs{
			Site: "east", Consent: "ask", AllowVNs: []string{"blue", "red"}, With: []string{"west"}, Contact: new("me"),
		}},
		"consent --withdraw east blue --yes": {policy.OpWithdraw, &policy.WithdrawArgs{Site: "east", VN: "blue"}},
		"consent 3f9a01c2":                   {policy.OpConsent, &policy.ConsentArgs{Request: tables.Hash{0x3f, 0x9a, 0x01, 0xc2}, Site: "east"}},
		"consent 3f9a01c20 --site west --refuse --reason later": {policy.OpConsent, &policy.ConsentArgs{
			Request: tables.Hash{0x3f, 0x9a, 0x01, 0xc2}, Site: "west", Refuse: true, Reason: "later",
		}},
	} {
		vr := &paperVR{
			outcome: control.Request{State: "done", Result: "vn9"},
			waiting: []control.OpenRequest{{ID: "3f9a01c2" + strings.Repeat("0", 56), WaitsFor: []string{"east"}}},
		}
		d := newDesk(t, vr)
		code, stdout, stderr := d.run(strings.Fields(command)...)
		if code != 0 || len(vr.asked) != 1 || !strings.Contains(stdout, "result   vn9\n") || !strings.Contains(stderr, "accepted") {
			t.Errorf("vine %s: exit %d, %d requests, stdout %q, stderr %q", command, code, len(vr.asked), stdout, stderr)
			continue
		}
		r := vr.asked[0]
		encoded, err := tables.EncodeArgs(want.args)
		if err != nil {
			t.Fatal(err)
		}
		if r.Op != want.op || string(r.Args) != string(encoded) || r.User != tables.PublicOf(d.user) {
			t.Errorf("vine %s asked for %s with %x by %s", command, r.Op, r.Args, r.User)
		}
	}
}

// TestOutcomes checks what becomes of the ways in which a request can end.
func TestOutcomes(t *testing.T) {
	for name, tc := range map[string]struct {
		vr     paperVR
		flags  string
		code   int
		json   string // code of the JSON error; empty: a request
		stderr string
	}{
		"done":      {paperVR{outcome: control.Request{State: "done"}}, "", 0, "", "is accepted"},
		"refused":   {paperVR{outcome: control.Request{State: "refused", Reason: "not yours\x1b"}}, "", 4, "not_permitted", "vine: error: the authority refused it: not yours?\n"},
		"turned":    {paperVR{submitErr: fmt.Errorf("%w: too many open requests", control.ErrRefused)}, "", 4, "not_permitted", "too many open requests"},
		"broken":    {paperVR{submitErr: errors.New("disk full")}, "", 1, "failure", "disk full"},
		"no wait":   {paperVR{stuck: true}, "--wait 0", 0, "", "is accepted"},
		"too long":  {paperVR{stuck: true}, "--wait 20ms", 124, "timeout", "vine: hint: the request stays valid"},
		"not so":    {paperVR{outcome: control.Request{State: "pending", Reason: "wait for me"}}, "--wait 20ms", 124, "timeout", "it is pending: wait for me"},
		"not there": {paperVR{outcome: control.Request{State: "done"}}, "--user /nonexistent/key", 1, "failure", "there is no user key /nonexistent/key"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, &tc.vr)
			code, stdout, stderr := d.run(strings.Fields("vn join blue 10.192.0.1 --json " + tc.flags)...)
			var got struct {
				Error   struct{ Code string }
				Request control.Request
			}
			if err := json.Unmarshal([]byte(stdout), &got); err != nil {
				t.Fatalf("%v: %s", err, stdout)
			}
			if code != tc.code || got.Error.Code != tc.json || (tc.json == "") != (got.Request.ID != "") || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("exit %d, stdout %s\nstderr %s", code, stdout, stderr)
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	d := newDesk(t, &paperVR{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if code, _, stderr := d.runContext(ctx, "status"); code != 130 || stderr != "vine: error: interrupted\n" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestNotFound(t *testing.T) {
	d := newDesk(t, &paperVR{})
	code, stdout, stderr := d.run("vn", "show", "red", "--json")
	if code != 3 || !strings.Contains(stdout, `"code": "not_found"`) || stderr != "vine: error: VN \"red\": not found\n" {
		t.Errorf("exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

// TestHostSetupAsksTheVR checks that space and length come from the running VR.
func TestHostSetupAsksTheVR(t *testing.T) {
	d := newDesk(t, &paperVR{})
	code, stdout, stderr := d.run("host", "setup", "10.192.0.10", "--gateway", "192.168.1.2", "--interface", "eth0", "-q")
	if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "ip address replace 10.192.0.10/24 dev eth0") {
		t.Errorf("exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

// TestHelp checks that every command explains itself with an example of its own.
func TestHelp(t *testing.T) {
	e := &Env{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() {
			if c.Short == "" || c.Long == "" || !strings.Contains(c.Example, c.CommandPath()) {
				t.Errorf("%s: the help lacks something: short %q, long %q, example %q", c.CommandPath(), c.Short, c.Long, c.Example)
			}
			if c.Args == nil && c.HasParent() {
				t.Errorf("%s takes any argument", c.CommandPath())
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(e))
}
