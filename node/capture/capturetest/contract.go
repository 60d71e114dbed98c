package capturetest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/segment"
)

// A Far is the other side of a Device under test: hosts with addresses and UDP sockets.
type Far struct {
	// Host4 and Host6 are addresses of hosts behind the device. Packets to any other address
	// leave through the device. An invalid address means that the back end has no such family.
	Host4, Host6 netip.Addr

	// ListenPacket opens a UDP socket on a host. The contract test calls it in the goroutine that
	// called open.
	ListenPacket func(addr netip.AddrPort) (net.PacketConn, error)
}

// Addresses that the contract test plays, outside every LAN (RFC 2544, RFC 3849). open must see
// to it that hosts send packets for them into the device.
var (
	Remote4 = netip.MustParseAddr("198.18.7.7")
	Remote6 = netip.MustParseAddr("2001:db8:7::7")
)

// patience is how long the contract test waits for what must happen. It is no assertion about
// speed: on a good back end nothing ever waits that long.
const patience = 30 * time.Second

const (
	hostPort   = 4001
	remotePort = 4002
)

// Test runs the contract of capture.Device as subtests. open makes a new device, open and ready
// to carry packets, and its far side; it must register the cleanup of whatever else it makes. The
// device may carry packets of its own besides those of the test (a kernel's router solicitations).
func Test(t *testing.T, open func(t *testing.T) (capture.Device, Far)) {
	cases := []struct {
		name string
		run  func(t *testing.T, h *harness)
	}{
		{"outbound", testOutbound},
		{"inbound", testInbound},
		{"whole MTU", testMTU},
		{"batch", testBatch},
		{"super-packet", testSuper},
		{"short buffer", testShortBuffer},
		{"junk", testJunk},
		{"both ways at once", testBothWays},
		{"close unblocks read", testCloseUnblocks},
		{"closed", testClosed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dev, far := open(t)
			t.Cleanup(func() { _ = dev.Close() })
			h := &harness{dev: dev, bufs: make([][]byte, 8), pkts: make([]capture.Packet, 8)}
			for i := range h.bufs {
				h.bufs[i] = make([]byte, dev.MTU())
			}
			for _, f := range []struct{ host, remote netip.Addr }{{far.Host4, Remote4}, {far.Host6, Remote6}} {
				if !f.host.IsValid() {
					continue
				}
				conn, err := far.ListenPacket(netip.AddrPortFrom(f.host, hostPort))
				if err != nil {
					t.Fatalf("listen at %v: %v", f.host, err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				h.flows = append(h.flows, flow{conn, netip.AddrPortFrom(f.host, hostPort), netip.AddrPortFrom(f.remote, remotePort)})
			}
			if len(h.flows) == 0 {
				t.Fatal("the far side has no host")
			}
			c.run(t, h)
		})
	}
}

// A flow is one family's pair of a host's socket and a remote address that the test plays.
type flow struct {
	conn         net.PacketConn
	host, remote netip.AddrPort
}

// overhead returns the bytes of header before a UDP payload.
func (f flow) overhead() int {
	if f.host.Addr().Is4() {
		return ipv4Len + udpLen
	}
	return ipv6Len + udpLen
}

// send makes the host send payload to the remote address.
func (f flow) send(payload []byte) error {
	_, err := f.conn.WriteTo(payload, net.UDPAddrFromAddrPort(f.remote))
	return err
}

// receive waits for the host to receive a datagram from the remote address.
func (f flow) receive() ([]byte, error) {
	if err := f.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	b := make([]byte, 1<<16)
	n, from, err := f.conn.ReadFrom(b)
	if err == nil && from.String() != f.remote.String() {
		err = fmt.Errorf("datagram from %v, want %v", from, f.remote)
	}
	return b[:n], err
}

type harness struct {
	dev   capture.Device
	flows []flow
	bufs  [][]byte
	pkts  []capture.Packet
	ready []capture.Packet // packets of the last batch not yet used by next
}

// next returns the next test packet that the device captured, skipping those of other origin. The
// result is valid until the next call that has to read.
func (h *harness) next() (flow, []byte, error) {
	for {
		for len(h.ready) > 0 {
			pkt := h.ready[0]
			h.ready = h.ready[1:]
			src, dst, payload, ok := ParsePacket(pkt)
			for _, f := range h.flows {
				if ok && src == f.host && dst == f.remote {
					return f, payload, nil
				}
			}
		}
		n, err := h.dev.ReadBatch(h.bufs, h.pkts)
		if err != nil {
			return flow{}, nil, err
		}
		if n < 1 || n > len(h.bufs) {
			return flow{}, nil, fmt.Errorf("ReadBatch returned %d packets for %d buffers", n, len(h.bufs))
		}
		h.ready = append(h.ready, h.pkts[:n]...)
	}
}

// expect fails the test unless the next captured packet of f has the payload.
func (h *harness) expect(t *testing.T, f flow, payload []byte) {
	t.Helper()
	got, p, err := h.next()
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if got.host != f.host || !bytes.Equal(p, payload) {
		t.Fatalf("captured %d bytes %.20q from %v, want %d bytes %.20q from %v", len(p), p, got.host, len(payload), payload, f.host)
	}
}

func testOutbound(t *testing.T, h *harness) {
	if h.dev.MTU() < capture.MTUMin {
		t.Errorf("MTU is %d, less than %d", h.dev.MTU(), capture.MTUMin)
	}
	if h.dev.Name() == "" {
		t.Error("the device has no name")
	}
	for i := range 20 {
		for _, f := range h.flows {
			payload := fmt.Appendf(nil, "outbound %d", i)
			if err := f.send(payload); err != nil {
				t.Fatalf("send: %v", err)
			}
			h.expect(t, f, payload)
		}
	}
}

// A device keeps no reference to the packets and does not change them.
func testInbound(t *testing.T, h *harness) {
	for _, f := range h.flows {
		var pkts, copies [][]byte
		for i := range 5 {
			p := AppendUDP(nil, f.remote, f.host, fmt.Appendf(nil, "inbound %d", i))
			pkts, copies = append(pkts, p), append(copies, bytes.Clone(p))
		}
		n, err := h.dev.WriteBatch(capture.Packets(pkts...))
		if n != len(pkts) || err != nil {
			t.Fatalf("WriteBatch = %d, %v, want all of %d", n, err, len(pkts))
		}
		for i, p := range pkts {
			if !bytes.Equal(p, copies[i]) {
				t.Errorf("WriteBatch changed packet %d", i)
			}
			clear(p)
		}
		for i := range pkts {
			got, err := f.receive()
			if want := fmt.Sprintf("inbound %d", i); err != nil || string(got) != want {
				t.Fatalf("host received %q, %v, want %q", got, err, want)
			}
		}
	}
	if n, err := h.dev.WriteBatch(nil); n != 0 || err != nil {
		t.Errorf("WriteBatch of nothing = %d, %v", n, err)
	}
}

func testMTU(t *testing.T, h *harness) {
	for _, f := range h.flows {
		payload := bytes.Repeat([]byte{0xa5}, h.dev.MTU()-f.overhead())
		if err := f.send(payload); err != nil {
			t.Fatalf("send %d bytes: %v", len(payload), err)
		}
		h.expect(t, f, payload)
		if _, err := h.dev.WriteBatch(capture.Packets(AppendUDP(nil, f.remote, f.host, payload))); err != nil {
			t.Fatalf("write: %v", err)
		}
		if got, err := f.receive(); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("host received %d bytes, %v, want %d", len(got), err, len(payload))
		}
	}
}

