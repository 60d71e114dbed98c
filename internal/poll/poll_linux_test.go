package poll

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns a descriptor to read, and one to write to it.
func pair(t *testing.T) (*FD, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := New(fds[0])
	t.Cleanup(func() {
		d.Close()
		unix.Close(fds[1])
	})
	return d, fds[1]
}

func put(t *testing.T, fd int, b byte) {
	for {
		switch err := unix.Send(fd, []byte{b}, 0); err {
		case nil:
			return
		case unix.EAGAIN:
			runtime.Gosched()
		default:
			t.Error(err)
			return
		}
	}
}

// get reads one byte, if there is one.
func get(d *FD) (b byte, ok bool) {
	d.Use(func(fd uintptr) {
		var buf [1]byte
		n, err := unix.Read(int(fd), buf[:])
		b, ok = buf[0], err == nil && n == 1
	})
	return b, ok
}

// TestEach: whatever is written to whichever member, at whatever moment, is read.
func TestEach(t *testing.T) {
	const members, each = 3, 20_000
	var list []*FD
	var writers sync.WaitGroup
	idle := make(chan struct{}, 1) // the reader has found nothing
	for range members {
		d, to := pair(t)
		list = append(list, d)
		writers.Go(func() {
			for i := range each {
				put(t, to, byte(i))
				if i%32 == 0 {
					<-idle
				}
			}
		})
	}
	s, err := NewSet(list...)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	stuck := time.AfterFunc(time.Minute, s.Close)
	defer stuck.Stop()
	got, waits := 0, 0
	if err := s.Each(func() bool {
		for more := true; more; {
			more = false
			for _, d := range list {
				if _, ok := get(d); ok {
					got, more = got+1, true
				}
			}
		}
		waits++
		select {
		case idle <- struct{}{}:
		default:
		}
		return got == members*each
	}); err != nil {
		t.Fatalf("%d of %d read: %v", got, members*each, err)
	}
	writers.Wait()
	if waits < 100 {
		t.Errorf("waited %d times: the test shows little", waits)
	}
}

// TestQuietWhileBusy: what arrives while a turn runs does not make the descriptor ready that the runtime waits for.
func TestQuietWhileBusy(t *testing.T) {
	d, to := pair(t)
	s, err := NewSet(d)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ready := func() bool {
		list := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(list, 0)
		if err != nil {
			t.Error(err)
		}
		return n > 0
	}
	turns := 0
	err = s.Each(func() bool {
		turns++
		if _, ok := get(d); !ok {
			go put(t, to, 1)
			return false
		}
		put(t, to, 2)
		if ready() {
			t.Error("ready during a turn")
		}
		get(d)
		put(t, to, 3)
		s.arm()
		if !ready() {
			t.Error("not ready when armed: the test shows nothing")
		}
		return true
	})
	if err != nil || turns < 2 {
		t.Errorf("%d turns, %v", turns, err)
	}
}

// TestClose: a member that is closed ends the waiting of those that wait for it, and of no others.
func TestClose(t *testing.T) {
	a, _ := pair(t)
	b, toB := pair(t)
	s, err := NewSet(a, b)
	if err != nil {
		t.Fatal(err)
	}
	errs, waiting := make(chan error, 2), make(chan struct{}, 10)
	wait := func() bool { waiting <- struct{}{}; return false }
	go func() { errs <- s.Each(wait) }()
	go func() { errs <- a.Read(wait) }()
	<-waiting
	<-waiting
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-errs; !errors.Is(err, net.ErrClosed) {
			t.Errorf("waiting ended with %v", err)
		}
	}
	if a.Use(func(uintptr) {}) {
		t.Error("the closed one can be used")
	}
	if err := a.Read(func() bool { return true }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of the closed one: %v", err)
	}
	if _, err := NewSet(b, a); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a set with the closed one: %v", err)
	}
	put(t, toB, 7)
	var got byte
	if err := b.Read(func() (ok bool) { got, ok = get(b); return ok }); err != nil || got != 7 {
		t.Errorf("the other one gave %d, %v", got, err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// TestCloseWaits: a descriptor is closed when nobody uses it any more: its number may be another file's at once.
func TestCloseWaits(t *testing.T) {
	d, _ := pair(t)
	in, closing, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var over atomic.Bool
	go d.Use(func(uintptr) {
		close(in)
		<-closing
		for range 10_000 {
			runtime.Gosched()
		}
		over.Store(true)
	})
	<-in
	go func() {
		close(closing)
		d.Close()
		if !over.Load() {
			t.Error("closed while in use")
		}
		close(closed)
	}()
	<-closed
}

func TestReadDeadline(t *testing.T) {
	d, _ := pair(t)
	if err := d.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := d.Read(func() bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read ended with %v", err)
	}
}

func TestWaitWritable(t *testing.T) {
	d, from := pair(t)
	if !d.WaitWritable(time.Second) {
		t.Error("an empty buffer takes nothing")
	}
	d.Use(func(fd uintptr) {
		for unix.Send(int(fd), make([]byte, 1000), unix.MSG_DONTWAIT) == nil {
		}
	})
	if d.WaitWritable(time.Millisecond) {
		t.Error("a full buffer takes something")
	}
	go func() {
		buf := make([]byte, 1000)
		for range 1000 {
			unix.Read(from, buf)
		}
	}()
	if !d.WaitWritable(10 * time.Second) {
		t.Error("an emptied buffer takes nothing")
	}
}

// BenchmarkEach is what one arrival costs, the wake-up included.
func BenchmarkEach(b *testing.B) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	d, back := New(fds[0]), New(fds[1])
	defer d.Close()
	defer back.Close()
	go back.Read(func() bool {
		for {
			if _, ok := get(back); !ok {
				return false
			}
			back.Use(func(fd uintptr) { unix.Send(int(fd), []byte{1}, unix.MSG_DONTWAIT) })
		}
	})
	for b.Loop() {
		d.Use(func(fd uintptr) { unix.Send(int(fd), []byte{1}, unix.MSG_DONTWAIT) })
		if err := d.Read(func() (ok bool) { _, ok = get(d); return ok }); err != nil {
			b.Fatal(err)
		}
	}
}
