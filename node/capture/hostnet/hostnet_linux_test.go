package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/node/capture/tun"
)

func TestInterruptedDumpIsTriedAgain(t *testing.T) {
	calls := 0
	got, err := complete(func() (int, error) {
		if calls++; calls < 4 {
			return 0, fmt.Errorf("list: %w", netlink.ErrDumpInterrupted)
		}
		return 7, nil
	})
	if got != 7 || err != nil || calls != 4 {
		t.Errorf("complete = %d, %v after %d calls", got, err, calls)
	}
	calls = 0
	if _, err := complete(func() (int, error) { calls++; return 0, netlink.ErrDumpInterrupted }); !errors.Is(err, netlink.ErrDumpInterrupted) || calls != dumpTriesMax {
		t.Errorf("complete = %v after %d calls, want to give up", err, calls)
	}
	if _, err := complete(func() (int, error) { calls++; return 0, fs.ErrInvalid }); !errors.Is(err, fs.ErrInvalid) || calls != dumpTriesMax+1 {
		t.Errorf("complete tried another error again: %v", err)
	}
}

// A machine is the router of a test: eth1 and eth2 to LAN hosts, wan to the Internet. The test's
// goroutine is in the router's namespace.
type machine struct {
	ns, lan, lan2, wan *netnstest.Namespace
	journal            string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{
		ns: netnstest.New(t), lan: netnstest.New(t), lan2: netnstest.New(t), wan: netnstest.New(t),
		journal: filepath.Join(t.TempDir(), "hostnet.json"),
	}
	netnstest.Wire(t, m.ns, "eth1", m.lan, "eth0")
	netnstest.Wire(t, m.ns, "eth2", m.lan2, "eth0")
	netnstest.Wire(t, m.ns, "wan", m.wan, "eth0")
	m.ns.Run(t, `
		ip addr add 192.168.1.2/24 dev eth1
		ip addr add fd01::2/64 dev eth1 nodad
		ip addr add 192.168.2.2/24 dev eth2
		ip addr add 203.0.113.2/24 dev wan
		ip addr add 2001:db8::2/64 dev wan nodad
		ip route add default via 203.0.113.1
		ip -6 route add default via 2001:db8::1`)
	m.lan.Run(t, `
		ip addr add 192.168.1.5/24 dev eth0
		ip addr add fd01::5/64 dev eth0 nodad`)
	m.wan.Run(t, `
		ip addr add 203.0.113.1/24 dev eth0
		ip addr add 2001:db8::1/64 dev eth0 nodad`)
	m.ns.AwaitAddrs(t, "fd01::2", "2001:db8::2")
	m.lan.AwaitAddrs(t, "fd01::5")
	m.wan.AwaitAddrs(t, "2001:db8::1")
	m.ns.Enter(t)
	return m
}

