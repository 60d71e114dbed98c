package underlay_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/underlay"
)

// eventually waits until what holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// noLeaks fails the test if goroutines are left when all that it cleans up later than this call is cleaned up.
func noLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ; runtime.NumGoroutine() > before; <-tick.C {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<20)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
				return
			}
		}
	})
}

// dialFrom makes a bare TCP connection from an address of loopback.
func dialFrom(t testing.TB, from string, to netip.AddrPort) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// closedWithin reports whether the other side closes the connection, and how much it says before.
func closedWithin(t testing.TB, c net.Conn, d time.Duration) (closed bool, said int) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	n, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded), int(n)
}

// server is listenStreams with other limits.
func server(t testing.TB, p underlay.Protocol, change func(underlay.Limits)) (*underlay.Streams, netip.AddrPort) {
	t.Helper()
	s := underlay.NewStreams(underlay.StreamsConfig{})
	*s.Limits().QueueTime = time.Hour
	change(s.Limits())
	at, err := s.Listen(p, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s, at
}

// TestStrangersAreClosed has strangers that say nothing, or little by little, or what a VR may say; without
// the limit they stay.
func TestStrangersAreClosed(t *testing.T) {
	noLeaks(t)
	const limit = 100 * time.Millisecond
	say := map[string]func(net.Conn){
		"nothing": func(net.Conn) {},
		"slowly": func(c net.Conn) {
			tick := time.NewTicker(limit / 20)
			defer tick.Stop()
			text := "\x16\x03\x01\x02\x00\x01" // as a ClientHello begins; over TCP a datagram of 5,635 bytes
			for i := 0; ; i++ {
				if _, err := c.Write([]byte{text[min(i, len(text)-1)]}); err != nil {
					return
				}
				<-tick.C
			}
		},
		"datagrams": func(c net.Conn) {
			tick := time.NewTicker(limit / 20)
			defer tick.Stop()
			for {
				if _, err := c.Write([]byte{0, 3, 'a', 'b', 'c'}); err != nil {
					return
				}
				<-tick.C
			}
		},
	}
	for _, p := range protocols {
		for name, f := range say {
			for _, on := range []bool{true, false} {
				if p == underlay.TLS && name == "datagrams" {
					continue // that is no TLS
				}
				t.Run(fmt.Sprintf("%s/%s/%v", p, name, on), func(t *testing.T) {
					_, at := server(t, p, func(l underlay.Limits) {
						if on {
							*l.StrangerTime = limit
						}
					})
					c := dialFrom(t, "127.0.0.1", at)
					go f(c)
					wait := 10 * time.Second
					if !on {
						wait = 3 * limit
					}
					closed, said := closedWithin(t, c, wait)
					if closed != on || said != 0 {
						t.Errorf("closed: %v, after %d bytes; want %v, 0", closed, said, on)
					}
				})
			}
		}
	}
}

// TestKeep has one connection that proves itself and one that does not.
func TestKeep(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			noLeaks(t)
			const limit = 400 * time.Millisecond
			b, at := server(t, p, func(l underlay.Limits) { *l.StrangerTime = limit })
			a := dialler(t)
			kept := dial(t, a, underlay.StreamTarget{Protocol: p, Endpoint: at})
			in := []underlay.Datagram{{Buf: make([]byte, 16)}}
			say := func(to netip.AddrPort) {
				if n, err := a.WriteBatch([]underlay.Datagram{dgram(to, 5)}); n != 1 || err != nil {
					t.Fatalf("WriteBatch = %d, %v", n, err)
				}
				if n, err := b.ReadBatch(in); n != 1 || err != nil || in[0].N != 5 {
					t.Fatalf("ReadBatch = %d, %v", n, err)
				}
			}
			say(kept)
			b.Keep(in[0].Addr)
			b.Keep(in[0].Addr)
			keptAtB := in[0].Addr
			stranger := dial(t, a, underlay.StreamTarget{Protocol: p, Endpoint: at})
			say(stranger)
			if got := <-a.Ended(); got != stranger {
				t.Errorf("%v ended, want %v", got, stranger)
			}
			if got := <-b.Ended(); got != in[0].Addr {
				t.Errorf("%v ended, want %v", got, in[0].Addr)
			}
			say(kept)
			status := b.Status()
			if len(status) != 1 || status[0].At != keptAtB || !status[0].Kept || status[0].Dialled || status[0].Received != 2 {
				t.Errorf("status %+v", status)
			}
			if s := a.Status(); len(s) != 1 || s[0].At != kept || !s[0].Dialled || s[0].Sent != 2 || s[0].Remote != at || s[0].Protocol != p {
				t.Errorf("status %+v", s)
			}
			b.Hangup(keptAtB)
			if got := <-a.Ended(); got != kept {
				t.Errorf("%v ended, want %v", got, kept)
			}
			if n, err := a.WriteBatch([]underlay.Datagram{dgram(kept, 1)}); n != 0 || err != nil {
				t.Errorf("WriteBatch to one that has ended = %d, %v", n, err)
			}
		})
	}
}

