package hostnet

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func pfx(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

var space = pfx("10.192.0.0/10", "fd00:192::/32")

func TestPlanCheck(t *testing.T) {
	good := func() Plan {
		return Plan{Device: "vine0", Space: space, Attachments: []Attachment{
			{Interface: "eth1", Blocks: pfx("10.192.1.0/24"), Gateways: []netip.Addr{netip.MustParseAddr("10.192.1.1")}},
			{Interface: "eth2", Blocks: pfx("10.192.1.0/24"), Device: "vine1", Table: 84},
		}}
	}
	for _, c := range []struct {
		name   string
		change func(*Plan)
		want   string // "" if the plan is good
	}{
		{"good", func(p *Plan) {}, ""},
		{"no device", func(p *Plan) { p.Device, p.Attachments = "", nil }, "neither"},
		{"taken off", func(p *Plan) { p.Device, p.Attachments[1].Device = "", "" }, ""},
		{"taken off, with a device", func(p *Plan) { p.Device = "" }, "off the LAN interface"},
		{"taken off, into the wrong table", func(p *Plan) { p.Device, p.Attachments[1].Device, p.Attachments[1].Table = "", "", tableTaken }, "reserved"},
		{"device and queue", func(p *Plan) { p.Attachments[0].Queue = 7 }, "not both"},
		{"no space", func(p *Plan) { p.Space, p.Attachments = nil, nil }, "no ViNe space"},
		{"everything", func(p *Plan) { p.Space = pfx("0.0.0.0/0") }, "not a prefix such as"},
		{"unmasked space", func(p *Plan) { p.Space = pfx("10.192.0.1/10") }, "not a prefix such as"},
		{"overlapping space", func(p *Plan) { p.Space = pfx("10.192.0.0/10", "10.192.0.0/16") }, "overlaps"},
		{"block outside", func(p *Plan) { p.Attachments[0].Blocks = pfx("10.1.0.0/24") }, "not inside"},
		{"block wider than space", func(p *Plan) { p.Attachments[0].Blocks = pfx("10.128.0.0/9") }, "not inside"},
		{"gateway outside", func(p *Plan) { p.Attachments[0].Gateways[0] = netip.MustParseAddr("10.192.2.1") }, "in none of its blocks"},
		{"no interface", func(p *Plan) { p.Attachments[0].Interface = "" }, "no LAN interface"},
		{"device as LAN", func(p *Plan) { p.Attachments[0].Interface = "vine1" }, "no LAN interface"},
		{"table without device", func(p *Plan) { p.Attachments[1].Device = "" }, "other way round"},
		{"device without table", func(p *Plan) { p.Attachments[1].Table = 0 }, "other way round"},
		{"device twice", func(p *Plan) { p.Attachments[1].Device = "vine0" }, "another's"},
		{"main table", func(p *Plan) { p.Attachments[1].Table = tableMain }, "reserved"},
		{"block twice", func(p *Plan) { p.Attachments[1].Device, p.Attachments[1].Table = "", 0 }, "on both"},
		{"interface twice", func(p *Plan) { p.Attachments[1].Interface = "eth1" }, "one attachment only"},
	} {
		p := good()
		c.change(&p)
		err := p.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Each route into a TUN device has a guard behind it in the same table, with a worse metric.
func TestEveryTunRouteIsGuarded(t *testing.T) {
	p := Plan{Device: "vine0", Space: space, Attachments: []Attachment{{Interface: "eth2", Device: "vine1", Table: 84}}}
	s := p.desired()
	n := 0
	for _, r := range s.Routes {
		if r.Unreachable {
			continue
		}
		n++
		guarded := false
		for _, g := range join(s.Guards, s.Routes) {
			guarded = guarded || g.Unreachable && g.Prefix == r.Prefix && g.Table == r.Table && g.Metric > r.Metric
		}
		if !guarded {
			t.Errorf("%v has no guard", r)
		}
	}
	if n != 4 {
		t.Errorf("%d routes into devices, want 4", n)
	}
}

func TestStateArithmetic(t *testing.T) {
	old := state{
		Routes:  []route{{Prefix: space[0], Interface: "a"}, {Prefix: space[1], Interface: "a"}},
		Sysctls: []sysctl{{Path: "x", Old: "0", New: "1"}},
	}
	wanted := state{
		Routes:  []route{{Prefix: space[1], Interface: "a"}, {Prefix: space[0], Interface: "b"}},
		Sysctls: []sysctl{{Path: "x", Old: "7", New: "1"}, {Path: "y", Old: "0", New: "1"}},
	}
	union := old.union(wanted)
	if len(union.Routes) != 3 || len(union.Sysctls) != 2 || union.Sysctls[0].Old != "0" {
		t.Errorf("union = %+v", union)
	}
	left := old.without(wanted)
	if len(left.Routes) != 1 || left.Routes[0] != old.Routes[0] || len(left.Sysctls) != 0 {
		t.Errorf("without = %+v", left)
	}
	if !old.without(old).empty() || old.empty() {
		t.Error("empty is wrong")
	}
}

func TestJournal(t *testing.T) {
	j := journal{filepath.Join(t.TempDir(), "hostnet.json")}
	if s, err := j.load(); err != nil || !s.empty() {
		t.Fatalf("load of no file = %+v, %v", s, err)
	}
	s := Plan{Device: "vine0", Space: space, Attachments: []Attachment{
		{Interface: "eth1", Blocks: pfx("10.192.1.0/24"), Gateways: []netip.Addr{netip.MustParseAddr("10.192.1.1")}, Device: "v1", Table: 300},
	}}.desired()
	s.Sysctls = []sysctl{{Path: "ipv4/conf/eth0.100/forwarding", Old: "0", New: "1", Coupled: true}}
	if err := j.save(s); err != nil {
		t.Fatal(err)
	}
	got, err := j.load()
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("loaded %+v, %v, want %+v", got, err, s)
	}
	whole, err := os.ReadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to, want string }{
		{"broken", "{", "", "ip route flush"},
		{"format", `"format": 1`, `"format": 2`, "format 2"},
		{"other boot", bootID(), "another", ""},
	} {
		if err := os.WriteFile(j.path, []byte(strings.Replace(string(whole), c.from, c.to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := j.load()
		if c.want == "" && (err != nil || !got.empty()) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %+v, %v, want %q", c.name, got, err, c.want)
		}
	}
	if err := j.save(state{}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(j.path + "*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestHostCommands(t *testing.T) {
	h, err := HostSetup(netip.MustParsePrefix("10.192.1.5/24"), netip.MustParseAddr("192.168.1.2"), space...)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`dev=$(ip -o route get 192.168.1.2 | sed -n 's/.* dev \([^ ]*\).*/\1/p')`,
		`ip address replace 10.192.1.5/24 dev "$dev" brd +`,
		`ip route replace 10.192.0.0/10 via 192.168.1.2 dev "$dev" src 10.192.1.5`,
	}
	if got := h.Commands(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	h, err = HostSetup(netip.MustParsePrefix("fd00:192:1::5/64"), netip.MustParseAddr("fe80::1%eth0"), space...)
	if err != nil {
		t.Fatal(err)
	}
	want = []string{
		"ip address replace fd00:192:1::5/64 dev eth0 nodad",
		"ip route replace fd00:192::/32 via fe80::1 dev eth0 src fd00:192:1::5",
	}
	if got := h.Commands(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, c := range []struct{ addr, gateway, want string }{
		{"10.1.1.5/24", "192.168.1.2", "outside"},
		{"10.192.1.5/24", "fd00::1", "family"},
		{"10.192.1.5/24", "10.192.1.5", "own gateway"},
		{"fd00:192:1::5/64", "fe80::1", "link-local"},
	} {
		_, err := HostSetup(netip.MustParsePrefix(c.addr), netip.MustParseAddr(c.gateway), space...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("HostSetup(%s, %s): %v, want %q", c.addr, c.gateway, err, c.want)
		}
	}
}
