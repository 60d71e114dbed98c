//go:build linux

package tun

import (
	"errors"
	"fmt"
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
	"github.com/vine-mesh/vine/node/segment"
)

const testMTU = 1420

// open makes a TUN device in a new namespace, up, with addresses and default routes.
func open(t testing.TB) (*netnstest.Namespace, *Device) { return openAs(t, Open) }

// openPlain is Open on a kernel without super-packets.
func openPlain(name string, mtu int) (*Device, error) {
	d, err := openWater(unix.IFF_TUN, name)
	if err == nil {
		d.mtu, err = mtu, setLink(d.name, mtu)
	}
	return d, err
}

func openPlainTAP(name string, mtu int) (*Device, error) {
	d, err := openWater(unix.IFF_TAP, name)
	if err == nil {
		d.mtu, err = mtu, setLink(d.name, mtu)
	}
	if err == nil {
		err = d.makeEthernet()
	}
	return d, err
}

func openAs(t testing.TB, how func(string, int) (*Device, error)) (*netnstest.Namespace, *Device) {
	t.Helper()
	ns := netnstest.New(t)
	var d *Device
	err := ns.Do(func() (err error) {
		d, err = how("vine%d", testMTU)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	ns.Run(t, fmt.Sprintf(`
		ip addr add 10.192.1.5/32 dev %[1]s
		ip -6 addr add fd00:192:1::5/128 dev %[1]s nodad
		ip link set %[1]s up
		ip route add default dev %[1]s src 10.192.1.5
		ip -6 route add default dev %[1]s src fd00:192:1::5`, d.Name()))
	ns.AwaitAddrs(t, "fd00:192:1::5")
	return ns, d
}

func TestContract(t *testing.T) { contract(t, open) }

func TestContractTAP(t *testing.T) {
	for name, how := range map[string]func(string, int) (*Device, error){"super-packets": OpenTAP, "without": openPlainTAP} {
		t.Run(name, func(t *testing.T) {
			contract(t, func(t testing.TB) (*netnstest.Namespace, *Device) { return openAs(t, how) })
		})
	}
}

// A kernel without super-packets, and one that refuses them when they are right.
func TestContractWithoutOffload(t *testing.T) {
	contract(t, func(t testing.TB) (*netnstest.Namespace, *Device) { return openAs(t, openPlain) })
}

func TestContractRefused(t *testing.T) {
	contract(t, func(t testing.TB) (*netnstest.Namespace, *Device) {
		ns, d := open(t)
		for kind := 1; kind < len(d.writer.Refused); kind++ {
			d.writer.Refused[kind] = true
		}
		return ns, d
	})
}

func contract(t *testing.T, open func(testing.TB) (*netnstest.Namespace, *Device)) {
	capturetest.Test(t, func(t *testing.T) (capture.Device, capturetest.Far) {
		ns, d := open(t)
		return d, capturetest.Far{
			Host4: netip.MustParseAddr("10.192.1.5"),
			Host6: netip.MustParseAddr("fd00:192:1::5"),
			ListenPacket: func(addr netip.AddrPort) (conn net.PacketConn, err error) {
				err = ns.Do(func() (err error) {
					conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
					return err
				})
				return conn, err
			},
		}
	})
}

func TestNameAndMTUAreTheKernels(t *testing.T) {
	ns, d := open(t)
	if d.Name() != "vine0" || d.MTU() != testMTU {
		t.Errorf("name %q, MTU %d", d.Name(), d.MTU())
	}
	out, err := ns.Output("ip -o link show vine0")
	if err != nil || !strings.Contains(out, fmt.Sprintf("mtu %d", testMTU)) || !strings.Contains(out, fmt.Sprintf("qlen %d", queueLength)) {
		t.Errorf("ip link: %v %s", err, out)
	}
}

// "FD_CLOEXEC: the descriptor is closed in a child that runs another program" no child
// may inherit the tunnel.
func TestCloseOnExec(t *testing.T) {
	_, d := open(t)
	var flags int
	d.fd.Use(func(fd uintptr) { flags, _ = unix.FcntlInt(fd, unix.F_GETFD, 0) })
	if flags&unix.FD_CLOEXEC == 0 {
		t.Error("the descriptor is not close-on-exec")
	}
	list := func() string {
		out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		if err != nil {
			t.Fatalf("ls: %v %s", err, out)
		}
		return string(out)
	}
	if out := list(); strings.Contains(out, "/dev/net/tun") {
		t.Errorf("a child has the tunnel open:\n%s", out)
	}
	// The check sees something: without the flag the child does have it.
	d.fd.Use(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETFD, 0) })
	if out := list(); !strings.Contains(out, "/dev/net/tun") {
		t.Errorf("without close-on-exec the child should have the tunnel open:\n%s", out)
	}
}

func TestFailedOpenLeavesNothing(t *testing.T) {
	ns, d := open(t)
	ns.Run(t, "ip link add other type veth peer name other2")
	before := len(tunFDs())
	for _, c := range []struct {
		name string
		want string
	}{
		{d.Name(), "another process has it open"},
		{"other", "another kind"},
		{"sixteen-bytes-xx", "15"},
	} {
		var opened *Device
		err := ns.Do(func() (err error) {
			opened, err = Open(c.name, testMTU)
			return err
		})
		if err == nil || opened != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Open(%q): %v, want %q", c.name, err, c.want)
		}
	}
	if err := ns.Do(func() error { _, err := Open("vine9", 100); return err }); err == nil {
		t.Error("Open with MTU 100 succeeded")
	}
	if after := len(tunFDs()); after != before {
		t.Errorf("%d descriptors of /dev/net/tun, before %d", after, before)
	}
	if out, err := ns.Output("ip link show vine9"); err == nil {
		t.Errorf("an interface was left: %s", out)
	}
}

