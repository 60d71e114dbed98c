package transporttest

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/transport/underlay"
)

// bubble runs f in a bubble with an Internet.
func bubble(t *testing.T, seed uint64, f func(t *testing.T, in *Internet)) {
	synctest.Test(t, func(t *testing.T) { f(t, Start(t, seed)) })
}

// twoHosts returns a socket on each of two public hosts.
func twoHosts(t *testing.T, in *Internet) (a, b *Host, sa, sb underlay.Socket) {
	a, b = in.Host("a", addr("192.0.2.1")), in.Host("b", addr("198.51.100.1"))
	return a, b, listen(t, a, 1000), listen(t, b, 2000)
}

func payload(n int) underlay.Datagram { return underlay.Datagram{Buf: make([]byte, n), N: n} }

// arrivals sends n datagrams of size bytes at once and returns how long after that each was received.
func arrivals(t *testing.T, from, to underlay.Socket, n, size int) []time.Duration {
	t.Helper()
	start := time.Now()
	dgs := make([]underlay.Datagram, n)
	for i := range dgs {
		dgs[i] = payload(size)
		dgs[i].Addr = to.LocalAddr()
	}
	writeAll(t, from, dgs...)
	var at []time.Duration
	dg := buffers(1, 2048)
	for len(at) < n {
		k, err := to.ReadBatch(dg)
		if err != nil {
			t.Fatal(err)
		}
		for range k {
			at = append(at, time.Since(start))
		}
	}
	return at
}

func ms(n ...float64) []time.Duration {
	var out []time.Duration
	for _, x := range n {
		out = append(out, time.Duration(x*float64(time.Millisecond)))
	}
	return out
}

// TestTiming sends bursts of packets whose IP size is 1,000 bytes: 1 ms at 8 Mb/s.
func TestTiming(t *testing.T) {
	const size = 1000 - 28
	line := func(mbps int64) Path { return Path{Bandwidth: mbps * 1e6} }
	for _, tt := range []struct {
		name           string
		up, path, down Path
		want           []time.Duration
	}{
		{"latency", Path{}, Path{Latency: 25 * time.Millisecond}, Path{}, ms(25, 25, 25)},
		{"no latency", Path{}, Path{}, Path{}, ms(0, 0, 0)},
		{"bandwidth", Path{}, Path{Latency: 5 * time.Millisecond, Bandwidth: 8e6}, Path{}, ms(6, 7, 8)},
		{"uplink", line(8), Path{Latency: 5 * time.Millisecond}, Path{}, ms(6, 7, 8)},
		{"downlink", Path{}, Path{Latency: 5 * time.Millisecond}, line(8), ms(6, 7, 8)},
		{"store and forward", line(8), Path{Latency: 5 * time.Millisecond}, line(4), ms(8, 10, 12)},
		{"bottleneck first", line(4), Path{Latency: 5 * time.Millisecond}, line(8), ms(8, 10, 12)},
		{"latencies add up", Path{Latency: time.Millisecond}, Path{Latency: 10 * time.Millisecond}, Path{Latency: 100 * time.Millisecond}, ms(111, 111)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, 1, func(t *testing.T, in *Internet) {
				a, b, sa, sb := twoHosts(t, in)
				a.SetLink(tt.up, Path{})
				b.SetLink(Path{}, tt.down)
				in.SetPath(a, b, tt.path)
				if got := arrivals(t, sa, sb, len(tt.want), size); !slices.Equal(got, tt.want) {
					t.Errorf("arrivals at %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestDefaultPath(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a, b, sa, sb := twoHosts(t, in)
		if got := arrivals(t, sa, sb, 1, 10); got[0] != LatencyDefault {
			t.Errorf("arrived after %v, want %v", got[0], LatencyDefault)
		}
		in.SetDefaultPath(Path{Latency: time.Second, Bandwidth: 8e6})
		if got, want := arrivals(t, sa, sb, 2, 1000-28), ms(1001, 1002); !slices.Equal(got, want) {
			t.Errorf("arrived after %v, want %v", got, want)
		}
		in.SetPathOneWay(a, b, Path{Latency: 3 * time.Millisecond})
		if got, want := arrivals(t, sa, sb, 1, 10), ms(3); !slices.Equal(got, want) {
			t.Errorf("arrived after %v, want %v", got, want)
		}
		// The other direction has still the default, with an idle line.
		if got, want := arrivals(t, sb, sa, 1, 1000-28), ms(1001); !slices.Equal(got, want) {
			t.Errorf("back after %v, want %v", got, want)
		}
	})
}

// TestQueue has room for 4 packets of 1,000 bytes, the one on the line included.
func TestQueue(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a, b, sa, sb := twoHosts(t, in)
		in.SetPath(a, b, Path{Bandwidth: 8e6, Queue: 4000})
		dg := payload(1000 - 28)
		dg.Addr = sb.LocalAddr()
		writeAll(t, sa, dg, dg, dg, dg, dg, dg)
		time.Sleep(2 * time.Millisecond) // two have left
		writeAll(t, sa, dg, dg, dg)
		time.Sleep(time.Second)
		c, want := a.Counters(), uint64(3)
		if c.Dropped[DropQueue] != want || c.DroppedTotal() != want || b.Counters().PacketsReceived != 6 {
			t.Errorf("%+v, received %d; want %d dropped by the queue, 6 received", c, b.Counters().PacketsReceived, want)
		}
	})
}

func TestMTUAndCounters(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		a := in.Host("a", addr("192.0.2.1"), addr("2001:db8::1"))
		b := in.Host("b", addr("192.0.2.2"), addr("2001:db8::2"))
		sa, _ := listen(t, a, 1), listen(t, b, 2)
		send := func(to string, n int) {
			dg := payload(n)
			dg.Addr = endpoint(to)
			writeAll(t, sa, dg)
		}
		send("192.0.2.2:2", 1472)
		send("192.0.2.2:2", 1473)
		send("[2001:db8::2]:2", 1452)
		send("[2001:db8::2]:2", 1453)
		b.SetLink(Path{}, Path{MTU: 1280})
		time.Sleep(time.Second)
		send("192.0.2.2:2", 1252)
		send("192.0.2.2:2", 1253)
		time.Sleep(time.Second)
		want := Counters{PacketsSent: 6, BytesSent: 1500 + 1501 + 1500 + 1501 + 1280 + 1281}
		want.Dropped[DropTooBig] = 5 // the downlink was made smaller before the large ones reached it
		if got := a.Counters(); got != want {
			t.Errorf("sender has %+v, want %+v", got, want)
		}
		if got, want := b.Counters(), (Counters{PacketsReceived: 1, BytesReceived: 1280}); got != want {
			t.Errorf("receiver has %+v, want %+v", got, want)
		}
		want.PacketsReceived, want.BytesReceived = 1, 1280
		if got := in.Counters(); got != want {
			t.Errorf("the sum is %+v, want %+v", got, want)
		}
	})
}

