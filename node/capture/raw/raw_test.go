//go:build linux

package raw

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/node/segment"
)

var (
	space = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("2001:db8:7::/48")}
	host4 = netip.MustParseAddr("10.192.1.5")
	host6 = netip.MustParseAddr("fd00:192:1::5")
)

// lan makes a gateway with interface lan0 that drops what a host sends to the space, and a host behind it.
func lan(t testing.TB) (gateway, host *netnstest.Namespace) {
	t.Helper()
	gateway, host = netnstest.New(t), netnstest.New(t)
	netnstest.Wire(t, gateway, "lan0", host, "eth0")
	gateway.Run(t, `ip addr add 10.192.1.1/24 dev lan0
		ip addr add fd00:192:1::1/64 dev lan0 nodad
		ip route add blackhole 198.18.0.0/15
		ip -6 route add blackhole 2001:db8:7::/48`)
	host.Run(t, `ip addr add 10.192.1.5/24 dev eth0
		ip addr add fd00:192:1::5/64 dev eth0 nodad
		ip route add default via 10.192.1.1
		ip -6 route add default via fd00:192:1::1`)
	return gateway, host
}

func open(t testing.TB, gateway *netnstest.Namespace) *Device {
	t.Helper()
	var d *Device
	err := gateway.Do(func() (err error) {
		d, err = Open([]string{"lan0"}, space)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func far(host *netnstest.Namespace) capturetest.Far {
	return capturetest.Far{Host4: host4, Host6: host6, ListenPacket: func(addr netip.AddrPort) (conn net.PacketConn, err error) {
		err = host.Do(func() (err error) {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
			return err
		})
		return conn, err
	}}
}

func TestContract(t *testing.T) {
	capturetest.Test(t, func(t *testing.T) (capture.Device, capturetest.Far) {
		gateway, host := lan(t)
		return open(t, gateway), far(host)
	})
}

// A wire that carries single packets with whole checksums, as a network card does.
func TestContractWithoutOffload(t *testing.T) {
	capturetest.Test(t, func(t *testing.T) (capture.Device, capturetest.Far) {
		gateway, host := lan(t)
		gateway.NoOffload(t, "lan0")
		host.NoOffload(t, "eth0")
		return open(t, gateway), far(host)
	})
}

// listen opens a UDP socket of the host.
func listen(t testing.TB, host *netnstest.Namespace, at netip.Addr) *net.UDPConn {
	t.Helper()
	conn, err := far(host).ListenPacket(netip.AddrPortFrom(at, 4001))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

// receive returns the next datagram of a host, or "" when there is none for a moment.
func receive(t testing.TB, conn *net.UDPConn, patience time.Duration) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, _, err := conn.ReadFromUDPAddrPort(b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

var (
	toHost    = netip.AddrPortFrom(host4, 4001)
	fromAfar  = netip.AddrPortFrom(capturetest.Remote4, 9)
	toHost6   = netip.AddrPortFrom(host6, 4001)
	fromAfar6 = netip.AddrPortFrom(capturetest.Remote6, 9)
)

// take reads until a packet of a family comes.
func take(t testing.TB, d *Device, family byte) capture.Packet {
	t.Helper()
	bufs, pkts := [][]byte{make([]byte, segment.LengthMax)}, make([]capture.Packet, 1)
	for {
		if _, err := d.ReadBatch(bufs, pkts); err != nil {
			t.Fatal(err)
		}
		if pkts[0].Bytes[0]>>4 == family {
			return pkts[0]
		}
	}
}

// A host is found by its own packets, and one that has sent none by the kernel. Who sends under its name, gets what is for
// it, until it sends again: on a LAN that is so with ARP too.
func TestNeighbours(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	conn := listen(t, host, host4)
	send := func(text string) {
		t.Helper()
		if n, err := d.WriteBatch(capture.Packets(capturetest.AppendUDP(nil, fromAfar, toHost, []byte(text)))); n != 1 || err != nil {
			t.Fatalf("WriteBatch = %d, %v", n, err)
		}
	}
	known := func() (mac [6]byte, ok bool) {
		mac, _, ok = d.injector.neighbours.find(time.Now(), host4)
		return mac, ok
	}
	send("silent")
	if got := receive(t, conn, 10*time.Second); got != "silent" {
		t.Errorf("a host that has sent nothing received %q", got)
	}
	if _, ok := known(); ok {
		t.Fatal("a host is known that has sent nothing")
	}
	if _, err := conn.WriteToUDPAddrPort([]byte("here I am"), fromAfar); err != nil {
		t.Fatal(err)
	}
	take(t, d, 4)
	mac, ok := known()
	if want := address(t, host, "eth0"); !ok || mac != want {
		t.Fatalf("known as %x, %v; want %x", mac, ok, want)
	}
	send("known")
	if got := receive(t, conn, 10*time.Second); got != "known" {
		t.Errorf("received %q", got)
	}
	d.injector.neighbours.learn(host4, [6]byte{2, 0, 0, 0, 0, 9}, 0)
	send("astray")
	if got := receive(t, conn, 200*time.Millisecond); got != "" {
		t.Errorf("a host received %q, sent to another Ethernet address: the test shows nothing", got)
	}
	if _, err := conn.WriteToUDPAddrPort([]byte("here I am"), fromAfar); err != nil {
		t.Fatal(err)
	}
	take(t, d, 4)
	send("again")
	if got := receive(t, conn, 10*time.Second); got != "again" {
		t.Errorf("received %q", got)
	}
}

func address(t testing.TB, ns *netnstest.Namespace, iface string) (mac [6]byte) {
	t.Helper()
	err := ns.Do(func() error {
		i, err := net.InterfaceByName(iface)
		if err == nil {
			copy(mac[:], i.HardwareAddr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

// The table forgets, takes no group's address, and never grows.
func TestNeighboursBounded(t *testing.T) {
	n := newNeighbours()
	now := time.Now()
	n.learn(host4, [6]byte{1, 2, 3, 4, 5, 6}, 0)
	if _, _, ok := n.find(now, host4); ok {
		t.Error("a group's address was learnt")
	}
	n.learn(host4, [6]byte{2, 2, 3, 4, 5, 6}, 3)
	if mac, port, ok := n.find(now, host4); !ok || mac != [6]byte{2, 2, 3, 4, 5, 6} || port != 3 {
		t.Errorf("found %x at %d, %v", mac, port, ok)
	}
	if _, _, ok := n.find(now.Add(2*neighbourLife), host4); ok {
		t.Error("found after its time")
	}
	// The very next packet of a host that has moved counts, though packets on end are skipped.
	n.learn(host4, [6]byte{2, 2, 3, 4, 5, 7}, 3)
	if mac, _, _ := n.find(now, host4); mac != [6]byte{2, 2, 3, 4, 5, 7} {
		t.Errorf("a host that has moved is still at %x", mac)
	}
	found := 0
	for i := range 100_000 {
		n.learn(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), [6]byte{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, 0)
	}
	for i := range 100_000 {
		if _, _, ok := n.find(time.Now(), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})); ok {
			found++
		}
	}
	if found == 0 || found > neighbourSets*neighbourWays {
		t.Errorf("%d hosts are known, at most %d may be", found, neighbourSets*neighbourWays)
	}
}

// What is not for the space, or not for this machine, or has a virtual LAN's tag, is not captured.
func TestFilter(t *testing.T) {
	gateway, host := lan(t)
	gateway.Run(t, "ip link set lan0 promisc on")
	d := open(t, gateway)
	conn, conn6 := listen(t, host, host4), listen(t, host, host6)
	var frames int
	err := host.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		us := address(t, gateway, "lan0")
		packet := capturetest.AppendUDP(nil, toHost, fromAfar, []byte("not for us"))
		for _, head := range [][]byte{
			append([]byte{2, 9, 9, 9, 9, 9, 2, 8, 8, 8, 8, 8}, 8, 0),             // another station's
			append(append(us[:], 2, 8, 8, 8, 8, 8), 0x81, 0, 0, 7, 8, 0),         // tagged
			append([]byte{255, 255, 255, 255, 255, 255, 2, 8, 8, 8, 8, 8}, 8, 0), // everybody's
			append(append(us[:], 2, 8, 8, 8, 8, 8), 0x88, 0xb5),                  // no IP
		} {
			if err := unix.Sendto(fd, append(head, packet...), 0, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
				return err
			}
			frames++
		}
		return nil
	})
	if err != nil || frames != 4 {
		t.Fatal(frames, err)
	}
	if _, err := conn.WriteToUDPAddrPort([]byte("outside"), netip.MustParseAddrPort("10.192.1.1:9")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		conn   *net.UDPConn
		to     netip.AddrPort
		family byte
	}{{conn, fromAfar, 4}, {conn6, fromAfar6, 6}} {
		if _, err := c.conn.WriteToUDPAddrPort([]byte("inside"), c.to); err != nil {
			t.Fatal(err)
		}
		p := take(t, d, c.family)
		if _, dst, payload, ok := capturetest.ParsePacket(p); !ok || string(payload) != "inside" || dst != c.to {
			t.Errorf("captured %q to %v, %v", payload, dst, ok)
		}
	}
	if n, err := d.TryReadBatch([][]byte{make([]byte, 2000)}, make([]capture.Packet, 1)); n != 0 || err != nil {
		t.Errorf("captured more: %d, %v", n, err)
	}
}

// Of several interfaces each host gets its packets on its own.
func TestTwoInterfaces(t *testing.T) {
	gateway, host := lan(t)
	other := netnstest.New(t)
	netnstest.Wire(t, gateway, "lan1", other, "eth0")
	gateway.Run(t, "ip addr add 10.192.2.1/24 dev lan1")
	other.Run(t, "ip addr add 10.192.2.5/24 dev eth0\nip route add default via 10.192.2.1")
	var d *Device
	if err := gateway.Do(func() (err error) {
		d, err = Open([]string{"lan0", "lan1"}, space)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	for _, c := range []struct {
		ns *netnstest.Namespace
		at netip.Addr
	}{{host, host4}, {other, netip.MustParseAddr("10.192.2.5")}} {
		conn := listen(t, c.ns, c.at)
		for _, text := range []string{"by the kernel", "by its address"} {
			if n, err := d.WriteBatch(capture.Packets(capturetest.AppendUDP(nil, fromAfar, netip.AddrPortFrom(c.at, 4001), []byte(text)))); n != 1 || err != nil {
				t.Fatalf("WriteBatch = %d, %v", n, err)
			}
			if got := receive(t, conn, 10*time.Second); got != text {
				t.Errorf("%v received %q, want %q", c.at, got, text)
			}
			if _, err := conn.WriteToUDPAddrPort([]byte("answer"), fromAfar); err != nil {
				t.Fatal(err)
			}
			if src, _, _, ok := capturetest.ParsePacket(take(t, d, 4)); !ok || src.Addr() != c.at {
				t.Errorf("captured from %v, want %v", src, c.at)
			}
		}
		if _, _, ok := d.injector.neighbours.find(time.Now(), c.at); !ok {
			t.Errorf("%v is not known", c.at)
		}
	}
}

// What a host sends with UDP_SEGMENT comes as one super-packet, and goes to it as one.
func TestSuperPackets(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	conn := listen(t, host, host4)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) })
	if err != nil {
		t.Skipf("NOT TESTED: no UDP_SEGMENT: %v", err)
	}
	if _, err := conn.WriteToUDPAddrPort(make([]byte, 9500), fromAfar); err != nil {
		t.Fatal(err)
	}
	if p := take(t, d, 4); p.GSOSize != 1000 || !p.Partial || len(p.Bytes) != 9528 {
		t.Errorf("%d bytes with segments of %d, %v", len(p.Bytes), p.GSOSize, p.Partial)
	}
	super := capturetest.AppendUDP(nil, fromAfar, toHost, make([]byte, 9500))
	segment.Seed(super)
	if n, err := d.WriteBatch([]capture.Packet{{Bytes: super, GSOSize: 1000, Partial: true}}); n != 1 || err != nil {
		t.Errorf("WriteBatch = %d, %v", n, err)
	}
	if d.injector.ports[0].writer.Refused != [8]bool{} {
		t.Errorf("the kernel refuses super-packets: %v", d.injector.ports[0].writer.Refused)
	}
	for i := range 10 {
		if got := receive(t, conn, 10*time.Second); len(got) != 1000 && (i < 9 || len(got) != 500) {
			t.Errorf("datagram %d has %d bytes", i, len(got))
		}
	}
	// Segments that are longer than the LAN carries.
	if n, err := d.WriteBatch([]capture.Packet{{Bytes: super, GSOSize: 2000, Partial: true}}); n != 0 || !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("WriteBatch of long segments = %d, %v", n, err)
	}
}

// An interface that goes down and up again is captured on again, without an error in between.
func TestInterfaceDown(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	gateway.Run(t, "ip link set lan0 down")
	if n, err := d.TryReadBatch([][]byte{make([]byte, 2000)}, make([]capture.Packet, 1)); n != 0 || err != nil {
		t.Errorf("TryReadBatch while it is down = %d, %v", n, err)
	}
	gateway.Run(t, "ip link set lan0 up")
	if err := gateway.AwaitCarrier("lan0"); err != nil {
		t.Fatal(err)
	}
	conn := listen(t, host, host4)
	if _, err := conn.WriteToUDPAddrPort([]byte("back"), fromAfar); err != nil {
		t.Fatal(err)
	}
	if _, _, payload, _ := capturetest.ParsePacket(take(t, d, 4)); string(payload) != "back" {
		t.Errorf("captured %q", payload)
	}
}

// An interface that is made again is another, and so is one with another address; one that is gone is not.
func TestStale(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	stale := func() (is bool) {
		if err := gateway.Do(func() error { is = d.Stale(); return nil }); err != nil {
			t.Fatal(err)
		}
		return is
	}
	if stale() {
		t.Error("stale from the beginning")
	}
	gateway.Run(t, "ip link set lan0 address 02:00:00:00:00:77")
	if !stale() {
		t.Error("not stale with another address")
	}
	gateway.Run(t, "ip link del lan0")
	if stale() {
		t.Error("stale without an interface")
	}
	netnstest.Wire(t, gateway, "lan0", host, "eth0")
	if !stale() {
		t.Error("not stale with another interface")
	}
}

func TestOpenSaysWhy(t *testing.T) {
	gateway, _ := lan(t)
	for _, c := range []struct {
		interfaces []string
		want       string
	}{
		{[]string{"lan9"}, "lan9"},
		{[]string{"lan0", "lo"}, "no Ethernet"},
	} {
		err := gateway.Do(func() error {
			d, err := Open(c.interfaces, space)
			if err == nil {
				d.Close()
			}
			return err
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%v): %v, want %q", c.interfaces, err, c.want)
		}
	}
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	conn := listen(t, host, host4)
	packet := capturetest.AppendUDP(nil, fromAfar, toHost, []byte("in"))
	stranger := capturetest.AppendUDP(nil, fromAfar, netip.AddrPortFrom(netip.MustParseAddr("10.192.1.6"), 4001), []byte("in"))
	pkts := capture.Packets(packet, stranger)
	bufs, got := [][]byte{make([]byte, 2000), make([]byte, 2000)}, make([]capture.Packet, 2)
	payload := []byte("out")
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := conn.WriteToUDPAddrPort(payload, fromAfar); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadBatch(bufs, got); err != nil {
			t.Fatal(err)
		}
		if _, err := d.WriteBatch(pkts); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per packet out and in", allocs)
	}
}
