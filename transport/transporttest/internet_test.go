package transporttest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/transport/underlay"
)

func reaches(t *testing.T, from, to underlay.Socket) bool {
	t.Helper()
	_, ok := sends(t, from, to.LocalAddr(), to)
	return ok
}

func TestCutAndPartition(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a, b, sa, sb := twoHosts(t, in)
		nat := in.NAT("nat", addr("203.0.113.1"), FullCone)
		c := nat.Host("c", addr("10.0.0.2"))
		d := nat.Host("d", addr("10.0.0.3"))
		sc, sd := listen(t, c, 1), listen(t, d, 1)
		want := func(when string, ab, ba, ca, cd bool) {
			t.Helper()
			got := []bool{reaches(t, sa, sb), reaches(t, sb, sa), reaches(t, sc, sa), reaches(t, sc, sd)}
			if !slices.Equal(got, []bool{ab, ba, ca, cd}) {
				t.Errorf("%s: a-b b-a c-a c-d %v, want %v", when, got, []bool{ab, ba, ca, cd})
			}
		}
		want("at first", true, true, true, true)
		in.Cut(a, b)
		want("a cut from b", false, false, true, true)
		in.Join(a, b)
		in.CutOneWay(a, b)
		want("a cut from b one way", false, true, true, true)
		in.Cut(nat, a)
		want("the box cut from a", false, true, false, true)
		in.Heal()
		want("healed", true, true, true, true)
		in.Partition([]Node{a, nat}, []Node{b})
		want("a and the box against b", false, false, true, true)
		in.Partition([]Node{c})
		want("c alone", true, true, false, false)
		in.Heal()
		want("healed again", true, true, true, true)
		if got := a.Counters().Dropped[DropCut]; got != 4 {
			t.Errorf("a lost %d packets to cuts, want 4", got)
		}
		// What is under way when the cut comes is lost.
		writeAll(t, sa, datagram(sb.LocalAddr(), "x"))
		time.Sleep(LatencyDefault / 2)
		in.Cut(a, b)
		if got := tryRead(t, sb); len(got) != 0 {
			t.Error("a packet came through the cut")
		}
	})
}

func TestPause(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		_, b, sa, sb := twoHosts(t, in)
		b.Pause()
		writeAll(t, sa, datagram(sb.LocalAddr(), "to b"))
		writeAll(t, sb, datagram(sa.LocalAddr(), "from b"))
		if len(tryRead(t, sa))+len(tryRead(t, sb)) != 0 {
			t.Error("a paused host sends or receives")
		}
		read := make(chan time.Duration)
		start := time.Now()
		go func() {
			sb.ReadBatch(buffers(1, 16))
			read <- time.Since(start)
		}()
		time.Sleep(time.Minute)
		b.Resume()
		if got := <-read; got != time.Minute {
			t.Errorf("read after %v, want a minute", got)
		}
		if got := tryRead(t, sa); len(got) != 1 {
			t.Errorf("%d packets were sent on resuming, want 1", len(got))
		}
		b.Pause()
		for range heldMax + 5 {
			writeAll(t, sb, datagram(sa.LocalAddr(), "x"))
		}
		b.Resume()
		if got := b.Counters(); got.Dropped[DropPaused] != 5 || got.PacketsSent != heldMax+6 {
			t.Errorf("%d of %d were dropped, want 5 of %d", got.Dropped[DropPaused], got.PacketsSent, heldMax+6)
		}
	})
}

func TestNowhere(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a, b, sa, sb := twoHosts(t, in)
		for _, to := range []string{"192.0.2.99:1", "[2001:db8::1]:1", "198.51.100.1:77"} {
			if _, err := sa.WriteBatch([]underlay.Datagram{datagram(endpoint(to), "x")}); err != nil {
				t.Error(err)
			}
		}
		// A receiver that does not read loses what its buffer cannot hold.
		dg := payload(1472)
		dg.Addr = sb.LocalAddr()
		for range 800 {
			writeAll(t, sa, dg)
		}
		time.Sleep(time.Second)
		c := a.Counters()
		if c.Dropped[DropNoRoute] != 2 || c.Dropped[DropPortClosed] != 1 || c.Dropped[DropReceiveBuffer] != 800-receiveBytes/1500 {
			t.Errorf("%+v", c)
		}
		if got := b.Counters().PacketsReceived; got != receiveBytes/1500 {
			t.Errorf("received %d", got)
		}
		if c.PacketsSent != 803 {
			t.Errorf("sent %d", c.PacketsSent)
		}
	})
}