func openTUN(t *testing.T, name string) *tun.Device {
	t.Helper()
	d, err := tun.Open(name, 1420)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// dump shows all that hostnet may change.
func (m *machine) dump(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, command := range []string{
		"ip -4 rule", "ip -6 rule", "ip -4 route show table all", "ip -6 route show table all", "ip addr", "nft list ruleset",
	} {
		out, err := m.ns.Output(command)
		if err != nil {
			t.Fatalf("%s: %v %s", command, err, out)
		}
		fmt.Fprintf(&b, "# %s\n%s", command, out)
	}
	for _, dir := range []string{"ipv4", "ipv6/conf"} {
		err := filepath.WalkDir(filepath.Join(sysctlRoot, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "stable_secret") {
				return err
			}
			v, _ := os.ReadFile(path) // some can only be written
			fmt.Fprintf(&b, "%s = %s", path, v)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// diff returns the lines that only one of two dumps has.
func diff(a, b string) []string {
	count := make(map[string]int)
	for l := range strings.Lines(a) {
		count[strings.TrimSpace(l)]--
	}
	for l := range strings.Lines(b) {
		count[strings.TrimSpace(l)]++
	}
	var lines []string
	for l, n := range count {
		switch {
		case n > 0:
			lines = append(lines, "+ "+l)
		case n < 0:
			lines = append(lines, "- "+l)
		}
	}
	return lines
}

func plan1() Plan {
	return Plan{Device: "vine0", MTU: 1420, Space: space, Attachments: []Attachment{{
		Interface: "eth1",
		Blocks:    pfx("10.192.1.0/24", "fd00:192:1::/64"),
		Gateways:  []netip.Addr{netip.MustParseAddr("10.192.1.1"), netip.MustParseAddr("fd00:192:1::1")},
	}}}
}

func plan2() Plan {
	p := plan1()
	p.Attachments = append(p.Attachments, Attachment{
		Interface: "eth2", Blocks: pfx("10.192.1.0/24", "fd00:192:1::/64"), Device: "vine1", Table: 1084,
	})
	return p
}

// Apply and Close leave the guard routes and no other difference; Teardown leaves none.
func TestCloseRestoresTheMachine(t *testing.T) {
	for _, noForce := range []bool{false, true} {
		t.Run(fmt.Sprintf("noForce=%v", noForce), func(t *testing.T) {
			m := newMachine(t)
			for _, set := range [][2]string{
				{"ipv4/conf/all/rp_filter", "1"}, {"ipv4/conf/eth1/rp_filter", "0"}, {"ipv6/conf/eth2/forwarding", "1"}, {"ipv6/conf/wan/accept_ra", "1"},
			} {
				if err := writeSysctl(set[0], set[1]); err != nil {
					t.Fatal(err)
				}
			}
			before := m.dump(t)
			d0, d1 := openTUN(t, "vine0"), openTUN(t, "vine1")
			s, err := apply(plan2(), m.journal, noForce)
			if err != nil {
				t.Fatal(err)
			}
			during := m.dump(t)
			for _, want := range []string{
				"10.192.0.0/10 dev vine0 proto 84 scope link metric 84",
				"unreachable 10.192.0.0/10 proto 84 metric 2000000000",
				"10.192.1.0/24 dev eth1 proto 84 scope link metric 84",
				"10.192.1.0/24 dev eth2 table 1084 proto 84 scope link metric 84",
				"fd00:192::/32 dev vine1 table 1084 proto 84 metric 84",
				"8463:\tfrom all iif eth2 lookup 1084",
				"8463:\tfrom all iif vine1 lookup 1084",
				"inet 10.192.1.1/32 scope global eth1",
				"inet 169.254.84.63/32 scope host vine0",
				"inet 169.254.84.63/32 scope host vine1",
				"/proc/sys/net/ipv4/conf/eth1/rp_filter = 2",
				"/proc/sys/net/ipv4/conf/vine1/forwarding = 1",
			} {
				if !strings.Contains(during, want) {
					t.Errorf("Apply did not bring about %q", want)
				}
			}
			if noForce && !strings.Contains(during, "/proc/sys/net/ipv6/conf/wan/accept_ra = 2") {
				t.Error("the machine would lose the default route it learnt from router advertisements")
			}
			if strings.Contains(during, "/proc/sys/net/ipv4/ip_forward = 1") {
				t.Error("the machine became a router for everybody")
			}
			for range 2 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = d0.Close(), d1.Close()
			for _, line := range diff(before, m.dump(t)) {
				if !strings.HasPrefix(line, "+ unreachable ") || !strings.Contains(line, "metric 2000000000") {
					t.Errorf("after Close: %s", line)
				}
			}
			if err := Teardown(m.journal); err != nil {
				t.Fatal(err)
			}
			for _, line := range diff(before, m.dump(t)) {
				t.Errorf("after Teardown: %s", line)
			}
			if left, _ := filepath.Glob(m.journal + "*"); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			if err := Teardown(m.journal); err != nil {
				t.Errorf("second Teardown: %v", err)
			}
		})
	}
}

// Whatever way follows whatever other, the machine is as with that way alone; and what a way needs is in force.
func TestUpdateBetweenWays(t *testing.T) {
	m := newMachine(t)
	before := m.dump(t)
	d := openTUN(t, "vine0")
	s, err := Apply(planOf("tun"), m.journal)
	if err != nil {
		t.Fatal(err)
	}
	alone := map[string]string{"tun": m.dump(t)}
	for way, want := range map[string][]string{
		"raw":     {"8463:\tfrom all iif eth1 lookup 8462", "blackhole 10.192.0.0/10 table 8462"},
		"nfqueue": {"8463:\tfrom all iif eth1 lookup 8462", "priority -450", `iifname "eth1" ip daddr 10.192.0.0/10 meta l4proto tcp`, `iifname "eth1" ip6 daddr fd00:192::/32`},
	} {
		if err := s.Update(planOf(way)); err != nil {
			t.Fatal(err)
		}
		alone[way] = m.dump(t)
		for _, w := range want {
			if !strings.Contains(alone[way], w) {
				t.Errorf("%s did not bring about %q:\n%s", way, w, alone[way])
			}
		}
		if strings.Contains(alone[way], "10.192.0.0/10 dev vine0") || strings.Contains(alone[way], "conf/eth1/forwarding = 1") {
			t.Errorf("%s: the kernel forwards still", way)
		}
	}
	for _, way := range []string{"tun", "nfqueue", "tun", "raw", "nfqueue", "raw", "tun"} {
		if err := s.Update(planOf(way)); err != nil {
			t.Fatal(err)
		}
		for _, line := range diff(alone[way], m.dump(t)) {
			t.Errorf("%s: %s", way, line)
		}
	}
	// What somebody takes away comes back, and what is there is not touched.
	if err := s.Update(planOf("nfqueue")); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"nft flush ruleset", "nft add table ip other"} {
		m.ns.Run(t, command)
		if err := s.Update(planOf("nfqueue")); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range diff(alone["nfqueue"], m.dump(t)) {
		if !strings.Contains(line, "table ip other") && line != "+ }" {
			t.Errorf("after others changed nftables: %s", line)
		}
	}
	m.ns.Run(t, "nft delete table ip other")
	_ = d.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Teardown(m.journal); err != nil {
		t.Fatal(err)
	}
	for _, line := range diff(before, m.dump(t)) {
		t.Errorf("after Teardown: %s", line)
	}
}

// A machine that is a host of the ViNe space itself would answer what is taken off its LAN a second time.
func TestOwnAddressInSpace(t *testing.T) {
	m := newMachine(t)
	m.ns.Run(t, "ip addr add 10.192.1.77/32 dev wan")
	if _, err := Apply(planOf("raw"), m.journal); err == nil || !strings.Contains(err.Error(), "10.192.1.77") {
		t.Errorf("Apply: %v", err)
	}
	m.ns.Run(t, "ip addr del 10.192.1.77/32 dev wan")
	s, err := Apply(planOf("raw"), m.journal)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

// An update changes what differs and nothing else; what an administrator had is not taken away.
func TestUpdate(t *testing.T) {
	m := newMachine(t)
	m.ns.Run(t, "ip addr add 10.192.1.1/24 dev eth1")
	before := m.dump(t)
	d0, d1 := openTUN(t, "vine0"), openTUN(t, "vine1")
	s, err := Apply(plan1(), m.journal)
	if err != nil {
		t.Fatal(err)
	}
	first := m.dump(t)
	if err := s.Update(plan2()); err != nil {
		t.Fatal(err)
	}
	m.ns.Run(t, "ip route del 10.192.0.0/10 dev vine0") // as an interface that went down loses its routes
	if err := s.Update(plan2()); err != nil {
		t.Fatal(err)
	}
	moved := plan1()
	moved.Attachments = []Attachment{
		{Interface: "eth1", Blocks: pfx("10.192.1.0/24", "10.192.3.0/24")},
		{Interface: "eth2", Blocks: pfx("fd00:192:1::/64", "10.192.2.0/24"), Gateways: []netip.Addr{netip.MustParseAddr("fd00:192:1::1")}},
	}
	if err := s.Update(moved); err != nil {
		t.Fatal(err)
	}
	moved.Attachments[0].Blocks, moved.Attachments[1].Blocks[1] = moved.Attachments[0].Blocks[:1], moved.Attachments[0].Blocks[1]
	if err := s.Update(moved); err != nil {
		t.Fatal(err)
	}
	out := m.dump(t)
	for _, want := range []string{"fd00:192:1::/64 dev eth2 proto 84", "10.192.3.0/24 dev eth2 proto 84", "10.192.1.0/24 dev eth1 proto 84"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q after moving blocks", want)
		}
	}
	for _, bad := range []string{"fd00:192:1::/64 dev eth1 proto 84", "10.192.3.0/24 dev eth1", "10.192.2.0/24", "1084"} {
		if strings.Contains(out, bad) {
			t.Errorf("still %q after moving blocks", bad)
		}
	}
	bad := plan1()
	bad.Attachments[0].Interface = "eth9"
	if err := s.Update(bad); err == nil || !strings.Contains(err.Error(), "ip link shows them") {
		t.Errorf("Update to an absent interface: %v", err)
	}
	if err := s.Update(plan1()); err != nil {
		t.Fatal(err)
	}
	for _, line := range diff(first, m.dump(t)) {
		if !strings.Contains(line, "vine1") { // it stays up
			t.Errorf("after updating there and back: %s", line)
		}
	}
	if _, err := Apply(plan1(), m.journal); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second Apply: %v", err)
	}
	if err := Teardown(m.journal); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Teardown of a running router: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, _ = d0.Close(), d1.Close()
	if err := Teardown(m.journal); err != nil {
		t.Fatal(err)
	}
	for _, line := range diff(before, m.dump(t)) {
		t.Errorf("after Teardown: %s", line)
	}
}

// A failed Apply says what to do and leaves nothing.
func TestApplyFails(t *testing.T) {
	m := newMachine(t)
	openTUN(t, "vine0")
	m.ns.Run(t, "ip link add other type veth peer name other2\nip link set eth2 down")
	before := m.dump(t)
	for _, c := range []struct {
		name    string
		change  func(*Plan)
		prepare string
		cleanup string
		want    string
	}{
		{"no TUN", func(p *Plan) { p.Device = "vine5" }, "", "", "open the TUN device"},
		{"not a TUN", func(p *Plan) { p.Device = "other" }, "", "", "not a TUN device"},
		{"no LAN", func(p *Plan) { p.Attachments[0].Interface = "eth7" }, "", "", "ip link shows them"},
		{"LAN down", func(p *Plan) { p.Attachments[0].Interface = "eth2" }, "", "", "ip link set eth2 up"},
		{"bad MTU", func(p *Plan) { p.MTU = 1 << 20 }, "", "", "MTU"},
		{"collision", func(p *Plan) {}, "ip route add 10.200.0.0/16 via 203.0.113.1", "ip route del 10.200.0.0/16", "in the clear"},
		{"same prefix", func(p *Plan) {}, "ip route add 10.192.0.0/10 via 203.0.113.1", "ip route del 10.192.0.0/10 via 203.0.113.1", "in the clear"},
		{"lost journal", func(p *Plan) {}, "ip route add 10.192.9.0/24 dev eth1 proto 84", "ip route flush proto 84", "ip route flush proto 84"},
		{"in the way", func(p *Plan) {}, "ip route add unreachable 10.192.0.0/10 metric 84", "ip route del unreachable 10.192.0.0/10 metric 84", "not ours"},
	} {
		if c.prepare != "" {
			m.ns.Run(t, c.prepare)
		}
		p := plan1()
		c.change(&p)
		s, err := Apply(p, m.journal)
		if s != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if c.cleanup != "" {
			m.ns.Run(t, c.cleanup)
		}
		for _, line := range diff(before, m.dump(t)) {
			if !strings.Contains(line, "vine0") && !strings.Contains(line, "ff00::/8") { // the device may be up
				t.Errorf("%s left: %s", c.name, line)
			}
		}
		if _, err := os.Stat(m.journal); err == nil {
			t.Errorf("%s left a journal", c.name)
		}
	}
}

func TestHostApply(t *testing.T) {
	m := newMachine(t)
	m.lan.Enter(t)
	before := m.lanDump(t)
	for _, c := range []struct{ addr, gateway, want string }{
		{"10.192.1.5/24", "192.168.1.2", "10.192.0.0/10 via 192.168.1.2 dev eth0 src 10.192.1.5"},
		{"fd00:192:1::5/64", "fd01::2", "fd00:192::/32 via fd01::2 dev eth0 src fd00:192:1::5"},
	} {
		h, err := HostSetup(netip.MustParsePrefix(c.addr), netip.MustParseAddr(c.gateway), space...)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := h.Apply(); err != nil {
				t.Fatal(err)
			}
		}
		applied := m.lanDump(t)
		if !strings.Contains(applied, c.want) {
			t.Errorf("no %q in\n%s", c.want, applied)
		}
		for range 2 {
			if err := h.Remove(); err != nil {
				t.Fatal(err)
			}
		}
		for _, line := range diff(before, m.lanDump(t)) {
			t.Errorf("after Remove: %s", line)
		}
		// The printed commands do the same.
		shell(t, m.lan, h.Commands())
		shell(t, m.lan, h.Commands())
		for _, line := range diff(applied, m.lanDump(t)) {
			t.Errorf("the commands differ from Apply: %s", line)
		}
		shell(t, m.lan, h.RemoveCommands())
		for _, line := range diff(before, m.lanDump(t)) {
			t.Errorf("after the remove commands: %s", line)
		}
	}
	h, err := HostSetup(netip.MustParsePrefix("10.192.1.5/24"), netip.MustParseAddr("172.16.0.1"), space...)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Apply(); err == nil || !strings.Contains(err.Error(), "name the interface") {
		t.Errorf("Apply with an unknown gateway: %v", err)
	}
}

func (m *machine) lanDump(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, command := range []string{"ip -4 route", "ip -6 route", "ip addr"} {
		out, err := m.lan.Output(command)
		if err != nil {
			t.Fatalf("%s: %v %s", command, err, out)
		}
		b.WriteString(out)
	}
	return b.String()
}

func shell(t *testing.T, ns *netnstest.Namespace, commands []string) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("set -e\n"+strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ns.Run(t, "sh "+script)
}