// Waiting packets come in order, whether taken many at once or one by one.
func testBatch(t *testing.T, h *harness) {
	const packets = 30 // any queue must hold that many
	f := h.flows[0]
	for i := range packets {
		if err := f.send([]byte{byte(i)}); err != nil {
			t.Fatalf("send: %v", err)
		}
	}
	for i := range packets {
		h.expect(t, f, []byte{byte(i)})
	}
	one, pkt := [][]byte{make([]byte, h.dev.MTU())}, make([]capture.Packet, 1)
	for i := range 3 {
		if err := f.send([]byte{byte(i)}); err != nil {
			t.Fatalf("send: %v", err)
		}
	}
	for i := 0; i < 3; {
		n, err := h.dev.ReadBatch(one, pkt)
		if n != 1 || err != nil {
			t.Fatalf("ReadBatch into one buffer = %d, %v", n, err)
		}
		if src, _, p, ok := ParsePacket(pkt[0]); ok && src == f.host {
			if !bytes.Equal(p, []byte{byte(i)}) {
				t.Fatalf("packet %d holds %v", i, p)
			}
			i++
		}
	}
}

// A super-packet with a partial checksum arrives as its segments, and a single packet with one arrives.
func testSuper(t *testing.T, h *harness) {
	for _, f := range h.flows {
		payload := make([]byte, 2500)
		for i := range payload {
			payload[i] = byte(i % 251)
		}
		super := AppendUDP(nil, f.remote, f.host, payload)
		single := AppendUDP(nil, f.remote, f.host, []byte("single"))
		if !segment.Seed(super) || !segment.Seed(single) {
			t.Fatal("no seed")
		}
		before := bytes.Clone(super)
		n, err := h.dev.WriteBatch([]capture.Packet{{Bytes: super, GSOSize: 1000, Partial: true}, {Bytes: single, Partial: true}})
		if n != 2 || err != nil {
			t.Fatalf("WriteBatch = %d, %v", n, err)
		}
		if !bytes.Equal(super, before) {
			t.Error("WriteBatch changed the super-packet")
		}
		for _, want := range [][]byte{payload[:1000], payload[1000:2000], payload[2000:], []byte("single")} {
			if got, err := f.receive(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("host received %d bytes, %v, want %d", len(got), err, len(want))
			}
		}
		// What cannot be a super-packet is refused.
		bad := []capture.Packet{{Bytes: single, GSOSize: 3}, {Bytes: single[:len(single)-1], GSOSize: 3, Partial: true}, {Bytes: single[:20], Partial: true}}
		if n, err := h.dev.WriteBatch(bad); n != 0 || err == nil {
			t.Errorf("WriteBatch of impossible super-packets = %d, %v", n, err)
		}
	}
}