func TestRoaming(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a, _, sa, sb := twoHosts(t, in)
		old := sa.LocalAddr()
		a.SetAddrs(addr("192.0.2.77"))
		if src, ok := sends(t, sa, sb.LocalAddr(), sb); !ok || src != endpoint("192.0.2.77:1000") {
			t.Errorf("seen as %v, %v", src, ok)
		}
		if _, ok := sends(t, sb, old, sa); ok {
			t.Error("the address left behind still works")
		}
		if !reaches(t, sb, sa) {
			t.Error("the new address does not work")
		}
	})
}

func TestHooks(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a, _, sa, sb := twoHosts(t, in)
		var mu sync.Mutex
		var sent, delivered []string
		in.OnSend(func(now time.Time, from, to netip.AddrPort, payload []byte) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, string(payload))
		})
		in.OnDeliver(func(now time.Time, from, to netip.AddrPort, payload []byte) {
			mu.Lock()
			defer mu.Unlock()
			delivered = append(delivered, string(payload))
		})
		in.Intercept(func(from, to netip.AddrPort, payload []byte) bool {
			if payload[0] == 'c' {
				payload[0] = 'C'
			}
			return payload[0] != 'd'
		})
		writeAll(t, sa, datagram(sb.LocalAddr(), "keep"), datagram(sb.LocalAddr(), "drop"), datagram(sb.LocalAddr(), "change"))
		got := tryRead(t, sb)
		if len(got) != 2 || string(got[1].Buf[:got[1].N]) != "Change" {
			t.Errorf("got %d datagrams", len(got))
		}
		mu.Lock()
		if want := []string{"keep", "drop", "change"}; !slices.Equal(sent, want) {
			t.Errorf("sent %v, want %v", sent, want)
		}
		if want := []string{"keep", "Change"}; !slices.Equal(delivered, want) {
			t.Errorf("delivered %v, want %v", delivered, want)
		}
		mu.Unlock()
		in.OnSend(nil)
		in.OnDeliver(nil)
		in.Intercept(nil)
		forged := endpoint("8.8.8.8:53")
		a.SendFrom(forged, sb.LocalAddr(), []byte("forged"))
		if got := tryRead(t, sb); len(got) != 1 || got[0].Addr != forged {
			t.Errorf("forged source: %v", got)
		}
		if len(delivered) != 2 || a.Counters().Dropped[DropIntercepted] != 1 {
			t.Errorf("delivered %v, %+v", delivered, a.Counters())
		}
	})
}

func TestListen(t *testing.T) {
	in := New(1)
	h := in.Host("a", addr("192.0.2.1"))
	first, second, fixed := listen(t, h, 0), listen(t, h, 0), listen(t, h, 49154)
	third := listen(t, h, 0)
	ports := []uint16{first.LocalAddr().Port(), second.LocalAddr().Port(), third.LocalAddr().Port()}
	if !slices.Equal(ports, []uint16{49152, 49153, 49155}) {
		t.Errorf("free ports %v", ports)
	}
	if _, err := h.Listen(49154); err == nil {
		t.Error("a port was taken twice")
	}
	fixed.Close()
	listen(t, h, 49154)
	in.Close()
	if _, err := h.Listen(1); err == nil {
		t.Error("a closed internet has sockets")
	}
	for name, f := range map[string]func(){
		"address twice": func() { in.Host("b", addr("192.0.2.1")) },
		"no address":    func() { in.Host("b") },
		"4-in-6":        func() { in.Host("b", addr("::ffff:192.0.2.9")) },
		"NAT with IPv6": func() { in.NAT("b", addr("2001:db8::9"), FullCone) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := New(1)
		_, _, sa, sb := twoHosts(t, in)
		writeAll(t, sa, datagram(sb.LocalAddr(), "before Run"))
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- in.Run(ctx) }()
		if got := tryRead(t, sb); len(got) != 1 {
			t.Error("a packet sent before Run is lost")
		}
		if err := in.Run(ctx); err == nil {
			t.Error("Run can be called twice")
		}
		writeAll(t, sa, datagram(sb.LocalAddr(), "never"))
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
		in.Close()
		in.Close()
		if _, err := sb.ReadBatch(buffers(1, 1)); err == nil {
			t.Error("a socket outlived the internet")
		}
		if err := in.Run(t.Context()); err != nil {
			t.Errorf("Run after Close: %v", err)
		}
	})
}