func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&os.PathError{Op: "open", Err: unix.EACCES}, "CAP_NET_ADMIN"},
		{os.NewSyscallError("ioctl", unix.EPERM), "CAP_NET_ADMIN"},
		{unix.ENOENT, "modprobe tun"},
	} {
		if got := advice(c.err); !strings.Contains(got, c.want) {
			t.Errorf("advice(%v) = %q, want %q in it", c.err, got, c.want)
		}
	}
}

// When the interface is taken away, ReadBatch ends with an error that is not net.ErrClosed.
func TestInterfaceTakenAway(t *testing.T) {
	ns, d := open(t)
	ns.Run(t, "ip link del "+d.Name())
	bufs, got := [][]byte{make([]byte, testMTU)}, make([]capture.Packet, 1)
	for {
		n, err := d.ReadBatch(bufs, got)
		if err == nil && n > 0 {
			continue // a router solicitation sent before
		}
		if n != 0 || err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadBatch = %d, %v", n, err)
		}
		return
	}
}

func TestWriteWhileDown(t *testing.T) {
	ns, d := open(t)
	ns.Run(t, "ip link set "+d.Name()+" down")
	pkt := capturetest.AppendUDP(nil, netip.AddrPortFrom(capturetest.Remote4, 1), netip.MustParseAddrPort("10.192.1.5:2"), nil)
	if n, err := d.WriteBatch(capture.Packets(pkt, pkt)); n != 0 || err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch = %d, %v", n, err)
	}
	ns.Run(t, "ip link set "+d.Name()+" up")
	if n, err := d.WriteBatch(capture.Packets(pkt)); n != 1 || err != nil {
		t.Errorf("WriteBatch after up = %d, %v", n, err)
	}
}

// What a host sends with UDP_SEGMENT comes as one super-packet, and can go back in as one.
func TestSuperPackets(t *testing.T) {
	t.Run("TUN", func(t *testing.T) { superPackets(t, Open) })
	t.Run("TAP", func(t *testing.T) { superPackets(t, OpenTAP) })
}

func superPackets(t *testing.T, how func(string, int) (*Device, error)) {
	ns, d := openAs(t, how)
	var conn *net.UDPConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 192, 1, 5), Port: 4001})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) })
	if err != nil {
		t.Skipf("NOT TESTED: no UDP_SEGMENT: %v", err)
	}
	if _, err := conn.WriteToUDPAddrPort(make([]byte, 9500), netip.AddrPortFrom(capturetest.Remote4, 9)); err != nil {
		t.Fatal(err)
	}
	bufs, got := [][]byte{make([]byte, segment.LengthMax)}, make([]capture.Packet, 1)
	for {
		if _, err := d.ReadBatch(bufs, got); err != nil {
			t.Fatal(err)
		}
		if b := got[0].Bytes; b[0]>>4 == 4 && b[9] == 17 {
			break
		}
	}
	if got[0].GSOSize != 1000 || !got[0].Partial || len(got[0].Bytes) != 9528 || got[0].Segments() != 10 {
		t.Errorf("%d bytes with segments of %d, %v", len(got[0].Bytes), got[0].GSOSize, got[0].Partial)
	}
	// More segments than a kernel takes in one: they arrive, and the device remembers.
	many := capturetest.AppendUDP(nil, netip.AddrPortFrom(capturetest.Remote4, 9), netip.MustParseAddrPort("10.192.1.5:4001"), make([]byte, 150*4))
	segment.Seed(many)
	if n, err := d.WriteBatch([]capture.Packet{{Bytes: many, GSOSize: 4, Partial: true}}); n != 1 || err != nil || !d.writer.Refused[5] || d.writer.Refused[1] {
		t.Errorf("WriteBatch = %d, %v, remembered %v", n, err, d.writer.Refused)
	}
	b := make([]byte, 100)
	for i := range 150 {
		if n, _, err := conn.ReadFromUDPAddrPort(b); n != 4 || err != nil {
			t.Fatalf("datagram %d: %d bytes, %v", i, n, err)
		}
	}
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	t.Run("TUN", func(t *testing.T) { noAllocations(t, Open) })
	t.Run("TAP", func(t *testing.T) { noAllocations(t, OpenTAP) })
}

func noAllocations(t *testing.T, how func(string, int) (*Device, error)) {
	ns, d := openAs(t, how)
	var conn *net.UDPConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 192, 1, 5), Port: 4001})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	to := netip.AddrPortFrom(capturetest.Remote4, 9)
	pkts := capture.Packets(capturetest.AppendUDP(nil, to, netip.MustParseAddrPort("10.192.1.5:4001"), []byte("in")))
	bufs, got := [][]byte{make([]byte, testMTU), make([]byte, testMTU)}, make([]capture.Packet, 2)
	payload := []byte("out")
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := conn.WriteToUDPAddrPort(payload, to); err != nil {
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
