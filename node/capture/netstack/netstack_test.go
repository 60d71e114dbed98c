package netstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
)

func newLAN(t testing.TB, name string) *LAN {
	t.Helper()
	l, err := New(name, 1420)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func addHost(t testing.TB, l *LAN, addrs ...string) *Host {
	t.Helper()
	var parsed []netip.Addr
	for _, a := range addrs {
		parsed = append(parsed, netip.MustParseAddr(a))
	}
	h, err := l.AddHost(parsed...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestContract(t *testing.T) {
	capturetest.Test(t, func(t *testing.T) (capture.Device, capturetest.Far) {
		l := newLAN(t, "lan0")
		h4, h6 := addHost(t, l, "10.192.1.5"), addHost(t, l, "fd00:192:1::5")
		return l, capturetest.Far{
			Host4: h4.Addr(),
			Host6: h6.Addr(),
			ListenPacket: func(addr netip.AddrPort) (net.PacketConn, error) {
				if addr.Addr() == h4.Addr() {
					return h4.ListenPacketAt(addr)
				}
				return h6.ListenPacketAt(addr)
			},
		}
	})
}

// wire carries packets between two devices until one is closed, and waits for that at cleanup.
func wire(t testing.TB, a, b capture.Device) {
	var wg sync.WaitGroup
	for _, way := range [][2]capture.Device{{a, b}, {b, a}} {
		wg.Go(func() {
			bufs, pkts := make([][]byte, 16), make([]capture.Packet, 16)
			for i := range bufs {
				bufs[i] = make([]byte, way[0].MTU())
			}
			for {
				n, err := way[0].ReadBatch(bufs, pkts)
				if err != nil {
					return
				}
				_, _ = way[1].WriteBatch(pkts[:n]) // what the far LAN refuses is lost
			}
		})
	}
	t.Cleanup(func() {
		_, _ = a.Close(), b.Close()
		wg.Wait()
	})
}

func TestHostsTalkAcrossDevices(t *testing.T) {
	a, b := newLAN(t, "a"), newLAN(t, "b")
	client := addHost(t, a, "10.192.1.5", "fd00:192:1::5")
	server := addHost(t, b, "10.192.2.5", "fd00:192:2::5")
	wire(t, a, b)

	body := strings.Repeat("a page of some length\n", 50_000)
	for _, addr := range server.addrs {
		if rtt, err := client.Ping(t.Context(), addr); err != nil || rtt <= 0 {
			t.Errorf("ping %v: %v, %v", addr, rtt, err)
		}
		l, err := server.ListenAt(netip.AddrPortFrom(addr, 80))
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.RemoteAddr+"\n"+body)
		})}
		go func() { _ = srv.Serve(l) }()
		resp, err := client.HTTPClient().Get("http://" + netip.AddrPortFrom(addr, 80).String() + "/")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		from, page, _ := strings.Cut(string(got), "\n")
		if err != nil || page != body {
			t.Errorf("GET from %v: %d bytes, %v", addr, len(page), err)
		}
		if src, _ := client.source(addr); !strings.Contains(from, src.String()) {
			t.Errorf("the server saw %q, want %v", from, src)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPingEndsWithContext(t *testing.T) {
	h := addHost(t, newLAN(t, "a"), "10.192.1.5")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Ping(ctx, netip.MustParseAddr("10.192.2.5")); !errors.Is(err, context.Canceled) {
		t.Errorf("Ping = %v", err)
	}
	if _, err := h.DialTCP(ctx, netip.MustParseAddrPort("10.192.2.5:80")); !errors.Is(err, context.Canceled) {
		t.Errorf("DialTCP = %v", err)
	}
	if _, err := h.Ping(t.Context(), netip.MustParseAddr("fd00::1")); err == nil {
		t.Error("an IPv4 host pinged an IPv6 address")
	}
}

func TestAddHostRefuses(t *testing.T) {
	l := newLAN(t, "a")
	h := addHost(t, l, "10.192.1.5", "10.192.1.6")
	for _, a := range []string{"10.192.1.6", "127.0.0.1", "224.0.0.1", "::", "::ffff:10.1.1.1", "fe80::1%eth0"} {
		if _, err := l.AddHost(netip.MustParseAddr(a)); err == nil {
			t.Errorf("AddHost(%s) succeeded", a)
		}
	}
	if _, err := l.AddHost(); err == nil {
		t.Error("AddHost of no address succeeded")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	addHost(t, l, "10.192.1.6")
	_ = l.Close()
	if _, err := l.AddHost(netip.MustParseAddr("10.192.1.7")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("AddHost after Close: %v", err)
	}
	if _, err := New("a", 576); err == nil {
		t.Error("New with MTU 576 succeeded")
	}
}

func TestWriteBatchRefuses(t *testing.T) {
	l := newLAN(t, "a")
	addHost(t, l, "10.192.1.5")
	from := netip.AddrPortFrom(capturetest.Remote4, 1)
	for _, c := range []struct {
		name string
		pkt  []byte
		want error
	}{
		{"unknown host", capturetest.AppendUDP(nil, from, netip.MustParseAddrPort("10.192.1.9:1"), nil), errNoHost},
		{"too long", capturetest.AppendUDP(nil, from, netip.MustParseAddrPort("10.192.1.5:1"), make([]byte, 1400)), errSize},
		{"short header", []byte{0x45, 0, 0}, errFormat},
	} {
		if n, err := l.WriteBatch(capture.Packets(c.pkt)); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: WriteBatch = %d, %v", c.name, n, err)
		}
	}
}

// No host ever waits for the router: a full queue drops.
func TestQueueOverflowDrops(t *testing.T) {
	l := newLAN(t, "a")
	conn, err := addHost(t, l, "10.192.1.5").ListenPacket(0)
	if err != nil {
		t.Fatal(err)
	}
	for range queueLength + 10 {
		if _, err := conn.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(capturetest.Remote4, 9))); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.Dropped(); got != 10 {
		t.Errorf("dropped %d packets, want 10", got)
	}
}

// Close ends every goroutine, with connections open, listening, half open and dialling.
func TestCloseLeaksNothing(t *testing.T) {
	before := stackGoroutines(t)
	for range 3 {
		a, _ := New("a", 1500)
		b, _ := New("b", 1500)
		client, server := addHost(t, a, "10.192.1.5"), addHost(t, b, "10.192.2.5")
		t.Run("", func(t *testing.T) {
			wire(t, a, b)
			l, err := server.Listen(80)
			if err != nil {
				t.Fatal(err)
			}
			c, err := client.DialTCP(t.Context(), netip.MustParseAddrPort("10.192.2.5:80"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = s.Read(make([]byte, 1)) })
			wg.Go(func() {
				if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Accept = %v", err)
				}
			})
			wg.Go(func() { _, _ = client.Ping(t.Context(), netip.MustParseAddr("10.192.2.77")) })
			wg.Go(func() { _, _ = client.DialTCP(t.Context(), netip.MustParseAddrPort("10.192.2.77:80")) })
			// Dial and ping are under way, not just about to begin.
			stats := client.stack.Stats()
			for stats.TCP.ActiveConnectionOpenings.Value() < 2 || stats.ICMP.V4.PacketsSent.EchoRequest.Value() < 1 {
				runtime.Gosched()
			}
			_, _ = a.Close(), b.Close()
			wg.Wait()
		})
	}
	deadline := time.NewTimer(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for stackGoroutines(t) > before {
		select {
		case <-tick.C:
		case <-deadline.C:
			var b strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
			t.Fatalf("%d goroutines of the stack, before %d:\n%s", stackGoroutines(t), before, b.String())
		}
	}
}

// stackGoroutines counts goroutines that gVisor or this package started.
func stackGoroutines(t *testing.T) int {
	t.Helper()
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 2); err != nil {
		t.Fatal(err)
	}
	n := 0
	for g := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(g, "gvisor.dev") {
			n++
		}
	}
	return n
}

func ExampleLAN() {
	lan, err := New("lan0", 1420)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = lan.Close() }()
	host, err := lan.AddHost(netip.MustParseAddr("10.192.1.5"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(host.Addr(), "on", lan.Name())
	// Output: 10.192.1.5 on lan0
}
