package impair

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A Port is an end of a cable: an interface whose packets are read and written whole. Read and Write
// may be called at the same time. Close makes a Read that waits return an error.
type Port interface {
	io.ReadWriteCloser
}

// headerOf returns how many bytes of a port's packets are its link's header.
func headerOf(p Port) int {
	if p, ok := p.(interface{ header() int }); ok {
		return p.header()
	}
	return 0
}

// packetMax is the largest packet that a Cable reads, link header included.
const packetMax = 1 << 16

// A Cable carries packets between two ports, each direction by a Line of its own.
type Cable struct {
	a, b   Port
	ab, ba *end
	cut    atomic.Bool
}

// end is a line at work.
type end struct {
	mu   sync.Mutex
	line *Line         // guarded by mu
	wake chan struct{} // capacity 1: something leaves sooner than the writer thinks
}

func newEnd(l *Line) *end { return &end{line: l, wake: make(chan struct{}, 1)} }

// NewCable makes a cable: toB says what happens from a to b, toA the other way. Run starts it.
func NewCable(a, b Port, toB, toA Settings, seed uint64) (*Cable, error) {
	ab, err := NewLine(toB, seed)
	if err != nil {
		return nil, err
	}
	ba, err := NewLine(toA, seed+1)
	if err != nil {
		return nil, err
	}
	ab.header, ba.header = headerOf(a), headerOf(b)
	return &Cable{a: a, b: b, ab: newEnd(ab), ba: newEnd(ba)}, nil
}

// Run carries packets until ctx ends or a port fails; then it closes both ports.
func (c *Cable) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	start := func(f func() error) {
		work.Go(func() {
			if err := f(); err != nil {
				cancel(err)
			}
		})
	}
	start(func() error { return c.read(c.a, c.ab) })
	start(func() error { return c.read(c.b, c.ba) })
	start(func() error { return write(ctx, c.ab, c.b) })
	start(func() error { return write(ctx, c.ba, c.a) })
	<-ctx.Done()
	err := context.Cause(ctx)
	err = errors.Join(err, c.a.Close(), c.b.Close())
	work.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Cut cuts the cable, or mends it. What is on its way arrives.
func (c *Cable) Cut(is bool) { c.cut.Store(is) }

// Set changes the lines while the cable is at work.
func (c *Cable) Set(toB, toA Settings) error {
	return errors.Join(c.ab.set(toB), c.ba.set(toA))
}

func (e *end) set(s Settings) error {
	e.mu.Lock()
	err := e.line.Set(time.Now(), s)
	e.mu.Unlock()
	e.rouse()
	return err
}

// rouse has the writer look again.
func (e *end) rouse() {
	select {
	case e.wake <- struct{}{}:
	default: // it is awake
	}
}

// Counts returns what has happened from a to b and from b to a.
func (c *Cable) Counts() (toB, toA Counts) { return c.ab.counts(), c.ba.counts() }

func (e *end) counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.line.Counts()
}

func (c *Cable) read(from Port, to *end) error {
	b := make([]byte, packetMax)
	for {
		n, err := from.Read(b)
		if err != nil {
			return err
		}
		if c.cut.Load() {
			continue
		}
		to.mu.Lock()
		before := to.line.Next()
		to.line.Send(time.Now(), b[:n])
		sooner := before != to.line.Next()
		to.mu.Unlock()
		if sooner {
			to.rouse()
		}
	}
}

// write sends what leaves the line. An interface that takes a packet no more loses it: that is what
// networks do.
func write(ctx context.Context, from *end, to Port) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var packets [][]byte
	for {
		from.mu.Lock()
		from.line.Release(packets)
		packets = from.line.Advance(time.Now(), packets[:0])
		next := from.line.Next()
		from.mu.Unlock()
		for _, p := range packets {
			_, _ = to.Write(p)
		}
		if len(packets) > 0 {
			continue
		}
		var due <-chan time.Time
		if !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-from.wake:
		case <-due:
		}
	}
}