// A packet that does not fit its buffer is dropped whole; the next one is fine.
func testShortBuffer(t *testing.T, h *harness) {
	for _, f := range h.flows {
		if err := f.send(make([]byte, 1000)); err != nil {
			t.Fatalf("send: %v", err)
		}
		if err := f.send([]byte("small")); err != nil {
			t.Fatalf("send: %v", err)
		}
		for bufs, pkts, done := [][]byte{make([]byte, 200)}, make([]capture.Packet, 1), false; !done; {
			n, err := h.dev.ReadBatch(bufs, pkts)
			if n != 1 || err != nil {
				t.Fatalf("ReadBatch = %d, %v", n, err)
			}
			if size := len(pkts[0].Bytes); size > len(bufs[0]) {
				t.Fatalf("size %d of a buffer of %d", size, len(bufs[0]))
			} else if size == len(bufs[0]) {
				t.Fatal("ReadBatch returned a truncated packet")
			}
			src, _, p, ok := ParsePacket(pkts[0])
			done = ok && src == f.host && string(p) == "small"
		}
	}
}

// What is no IP packet is refused and counted; its neighbours in the batch pass.
func testJunk(t *testing.T, h *harness) {
	f := h.flows[0]
	pkts := [][]byte{
		AppendUDP(nil, f.remote, f.host, []byte("before")),
		{},
		{0x00, 1, 2, 3},
		bytes.Repeat([]byte{0xff}, 60),
		AppendUDP(nil, f.remote, f.host, []byte("after")),
	}
	if n, err := h.dev.WriteBatch(capture.Packets(pkts...)); n != 2 || err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch = %d, %v, want 2 and an error", n, err)
	}
	for _, want := range []string{"before", "after"} {
		if got, err := f.receive(); err != nil || string(got) != want {
			t.Fatalf("host received %q, %v, want %q", got, err, want)
		}
	}
}

func testBothWays(t *testing.T, h *harness) {
	const packets = 200
	f := h.flows[0]
	var wg sync.WaitGroup
	// Each direction goes in lock step, so that no queue overflows.
	wg.Go(func() {
		for i := range packets {
			if err := f.send([]byte{byte(i)}); err != nil {
				t.Errorf("send: %v", err)
				return
			}
			if _, p, err := h.next(); err != nil || !bytes.Equal(p, []byte{byte(i)}) {
				t.Errorf("captured %v, %v, want %d", p, err, i)
				return
			}
		}
	})
	wg.Go(func() {
		for i := range packets {
			if _, err := h.dev.WriteBatch(capture.Packets(AppendUDP(nil, f.remote, f.host, []byte{byte(i)}))); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			if p, err := f.receive(); err != nil || !bytes.Equal(p, []byte{byte(i)}) {
				t.Errorf("host received %v, %v, want %d", p, err, i)
				return
			}
		}
	})
	wg.Wait()
}

func testCloseUnblocks(t *testing.T, h *harness) {
	reading := make(chan struct{})
	result := make(chan error, 1)
	go func() {
		close(reading)
		for {
			if _, err := h.dev.ReadBatch(h.bufs, h.pkts); err != nil {
				result <- err
				return
			}
		}
	}()
	<-reading
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := h.dev.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
	if err := <-result; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch returned %v, want net.ErrClosed", err)
	}
}

func testClosed(t *testing.T, h *harness) {
	name, mtu := h.dev.Name(), h.dev.MTU()
	f := h.flows[0]
	if err := f.send([]byte("nobody reads this")); err != nil {
		t.Fatalf("send: %v", err)
	}
	for range 2 {
		if err := h.dev.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if n, err := h.dev.ReadBatch(h.bufs, h.pkts); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch = %d, %v, want net.ErrClosed", n, err)
	}
	if n, err := h.dev.WriteBatch(capture.Packets(AppendUDP(nil, f.remote, f.host, nil))); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch = %d, %v, want net.ErrClosed", n, err)
	}
	if h.dev.Name() != name || h.dev.MTU() != mtu {
		t.Errorf("name and MTU became %q, %d", h.dev.Name(), h.dev.MTU())
	}
}