// TestCloseUnderLoad closes sockets and the internet while others send, in real time.
func TestCloseUnderLoad(t *testing.T) {
	in := New(1)
	in.SetDefaultPath(Path{Latency: time.Microsecond})
	running := make(chan error)
	go func() { running <- in.Run(context.Background()) }()
	var socks []underlay.Socket
	for i := range 8 {
		socks = append(socks, listen(t, in.Host("h", netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})), 1))
	}
	var wg sync.WaitGroup
	for i, s := range socks {
		to := socks[(i+1)%len(socks)].LocalAddr()
		wg.Go(func() { drain(s) })
		wg.Go(func() {
			for n := 0; ; n++ {
				if _, err := s.WriteBatch([]underlay.Datagram{datagram(to, "x"), datagram(to, "y")}); err != nil {
					return
				}
				if i == 0 && n == 2000 {
					socks[1].Close()
				}
				if i == 2 && n == 5000 {
					go in.Close()
				}
			}
		})
	}
	wg.Wait()
	in.Close()
	if err := <-running; err != nil {
		t.Error(err)
	}
}

// TestZeroAllocs sends and receives without an allocation per packet.
func TestZeroAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool loses values under the race detector")
	}
	in := New(1)
	defer in.Close()
	in.SetDefaultPath(Path{})
	sa := listen(t, in.Host("a", addr("192.0.2.1")), 1)
	sb := listen(t, in.Host("b", addr("192.0.2.2")), 1)
	out, dgs := buffers(32, 1200), buffers(32, 2048)
	for i := range out {
		out[i].N, out[i].Addr = 1200, sb.LocalAddr()
	}
	allocs := testing.AllocsPerRun(200, func() {
		sa.WriteBatch(out)
		in.carry()
		if n, err := sb.ReadBatch(dgs); n != 32 || err != nil {
			t.Fatalf("ReadBatch = %d, %v", n, err)
		}
	})
	if allocs > 1 { // the pool may be emptied by a collection
		t.Errorf("%v allocations for 32 packets", allocs)
	}
}

// BenchmarkPacket reports the cost of a packet sent, carried and read, one goroutine, in batches of 32.
func BenchmarkPacket(b *testing.B) {
	in := New(1)
	defer in.Close()
	in.SetDefaultPath(Path{})
	sa := listen(b, in.Host("a", addr("192.0.2.1")), 1)
	sb := listen(b, in.Host("b", addr("192.0.2.2")), 1)
	out, dgs := buffers(32, 1200), buffers(32, 2048)
	for i := range out {
		out[i].N, out[i].Addr = 1200, sb.LocalAddr()
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += 32 {
		sa.WriteBatch(out)
		in.carry()
		sb.ReadBatch(dgs)
	}
}

// TestThousandHosts has 1,000 hosts that each read, and send 10 packets/s for 10 virtual seconds with latency,
// jitter, loss and lines. It logs the speed; how fast the machine is, is not its business.
func TestThousandHosts(t *testing.T) {
	const hosts, rounds = 1000, 100
	var sum Counters
	var events uint64
	start := time.Now()
	bubble(t, 1, func(t *testing.T, in *Internet) {
		in.SetDefaultPath(Path{Latency: 30 * time.Millisecond, Loss: 0.01})
		to := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 1)
		}
		for i := range hosts {
			h := in.Host("h", to(i).Addr())
			line := Path{Bandwidth: 1e8, Latency: time.Millisecond, Jitter: time.Millisecond}
			h.SetLink(line, line)
			s := listen(t, h, 1)
			go drain(s)
			go func() {
				dg := payload(100)
				time.Sleep(time.Duration(i) * 97 * time.Microsecond)
				for n := range rounds {
					dg.Addr = to((i*7 + n*13) % hosts)
					s.WriteBatch([]underlay.Datagram{dg})
					time.Sleep(100 * time.Millisecond)
				}
			}()
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		sum, events = in.Counters(), in.seq
	})
	if sum.PacketsSent != hosts*rounds || sum.PacketsReceived != sum.PacketsSent-sum.Dropped[DropLoss] {
		t.Errorf("%+v", sum)
	}
	wall := time.Since(start)
	t.Logf("%d packets and %d events in %v: %.0f packets/s, %.0f events/s", sum.PacketsSent, events, wall,
		float64(sum.PacketsSent)/wall.Seconds(), float64(events)/wall.Seconds())
}