// open counts the connections that a Streams has, strangers in their handshakes aside.
func openStreams(s *underlay.Streams) int { return len(s.Status()) }

// TestStrangersOfOneNetwork has more connections from one /24 than may be unproved; without the limit they
// stay.
func TestStrangersOfOneNetwork(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			noLeaks(t)
			s, at := server(t, underlay.TCP, func(l underlay.Limits) {
				if !on {
					*l.PerNet = 1 << 30
				}
			})
			for i := range underlay.StrangersPerNet {
				dialFrom(t, fmt.Sprintf("127.0.0.%d", i+1), at)
			}
			eventually(t, "all are open", func() bool { return openStreams(s) == underlay.StrangersPerNet })
			late := dialFrom(t, "127.0.0.99", at)
			if closed, _ := closedWithin(t, late, time.Second); closed != on {
				t.Errorf("one more: closed %v, want %v", closed, on)
			}
			if (s.Refused() == 1) != on {
				t.Errorf("%d refused", s.Refused())
			}
			before := openStreams(s)
			dialFrom(t, "127.0.1.1", at)
			eventually(t, "one of another network is open", func() bool { return openStreams(s) == before+1 })
			s.Keep(path.Stream(1))
			dialFrom(t, "127.0.0.98", at)
			eventually(t, "one more may come for one that has proved itself", func() bool { return openStreams(s) == before+2 })
			s.Hangup(path.Stream(1))
			s.Hangup(path.Stream(2))
			dialFrom(t, "127.0.0.97", at)
			eventually(t, "one more may come for one that has gone", func() bool { return openStreams(s) == before+1 })
		})
	}
}

// TestManyStrangers has strangers from everywhere: the oldest go, but not who has proved itself.
func TestManyStrangers(t *testing.T) {
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			noLeaks(t)
			s, at := server(t, underlay.TCP, func(l underlay.Limits) {
				if !on {
					*l.Strangers = 1 << 30
				}
				*l.StrangerTime = time.Hour
			})
			kept := dialFrom(t, "127.1.1.1", at)
			eventually(t, "the first is open", func() bool { return openStreams(s) == 1 })
			s.Keep(path.Stream(1))
			oldest := dialFrom(t, "127.1.2.1", at)
			eventually(t, "the second is open", func() bool { return openStreams(s) == 2 })
			for i := range underlay.StrangersMax - 1 {
				dialFrom(t, fmt.Sprintf("127.2.%d.1", i), at)
			}
			eventually(t, "all are open", func() bool { return openStreams(s) == underlay.StrangersMax+1 })
			dialFrom(t, "127.3.3.3", at)
			if closed, _ := closedWithin(t, oldest, time.Second); closed != on {
				t.Errorf("the oldest: closed %v, want %v", closed, on)
			}
			if closed, _ := closedWithin(t, kept, time.Millisecond); closed {
				t.Error("one that has proved itself was closed for a stranger")
			}
		})
	}
}

func TestConnectionsInAll(t *testing.T) {
	noLeaks(t)
	const most = 5
	_, at := server(t, underlay.TCP, func(l underlay.Limits) { *l.StrangerTime = time.Hour })
	a, accepts := server(t, underlay.TCP, func(l underlay.Limits) { *l.Streams = most })
	target := underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: at}
	for range most {
		dial(t, a, target)
	}
	if _, err := a.Dial(t.Context(), target); err == nil {
		t.Error("one more could be dialled")
	}
	if closed, _ := closedWithin(t, dialFrom(t, "127.0.0.1", accepts), 10*time.Second); !closed {
		t.Error("one more was accepted")
	}
	a.Hangup(path.Stream(1))
	if got := dial(t, a, target); got != path.Stream(most+1) {
		t.Errorf("dialled %v: numbers are not used twice", got)
	}
}

// TestSendQueueIsBounded writes to somebody who does not read, and has WriteBatch neither wait nor keep.
func TestSendQueueIsBounded(t *testing.T) {
	for _, limit := range []time.Duration{50 * time.Millisecond, time.Hour} {
		t.Run(limit.String(), func(t *testing.T) {
			noLeaks(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			a, _ := server(t, underlay.TCP, func(l underlay.Limits) { *l.QueueTime = limit })
			to := dial(t, a, underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: l.Addr().(*net.TCPAddr).AddrPort()})
			other, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			const size, batches = 1000, 1000
			dgs := make([]underlay.Datagram, 32)
			for i := range batches {
				for j := range dgs {
					dgs[j] = dgram(to, size)
					binary.BigEndian.PutUint32(dgs[j].Buf, uint32(i*len(dgs)+j+1))
				}
				if n, err := a.WriteBatch(dgs); n != len(dgs) || err != nil {
					t.Fatalf("WriteBatch = %d, %v", n, err)
				}
				if q := a.Status()[0].QueuedBytes; q > underlay.QueueBytesMax {
					t.Fatalf("%d bytes queued", q)
				}
			}
			<-time.After(2 * min(limit, 50*time.Millisecond))
			const total = batches*32 + 1
			last := dgram(to, size)
			binary.BigEndian.PutUint32(last.Buf, total)
			if n, err := a.WriteBatch([]underlay.Datagram{last}); n != 1 || err != nil {
				t.Fatalf("WriteBatch = %d, %v", n, err)
			}
			got := readNumbers(t, other, size, total)
			s := a.Status()[0]
			if s.Sent+s.Dropped != total || int(s.Sent) != len(got) || s.QueuedBytes != 0 {
				t.Errorf("%d sent, %d dropped, %d queued of %d; %d came", s.Sent, s.Dropped, s.QueuedBytes, total, len(got))
			}
			// What the queue held when it was read again came late, and so only without the limit in time.
			tail := 0
			for tail < len(got)-1 && got[len(got)-2-tail] == uint32(total-1-tail) {
				tail++
			}
			if old := tail > 0; old != (limit == time.Hour) {
				t.Errorf("%d old datagrams came before the last", tail)
			}
		})
	}
}

