package poll

import (
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An FD is a descriptor for calls that do not wait: it is non-blocking, or used with flags to that effect. The Go runtime's
// poller knows nothing of it; who wants to wait does so by Read or by a Set. All methods may be called concurrently.
type FD struct {
	mu   sync.RWMutex // held for reading while the descriptor is in use
	fd   int          // -1: closed
	sets struct {
		sync.Mutex
		list []*Set
		own  *Set // for Read; nil: not yet needed
	}
}

// New returns the FD that owns fd.
func New(fd int) *FD { return &FD{fd: fd} }

// Use calls f with the descriptor, which stays open meanwhile. After Close it reports false and does not call f.
func (d *FD) Use(f func(fd uintptr)) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.fd < 0 {
		return false
	}
	f(uintptr(d.fd))
	return true
}

// Read calls try, which may Use the descriptor, until it reports that it is done; in between it waits until there is
// something to read. It returns net.ErrClosed when d is closed, and os.ErrDeadlineExceeded when the deadline has passed.
func (d *FD) Read(try func() bool) error {
	own, err := d.own()
	if err != nil {
		return err
	}
	return own.Each(try)
}

// SetReadDeadline bounds how long Read waits.
func (d *FD) SetReadDeadline(t time.Time) error {
	own, err := d.own()
	if err != nil {
		return err
	}
	return own.outer.SetReadDeadline(t)
}

func (d *FD) own() (*Set, error) {
	d.sets.Lock()
	own := d.sets.own
	d.sets.Unlock()
	if own != nil {
		return own, nil
	}
	own, err := NewSet(d)
	if err != nil {
		return nil, err
	}
	d.sets.Lock()
	defer d.sets.Unlock()
	if d.sets.own != nil { // somebody was faster
		own.Close()
		return d.sets.own, nil
	}
	d.sets.own = own
	return own, nil
}

// WaitWritable waits until the descriptor can be written to, but not longer than patience. It reports whether it can.
func (d *FD) WaitWritable(patience time.Duration) bool {
	can := false
	d.Use(func(fd uintptr) {
		list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		for until := time.Now().Add(patience); ; {
			n, err := unix.Poll(list, int(max(0, time.Until(until)).Milliseconds()))
			if err != unix.EINTR {
				can = n > 0
				return
			}
		}
	})
	return can
}

// Close ends the waiting of everybody, closes the Sets that d is in, and returns once nobody uses the descriptor. The second
// and later calls do nothing and return nil.
func (d *FD) Close() error {
	d.sets.Lock()
	list := d.sets.list
	d.sets.list = nil
	d.sets.Unlock()
	for _, s := range list {
		s.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		return nil
	}
	err := unix.Close(d.fd)
	d.fd = -1
	return err
}

// joins notes that s is to be closed with d. It fails when d is closed.
func (d *FD) joins(s *Set, add func(fd uintptr)) error {
	d.sets.Lock()
	d.sets.list = append(d.sets.list, s)
	d.sets.Unlock()
	if !d.Use(add) {
		return net.ErrClosed
	}
	return nil
}

// leaves takes that back.
func (d *FD) leaves(s *Set) {
	d.sets.Lock()
	defer d.sets.Unlock()
	d.sets.list = slices.DeleteFunc(d.sets.list, func(other *Set) bool { return other == s })
}
