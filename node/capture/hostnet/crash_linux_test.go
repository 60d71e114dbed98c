package hostnet

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/node/capture/nfqueue"
	"github.com/vine-mesh/vine/node/capture/raw"
	"github.com/vine-mesh/vine/node/capture/tun"
)

// childJournal names the environment variable that makes the test binary a router: it applies the plan of
// the way that childWay names and waits to be killed.
const (
	childJournal = "HOSTNET_TEST_CHILD_JOURNAL"
	childWay     = "HOSTNET_TEST_CHILD_WAY"
)

const testQueue = 8470

// planOf is plan1 for a way of interception.
func planOf(way string) Plan {
	p := plan1()
	switch way {
	case "raw":
		p.Device = ""
	case "nfqueue":
		p.Device, p.Attachments[0].Queue = "", testQueue
	}
	return p
}

// openWay opens the device of a way.
func openWay(way string) (capture.Device, error) {
	switch way {
	case "raw":
		return raw.Open([]string{"eth1"}, space)
	case "nfqueue":
		return nfqueue.Open([]string{"eth1"}, testQueue, 1420)
	case "tap":
		return tun.OpenTAP("vine0", 1420)
	}
	return tun.Open("vine0", 1420)
}

func TestMain(m *testing.M) {
	path := os.Getenv(childJournal)
	if path == "" {
		os.Exit(m.Run())
	}
	way := os.Getenv(childWay)
	_, err := openWay(way)
	if err == nil {
		_, err = Apply(planOf(way), path)
	}
	fmt.Println("ready", err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent kills us, or ends
}

// A wiretap sees what comes in by eth0 of a namespace.
type wiretap struct {
	file *os.File
}

func tap(t *testing.T, ns *netnstest.Namespace) *wiretap {
	t.Helper()
	w := &wiretap{}
	err := ns.Do(func() error {
		protocol := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(protocol))
		if err != nil {
			return err
		}
		w.file = os.NewFile(uintptr(fd), "wiretap")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.file.Close() })
	return w
}

// A leakTest sends packets for the ViNe space from a LAN host and looks for them on the WAN.
type leakTest struct {
	*machine
	tap    *wiretap
	conn   net.PacketConn
	rounds int
}

// leaked sends one packet of each family for the ViNe space, then one of each for the Internet,
// and returns how many of the former came out before the latter.
func (l *leakTest) leaked(t *testing.T) int {
	t.Helper()
	l.rounds++
	secret, public := fmt.Appendf(nil, "inner packet %d.", l.rounds), fmt.Appendf(nil, "public packet %d.", l.rounds)
	for _, p := range []struct {
		to      string
		payload []byte
	}{
		{"10.200.0.9:9", secret}, {"[fd00:192:200::9]:9", secret}, {"198.51.100.9:9", public}, {"[2001:db8:99::9]:9", public},
	} {
		// The guard's ICMP error may be reported by the next send, which then has to be repeated.
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.to))
		if _, err := l.conn.WriteTo(p.payload, to); err != nil {
			if _, err := l.conn.WriteTo(p.payload, to); err != nil {
				t.Fatalf("send to %s: %v", p.to, err)
			}
		}
	}
	n := 0
	b := make([]byte, 2000)
	for marks := 0; marks < 2; {
		k, err := l.tap.file.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b[:k], secret) {
			n++
		}
		if bytes.Contains(b[:k], public) {
			marks++
		}
	}
	return n
}

// A router killed by SIGKILL leaves no way into the clear; the next one takes over what it left.
func TestKilledRouterLeaksNothing(t *testing.T) {
	for _, way := range []string{"tun", "tap", "raw", "nfqueue"} {
		t.Run(way, func(t *testing.T) { killedRouterLeaksNothing(t, way) })
	}
}

func killedRouterLeaksNothing(t *testing.T, way string) {
	m := newMachine(t)
	m.lan.Run(t, `
		ip route add default via 192.168.1.2
		ip -6 route add default via fd01::2`)
	m.wan.Run(t, `
		ip route add default via 203.0.113.2
		ip -6 route add default via 2001:db8::2`)
	for _, addr := range []string{"10.192.1.5/24", "fd00:192:1::5/64"} {
		gateway := map[bool]string{true: "192.168.1.2", false: "fd01::2"}[addr[:2] == "10"]
		h, err := HostSetup(netip.MustParsePrefix(addr), netip.MustParseAddr(gateway), space...)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.lan.Do(h.Apply); err != nil {
			t.Fatal(err)
		}
	}
	// The worst case: the machine is a router for everybody.
	for _, path := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := writeSysctl(path, "1"); err != nil {
			t.Fatal(err)
		}
	}
	l := &leakTest{machine: m, tap: tap(t, m.wan)}
	err := m.lan.Do(func() (err error) {
		l.conn, err = net.ListenPacket("udp", ":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.conn.Close() }()
	check := func(when string, want int) {
		t.Helper()
		if n := l.leaked(t); n != want {
			t.Errorf("%s: %d inner packets on the WAN, want %d", when, n, want)
		}
	}

	before := m.dump(t)
	check("before Apply, with no defence", 2)

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childJournal+"="+m.journal, childWay+"="+way)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.ns.Do(child.Start); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready <nil>\n" {
		t.Fatalf("the router said %q, %v", line, err)
	}
	running := m.dump(t)
	check("while the router runs", 0)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	if _, err := m.ns.Output("ip link show vine0"); err == nil {
		t.Error("vine0 has survived the router")
	}
	check("after kill -9", 0)

	d, err := openWay(way)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s, err := Apply(planOf(way), m.journal)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range diff(running, m.dump(t)) {
		if !strings.Contains(line, ": vine0: ") && !strings.Contains(line, " link/ether ") { // another number and address
			t.Errorf("after the restart: %s", line)
		}
	}
	check("after the restart", 0)
	bufs, pkts := [][]byte{make([]byte, 1500)}, make([]capture.Packet, 1)
	for captured := false; !captured; {
		if _, err := d.ReadBatch(bufs, pkts); err != nil {
			t.Fatal(err)
		}
		_, dst, _, ok := capturetest.ParsePacket(pkts[0])
		captured = ok && dst == netip.MustParseAddrPort("10.200.0.9:9")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	check("after Close", 0)
	if err := Teardown(m.journal); err != nil {
		t.Fatal(err)
	}
	check("after Teardown, with no defence", 2)
	for _, line := range diff(before, m.dump(t)) {
		t.Errorf("after Teardown: %s", line)
	}
}
