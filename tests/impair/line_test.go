package impair

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var start = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func numbered(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }

func line(t *testing.T, s Settings) *Line {
	t.Helper()
	l, err := NewLine(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// an arrival is a packet's number and how long it was on the line.
type arrival struct {
	number int
	after  time.Duration
}

// play sends n packets, one every gap, and returns what arrives.
func play(t *testing.T, l *Line, n int, gap time.Duration) (list []arrival) {
	t.Helper()
	take := func(until time.Time) {
		for next := l.Next(); !next.IsZero() && !next.After(until); next = l.Next() {
			packets := l.Advance(next, nil)
			for _, p := range packets {
				i := int(binary.BigEndian.Uint32(p))
				list = append(list, arrival{i, next.Sub(start.Add(time.Duration(i) * gap))})
			}
			l.Release(packets)
		}
	}
	for i := range n {
		now := start.Add(time.Duration(i) * gap)
		take(now)
		l.Send(now, numbered(i))
	}
	take(start.Add(time.Hour))
	return list
}

func TestPerfectLine(t *testing.T) {
	got := play(t, line(t, Settings{}), 100, time.Millisecond)
	for i, a := range got {
		if a != (arrival{i, 0}) {
			t.Fatalf("arrival %d is %+v", i, a)
		}
	}
	if len(got) != 100 {
		t.Errorf("%d packets of 100", len(got))
	}
}

func TestDelayAndJitter(t *testing.T) {
	const n = 10000
	got := play(t, line(t, Settings{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond}), n, 30*time.Millisecond)
	var sum time.Duration
	for i, a := range got {
		if a.number != i {
			t.Fatalf("jitter has reordered: arrival %d is packet %d", i, a.number)
		}
		if a.after < 15*time.Millisecond || a.after > 25*time.Millisecond {
			t.Fatalf("packet %d took %v", i, a.after)
		}
		sum += a.after
	}
	if ratio := float64(sum) / n / float64(20*time.Millisecond); len(got) != n || ratio < 0.99 || ratio > 1.01 {
		t.Errorf("%d packets took %.3f times the delay", len(got), ratio)
	}
	// Close together, each waits for the one before.
	got = play(t, line(t, Settings{Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond}), n, time.Millisecond)
	if !slices.IsSortedFunc(got, func(a, b arrival) int { return a.number - b.number }) {
		t.Error("jitter has reordered packets that were close together")
	}
}

func TestShares(t *testing.T) {
	const n = 20000
	l := line(t, Settings{Delay: 20 * time.Millisecond, Loss: 0.01, Duplicate: 0.02, Reorder: 0.05})
	got := play(t, l, n, time.Millisecond)
	late := 0
	for i := 1; i < len(got); i++ {
		if got[i].number < got[i-1].number {
			late++
		}
	}
	c := l.Counts()
	between := func(what string, got int, share float64) {
		t.Helper()
		if got < int(n*share*0.7) || got > int(n*share*1.3) {
			t.Errorf("%s: %d of %d, wanted a share of about %v", what, got, n, share)
		}
	}
	between("lost", c.Lost, 0.01)
	between("duplicated", c.Duplicated, 0.02)
	between("reordered", c.Reordered, 0.05)
	between("out of order", late, 0.05)
	if c.Sent != n || c.Delivered != len(got) || c.Delivered != n-c.Lost+c.Duplicated {
		t.Errorf("counts do not add up: %+v, %d arrivals", c, len(got))
	}
}

func TestRateAndQueue(t *testing.T) {
	// 1,000 bytes each at 8 Mbit/s are one every millisecond.
	l := line(t, Settings{Rate: 8_000_000, Delay: 10 * time.Millisecond, Queue: 20_000})
	for range 100 {
		l.Send(start, make([]byte, 1000))
	}
	c := l.Counts()
	if c.Overflowed != 80 {
		t.Errorf("%d of 100 packets overflow a queue of 20", c.Overflowed)
	}
	for i := range 20 {
		want := start.Add(10*time.Millisecond + time.Duration(i+1)*time.Millisecond)
		if got := l.Next(); !got.Equal(want) {
			t.Fatalf("packet %d leaves at %v, want %v", i, got.Sub(start), want.Sub(start))
		}
		if n := len(l.Advance(l.Next(), nil)); n != 1 {
			t.Fatalf("%d packets leave at once", n)
		}
	}
}

func TestSet(t *testing.T) {
	// 1,000 bytes each at 8 Mbit/s are one every millisecond; after 2 ms they are slower, then faster.
	l := line(t, Settings{Rate: 8_000_000, Delay: 10 * time.Millisecond, Queue: 20_000})
	for i := range 6 {
		l.Send(start, append(numbered(i), make([]byte, 996)...))
	}
	set := func(after time.Duration, s Settings) {
		t.Helper()
		if err := l.Set(start.Add(after), s); err != nil {
			t.Fatal(err)
		}
	}
	set(2*time.Millisecond, Settings{Rate: 2_000_000, Delay: time.Millisecond})
	l.Send(start.Add(2*time.Millisecond), append(numbered(6), make([]byte, 996)...))
	set(10*time.Millisecond, Settings{Rate: 8_000_000})
	// Sent after 1, 2, 6, 10 ms, and from there one every millisecond again. Those that were there before
	// take 10 ms on the way; the one that came later would take 1 ms, but overtakes nobody.
	for _, want := range []struct{ after, packets int }{{11, 1}, {12, 1}, {16, 1}, {20, 1}, {21, 1}, {22, 2}} {
		at := l.Next()
		if n := len(l.Advance(at, nil)); at.Sub(start) != time.Duration(want.after)*time.Millisecond || n != want.packets {
			t.Errorf("%d packets leave after %v, want %d after %d ms", n, at.Sub(start), want.packets, want.after)
		}
	}
	if c := l.Counts(); c.Delivered != 7 || c.Overflowed != 0 {
		t.Errorf("counts: %+v", c)
	}
	if err := l.Set(start, Settings{Loss: 2}); err == nil {
		t.Error("nonsense was accepted")
	}
}

func TestHeaderDoesNotCount(t *testing.T) {
	l := line(t, Settings{Rate: 8_000_000})
	l.header = 14
	l.Send(start, make([]byte, 1014))
	if got := l.Next().Sub(start); got != time.Millisecond {
		t.Errorf("1,000 bytes and their header take %v", got)
	}
}

func TestLineDoesNotAllocate(t *testing.T) {
	l := line(t, Settings{Rate: 1_000_000_000, Delay: 3 * time.Millisecond, Jitter: time.Millisecond, Reorder: 0.1, Duplicate: 0.1})
	now, packet, list := start, make([]byte, 1500), make([][]byte, 0, 1000)
	step := func() {
		now = now.Add(12 * time.Microsecond)
		l.Send(now, packet)
		list = l.Advance(now, list[:0])
		l.Release(list)
	}
	for range 10_000 {
		step()
	}
	if n := testing.AllocsPerRun(10_000, step); n > 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

func TestSameSeedSameFate(t *testing.T) {
	s := Settings{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Duplicate: 0.1, Reorder: 0.1}
	if a, b := play(t, line(t, s), 1000, time.Millisecond), play(t, line(t, s), 1000, time.Millisecond); !reflect.DeepEqual(a, b) {
		t.Error("two lines with one seed differ")
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for _, s := range []Settings{{Loss: 1.1}, {Loss: -0.1}, {Reorder: 2}, {Delay: -1}, {Jitter: 1}, {Rate: -1}, {Queue: -1}} {
		if _, err := NewLine(s, 1); err == nil {
			t.Errorf("accepted: %+v", s)
		}
	}
}

// A pipe is a Port in memory.
type pipe struct {
	in, out chan []byte
	closed  chan struct{}
}

func (p *pipe) Read(b []byte) (int, error) {
	select {
	case packet := <-p.in:
		return copy(b, packet), nil
	case <-p.closed:
		return 0, io.EOF
	}
}

func (p *pipe) Write(b []byte) (int, error) {
	select {
	case p.out <- bytes.Clone(b):
		return len(b), nil
	case <-p.closed:
		return 0, io.EOF
	}
}

func (p *pipe) Close() error { close(p.closed); return nil }

func newPipe() *pipe {
	return &pipe{make(chan []byte), make(chan []byte, 100), make(chan struct{})}
}

func TestCable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe(), newPipe()
		c, err := NewCable(a, b, Settings{Delay: 30 * time.Millisecond}, Settings{Delay: 10 * time.Millisecond}, 1)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		sent := time.Now()
		a.in <- []byte("to b")
		b.in <- []byte("to a")
		if got := <-a.out; string(got) != "to a" || time.Since(sent) != 10*time.Millisecond {
			t.Errorf("%q arrives after %v", got, time.Since(sent))
		}
		if got := <-b.out; string(got) != "to b" || time.Since(sent) != 30*time.Millisecond {
			t.Errorf("%q arrives after %v", got, time.Since(sent))
		}
		c.Cut(true)
		a.in <- []byte("lost")
		time.Sleep(time.Second)
		c.Cut(false)
		a.in <- []byte("found")
		if got := <-b.out; string(got) != "found" {
			t.Errorf("%q arrives through a cut cable", got)
		}
		if toB, toA := c.Counts(); toB.Delivered != 2 || toA.Delivered != 1 {
			t.Errorf("counts: %+v, %+v", toB, toA)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestBrokenPortEndsCable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe(), newPipe()
		c, err := NewCable(&broken{a}, b, Settings{}, Settings{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Run: %v", err)
		}
	})
}

type broken struct{ *pipe }

func (*broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