// readNumbers reads datagrams until the one with the number last, and returns the numbers, which have to
// rise.
func readNumbers(t testing.TB, c net.Conn, size int, last uint32) (got []uint32) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	p := make([]byte, 2+size)
	for len(got) == 0 || got[len(got)-1] != last {
		if _, err := io.ReadFull(c, p); err != nil {
			t.Fatal(err)
		}
		n := binary.BigEndian.Uint32(p[2:])
		if int(binary.BigEndian.Uint16(p)) != size || len(got) > 0 && n <= got[len(got)-1] {
			t.Fatalf("datagram %d of %d bytes", n, binary.BigEndian.Uint16(p))
		}
		got = append(got, n)
	}
	return got
}

// TestReadingIsFair has one connection send as much as it can while nobody reads: one buffer of it waits,
// TCP holds back the rest, and a single datagram of another connection is not kept behind it.
func TestReadingIsFair(t *testing.T) {
	noLeaks(t)
	b, at := listenStreams(t, underlay.TCP)
	a := dialler(t)
	loud := dial(t, a, underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: at})
	quiet := dial(t, a, underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: at})
	dgs := make([]underlay.Datagram, 64)
	for i := range dgs {
		dgs[i] = dgram(loud, 1000)
	}
	for a.Status()[0].Dropped == 0 { // the kernel's buffers and the send queue are full
		if _, err := a.WriteBatch(dgs); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.WriteBatch([]underlay.Datagram{dgram(quiet, 7)}); err != nil {
		t.Fatal(err)
	}
	received := func(n int) uint64 { return b.Status()[n].Received }
	eventually(t, "both wait to be read", func() bool { return openStreams(b) == 2 && received(0) > 0 && received(1) == 1 })
	if n := received(0); n > 64 {
		t.Errorf("%d datagrams of 1000 bytes wait to be read", n)
	}
	in := make([]underlay.Datagram, 16)
	for i := range in {
		in[i].Buf = make([]byte, 2048)
	}
	for read := 0; ; {
		n, err := b.ReadBatch(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range in[:n] {
			if d.N == 7 {
				return
			}
		}
		if read += n; read > 128 {
			t.Fatalf("%d datagrams of the loud connection came first", read)
		}
	}
}

// TestEndedIsBounded ends more connections than notices may wait, and nothing waits for a reader.
func TestEndedIsBounded(t *testing.T) {
	noLeaks(t)
	_, at := server(t, underlay.TCP, func(l underlay.Limits) { *l.PerNet = 1 << 30 })
	a := dialler(t)
	for range cap(a.Ended()) + 10 {
		a.Hangup(dial(t, a, underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: at}))
	}
	if len(a.Ended()) != cap(a.Ended()) || openStreams(a) != 0 {
		t.Errorf("%d of %d notices, %d open", len(a.Ended()), cap(a.Ended()), openStreams(a))
	}
}

// TestStrangersAreShort: who has not proved itself gets no buffer for a super-packet: its connection ends at the length.
func TestStrangersAreShort(t *testing.T) {
	noLeaks(t)
	b, at := server(t, underlay.TCP, func(underlay.Limits) {})
	in := []underlay.Datagram{{Buf: make([]byte, underlay.StreamDatagramMax)}}
	for _, n := range []int{underlay.StrangerDatagramMax, underlay.StrangerDatagramMax + 1} {
		raw := dialFrom(t, "127.0.0.1", at)
		if _, err := raw.Write(append(binary.BigEndian.AppendUint16(nil, uint16(n)), make([]byte, underlay.StrangerDatagramMax)...)); err != nil {
			t.Fatal(err)
		}
		if n == underlay.StrangerDatagramMax {
			if k, err := b.ReadBatch(in); k != 1 || err != nil || in[0].N != n {
				t.Errorf("ReadBatch = %d of %d bytes, %v", k, in[0].N, err)
			}
			raw.Close()
			<-b.Ended()
			continue
		}
		if _, err := io.Copy(io.Discard, raw); err == nil {
			<-b.Ended()
		}
		if list := b.Status(); len(list) != 0 {
			t.Errorf("a stranger may send %d bytes in one: %+v", n, list)
		}
	}
}