// TestLossStatistics allows six standard deviations, so a right loss rate fails once in 10^9 seeds.
func TestLossStatistics(t *testing.T) {
	const n, p, q = 20000, 0.05, 0.1
	bubble(t, 7, func(t *testing.T, in *Internet) {
		a, b, sa, sb := twoHosts(t, in)
		in.SetLoss(p)
		in.SetPath(a, b, Path{Latency: time.Millisecond, Loss: q, Duplicate: 0.02})
		go drain(sb)
		dg := payload(10)
		dg.Addr = sb.LocalAddr()
		for range n {
			writeAll(t, sa, dg)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		near := func(what string, got uint64, rate float64) {
			t.Helper()
			if bound := 6 * math.Sqrt(n*rate*(1-rate)); math.Abs(float64(got)-n*rate) > bound {
				t.Errorf("%s: %d of %d, want %.0f within %.0f", what, got, n, n*rate, bound)
			}
		}
		lost := a.Counters().Dropped[DropLoss]
		near("lost", lost, p+q-p*q)
		near("duplicated", b.Counters().PacketsReceived+lost-n, (1-p)*(1-q)*0.02)
	})
}

// drain reads until the socket is closed.
func drain(s underlay.Socket) {
	dgs := buffers(underlay.BatchMax, 2048)
	for {
		if _, err := s.ReadBatch(dgs); err != nil {
			return
		}
	}
}

// TestOrder shows that jitter keeps the order, and that Reorder breaks it within ReorderBy.
func TestOrder(t *testing.T) {
	const n = 500
	for _, tt := range []struct {
		name    string
		path    Path
		ordered bool
		latest  time.Duration
	}{
		{"jitter", Path{Latency: 10 * time.Millisecond, Jitter: 5 * time.Millisecond}, true, 15 * time.Millisecond},
		{"reorder", Path{Latency: 10 * time.Millisecond, Reorder: 0.1, ReorderBy: 3 * time.Millisecond}, false, 13 * time.Millisecond},
		{"reorder by latency", Path{Latency: 10 * time.Millisecond, Reorder: 0.1}, false, 20 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, 3, func(t *testing.T, in *Internet) {
				a, b, sa, sb := twoHosts(t, in)
				in.SetPath(a, b, tt.path)
				var sent [n]time.Time
				go func() {
					for i := range n {
						sent[i] = time.Now()
						sa.WriteBatch([]underlay.Datagram{datagram(sb.LocalAddr(), fmt.Sprintf("%04d", i))})
						time.Sleep(100 * time.Microsecond)
					}
				}()
				ordered := true
				var last []byte
				dg := buffers(1, 2048)
				for range n {
					if _, err := sb.ReadBatch(dg); err != nil {
						t.Fatal(err)
					}
					got := dg[0].Buf[:dg[0].N]
					ordered = ordered && bytes.Compare(got, last) > 0
					last = bytes.Clone(got)
					var i int
					fmt.Sscanf(string(got), "%d", &i)
					if took := time.Since(sent[i]); took < tt.path.Latency || took > tt.latest {
						t.Errorf("packet %d took %v, want %v to %v", i, took, tt.path.Latency, tt.latest)
					}
				}
				if ordered != tt.ordered {
					t.Errorf("in order: %v, want %v", ordered, tt.ordered)
				}
			})
		})
	}
}

