//go:build linux

package nfqueue

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/node/segment"
)

const (
	queue   = 8470
	testMTU = 1400
)

var (
	space    = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("2001:db8:7::/48")}
	host4    = netip.MustParseAddr("10.192.1.5")
	host6    = netip.MustParseAddr("fd00:192:1::5")
	toHost   = netip.AddrPortFrom(host4, 4001)
	fromAfar = netip.AddrPortFrom(capturetest.Remote4, 9)
)

// lan makes a gateway whose packets from lan0 to the space are queued, and a host behind it.
func lan(t testing.TB) (gateway, host *netnstest.Namespace) {
	t.Helper()
	gateway, host = netnstest.New(t), netnstest.New(t)
	netnstest.Wire(t, gateway, "lan0", host, "eth0")
	gateway.Run(t, `ip addr add 10.192.1.1/24 dev lan0
		ip addr add fd00:192:1::1/64 dev lan0 nodad`)
	host.Run(t, `ip addr add 10.192.1.5/24 dev eth0
		ip addr add fd00:192:1::5/64 dev eth0 nodad
		ip route add default via 10.192.1.1
		ip -6 route add default via fd00:192:1::1`)
	plan := hostnet.Plan{Space: space, Attachments: []hostnet.Attachment{{Interface: "lan0", Queue: queue}}}
	journal := filepath.Join(t.TempDir(), "journal")
	if err := gateway.Do(func() error {
		_, err := hostnet.Apply(plan, journal)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return gateway, host
}

func open(t testing.TB, gateway *netnstest.Namespace) *Device {
	t.Helper()
	var d *Device
	err := gateway.Do(func() (err error) {
		d, err = Open([]string{"lan0"}, queue, testMTU)
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

func TestContractWithoutOffload(t *testing.T) {
	capturetest.Test(t, func(t *testing.T) (capture.Device, capturetest.Far) {
		gateway, host := lan(t)
		gateway.NoOffload(t, "lan0")
		host.NoOffload(t, "eth0")
		return open(t, gateway), far(host)
	})
}

// take reads until a packet of a protocol comes over IPv4.
func take(t testing.TB, d *Device, protocol byte) capture.Packet {
	t.Helper()
	bufs, pkts := [][]byte{make([]byte, segment.LengthMax)}, make([]capture.Packet, 1)
	for {
		if _, err := d.ReadBatch(bufs, pkts); err != nil {
			t.Fatal(err)
		}
		if b := pkts[0].Bytes; b[0]>>4 == 4 && b[9] == protocol {
			return pkts[0]
		}
	}
}

// What a host sends as a UDP super-packet comes as the packets that it meant.
func TestUDPSuperPacket(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	conn, err := far(host).ListenPacket(toHost)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000) })
	if err != nil {
		t.Skipf("NOT TESTED: no UDP_SEGMENT: %v", err)
	}
	if _, err := conn.WriteTo(make([]byte, 9500), net.UDPAddrFromAddrPort(fromAfar)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		_, _, payload, ok := capturetest.ParsePacket(take(t, d, 17))
		if !ok || len(payload) != 1000 && (i < 9 || len(payload) != 500) {
			t.Errorf("packet %d has %d bytes, %v", i, len(payload), ok)
		}
	}
}

// A TCP super-packet comes whole, in segments of a length that fits; and a stream through the queue and back again arrives.
func TestTCPSuperPacket(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	echo := netnstest.New(t)
	netnstest.Wire(t, gateway, "lan9", echo, "eth0") // beside the LAN: what is taken goes there by hand
	gateway.Run(t, "ip addr add 198.18.7.1/24 dev lan9")
	echo.Run(t, "ip addr add 198.18.7.7/24 dev eth0\nip route add default via 198.18.7.1")
	var listener net.Listener
	if err := echo.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "198.18.7.7:9")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const size = 2 << 20
	got := make(chan int, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			got <- -1
			return
		}
		defer c.Close()
		total := 0
		for b := make([]byte, 1<<16); ; {
			n, err := c.Read(b)
			for _, v := range b[:n] {
				if v != byte(total%251) {
					got <- -2
					return
				}
				total++
			}
			if err != nil {
				break
			}
		}
		got <- total
	}()
	var out *Device // injects into the other LAN
	if err := gateway.Do(func() (err error) {
		out, err = Open([]string{"lan9"}, queue+2, testMTU)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	supers := make(chan int, 1)
	go func() {
		seen := 0
		bufs, pkts := make([][]byte, 16), make([]capture.Packet, 16)
		for i := range bufs {
			bufs[i] = make([]byte, segment.LengthMax)
		}
		for {
			n, err := d.ReadBatch(bufs, pkts)
			if err != nil {
				supers <- seen
				return
			}
			for _, p := range pkts[:n] {
				if p.GSOSize != 0 {
					seen++
					if p.SegmentLength() > testMTU {
						t.Errorf("segments of %d bytes", p.SegmentLength())
					}
				}
			}
			out.WriteBatch(pkts[:n])
		}
	}()
	// The way back is the kernel's.
	gateway.Run(t, "sysctl -q -w net.ipv4.conf.lan9.forwarding=1 net.ipv4.conf.lan0.forwarding=1")
	var conn net.Conn
	if err := host.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", "198.18.7.7:9", 20*time.Second)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if n := <-got; n != size {
		t.Errorf("%d bytes arrived right, want %d", n, size)
	}
	d.Close()
	if n := <-supers; n == 0 {
		t.Error("no super-packet was taken: the test shows nothing")
	}
}

// Nobody else gets what is queued: not while a Device takes it, not when nobody does, and not what waited when it was closed.
func TestTakenWhole(t *testing.T) {
	gateway, host := lan(t)
	beyond := netnstest.New(t)
	netnstest.Wire(t, gateway, "wan0", beyond, "eth0")
	gateway.Run(t, "ip addr add 192.0.2.1/24 dev wan0\nip route add default via 192.0.2.2")
	beyond.Run(t, "ip addr add 192.0.2.2/24 dev eth0\nip route add 10.192.0.0/16 via 192.0.2.1")
	gateway.Forward(t)
	var watch int
	if err := beyond.Do(func() (err error) {
		watch, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			err = unix.Bind(watch, &unix.SockaddrLinklayer{Protocol: 8}) // ETH_P_IP, big end first
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	leaked := func() (n int) {
		b := make([]byte, 2000)
		for {
			size, _, err := unix.Recvfrom(watch, b, 0)
			if err != nil {
				return n
			}
			if strings.Contains(string(b[:size]), "secret") {
				n++
			}
		}
	}
	conn, err := far(host).ListenPacket(toHost)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func() {
		t.Helper()
		if _, err := conn.WriteTo([]byte("secret"), net.UDPAddrFromAddrPort(fromAfar)); err != nil {
			t.Fatal(err)
		}
	}
	send() // nobody takes it
	d := open(t, gateway)
	send()
	take(t, d, 17)
	send() // waits when the device is closed
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	send()
	if n := leaked(); n != 0 {
		t.Errorf("%d packets left the machine", n)
	}
	// Without queue, rule and guard they do leave.
	gateway.Run(t, `nft flush ruleset
		ip rule del priority 8463
		ip -6 rule del priority 8463
		ip route flush proto 84`)
	send()
	for deadline := time.Now().Add(10 * time.Second); leaked() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("not even now: the test shows nothing")
		}
	}
}

func TestOpenSaysWhy(t *testing.T) {
	gateway, _ := lan(t)
	open(t, gateway)
	err := gateway.Do(func() error {
		d, err := Open([]string{"lan0"}, queue, testMTU)
		if err == nil {
			d.Close()
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("a queue that is taken: %v", err)
	}
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	gateway, host := lan(t)
	d := open(t, gateway)
	conn, err := far(host).ListenPacket(toHost)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pkts := capture.Packets(capturetest.AppendUDP(nil, fromAfar, toHost, []byte("in")))
	bufs, got := [][]byte{make([]byte, 2000), make([]byte, 2000)}, make([]capture.Packet, 2)
	payload := []byte("out")
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := conn.(*net.UDPConn).WriteToUDPAddrPort(payload, fromAfar); err != nil {
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

// FuzzQueueMessage: whatever comes, parsing ends, and what it gives lies in what came.
func FuzzQueueMessage(f *testing.F) {
	f.Add([]byte{40, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x21, 0x16, 11, 0, 1, 0, 0, 0, 0, 1, 8, 0, 1, 0, 8, 0, 10, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; rest != nil; {
			before := len(rest)
			var m message
			m, rest, _ = parseMessage(rest)
			if len(m.payload) > before || rest != nil && len(rest) >= before {
				t.Fatalf("%d bytes of %d, then %d", len(m.payload), before, len(rest))
			}
		}
	})
}