// TestTransit checks the arithmetic of a line where it does not come out even.
func TestTransit(t *testing.T) {
	l := pipe{Path: Path{Bandwidth: 3e6, MTU: 9000}}
	var last time.Duration
	for i := 1; i <= 9; i++ {
		at, _, drop := l.transit(0, 1000, nil)
		exact := time.Duration(i) * 8000 * time.Second / 3e6
		if drop != 0 || at < exact || at > exact+time.Duration(i) {
			t.Errorf("packet %d leaves at %v (%v), want %v and at most 1 ns for each before it", i, at, drop, exact)
		}
		last = at
	}
	// An idle line keeps nothing.
	if at, _, _ := l.transit(last+time.Hour, 3000, nil); at != last+time.Hour+8*time.Millisecond {
		t.Errorf("after an idle hour a packet leaves at %v", at)
	}
	// The queue that Bandwidth gives by default: 100 ms, and at least 64 KiB.
	if got := (Path{Bandwidth: 1e9}).queue(); got != 12.5e6 {
		t.Errorf("queue of 1 Gb/s = %d", got)
	}
	if got := (Path{Bandwidth: 1e6}).queue(); got != 65536 {
		t.Errorf("queue of 1 Mb/s = %d", got)
	}
}

// TestDeterminism runs the same traffic three times and compares what was delivered when.
func TestDeterminism(t *testing.T) {
	run := func(seed uint64) (trace []string) {
		bubble(t, seed, func(t *testing.T, in *Internet) {
			start := time.Now()
			in.OnDeliver(func(now time.Time, from, to netip.AddrPort, payload []byte) {
				trace = append(trace, fmt.Sprintf("%v %v %v %s", now.Sub(start), from, to, payload))
			})
			in.SetDefaultPath(Path{Latency: 20 * time.Millisecond, Jitter: 9 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Bandwidth: 1e6})
			nat := in.NAT("n", addr("203.0.113.1"), Symmetric)
			var socks []underlay.Socket
			for i := range 4 {
				socks = append(socks, listen(t, in.Host("public", netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})), 7))
			}
			public := len(socks)
			for i := range 3 {
				socks = append(socks, listen(t, nat.Host("private", netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 2)})), 7))
			}
			for i := range 400 {
				s := socks[i%len(socks)]
				writeAll(t, s, datagram(socks[i*i%public].LocalAddr(), fmt.Sprint("p", i)))
				time.Sleep(time.Duration(i%5) * time.Millisecond)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		})
		return trace
	}
	first, second, other := run(42), run(42), run(43)
	if len(first) < 200 || !slices.Equal(first, second) {
		t.Errorf("the same seed gave %d and %d deliveries that differ", len(first), len(second))
	}
	if slices.Equal(first, other) {
		t.Error("another seed gave the same deliveries")
	}
}

// TestPathsBehindBoxes shows which two nodes a path set between hosts lies between.
func TestPathsBehindBoxes(t *testing.T) {
	bubble(t, 1, func(t *testing.T, in *Internet) {
		nat := in.NAT("nat", addr("203.0.113.1"), FullCone)
		a, b := nat.Host("a", addr("10.0.0.2")), nat.Host("b", addr("10.0.0.3"))
		c, d := in.Host("c", addr("192.0.2.1")), in.Host("d", addr("192.0.2.2"))
		sa, sb, sc, sd := listen(t, a, 1), listen(t, b, 1), listen(t, c, 1), listen(t, d, 1)
		want := func(what string, from, to underlay.Socket, want ...float64) {
			t.Helper()
			if got := arrivals(t, from, to, len(want), 1000-28); !slices.Equal(got, ms(want...)) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		want("neighbours", sa, sb, 0)
		want("to the core", sa, sc, 10)
		nat.SetInnerPath(Path{Latency: time.Millisecond})
		want("neighbours with an inner path", sa, sb, 1)
		want("to the core with an inner path", sa, sc, 11)
		in.SetPath(a, b, Path{Latency: 2 * time.Millisecond})
		want("neighbours with a path of their own", sb, sa, 2)
		in.SetPath(c, a, Path{Latency: 20 * time.Millisecond})
		want("to c", sa, sc, 21)
		want("to c from the neighbour, who shares the path", sb, sc, 21)
		want("to d", sa, sd, 11)
		in.SetPath(nat, a, Path{Latency: 5 * time.Millisecond})
		want("with a path to the box", sa, sd, 15)
		nat.SetLink(Path{Bandwidth: 8e6}, Path{})
		want("with a line that all share", sa, sd, 16, 17)
	})
}
