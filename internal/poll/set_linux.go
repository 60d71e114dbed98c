package poll

import (
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Set is what one goroutine waits for: that one of its members can be read.
//
// It is two instances of epoll(7). The inner one has the members. The outer one has the inner one, and is what the Go
// runtime's poller knows. It is armed (EPOLLONESHOT) only while the goroutine waits: else each packet that arrives meanwhile
// would wake a thread of the runtime, which finds nothing to do.
type Set struct {
	members []*FD
	inner   int
	outer   *os.File
	fd      int // of outer
	raw     syscall.RawConn
	closed  atomic.Bool

	turns sync.Mutex // held by Each
	turn  func() bool
	step  func(uintptr) bool // made once, for making one for each call would allocate
	event unix.EpollEvent    // room for the system calls
}

// NewSet returns a Set of the members. It is closed with the first of them that is.
func NewSet(members ...*FD) (*Set, error) {
	s := &Set{inner: -1}
	s.step = s.stepOnce
	if err := s.open(members); err != nil {
		s.Close()
		return nil, fmt.Errorf("wait for descriptors: %w", err)
	}
	return s, nil
}

func (s *Set) open(members []*FD) (err error) {
	if s.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if err = unix.SetNonblock(s.fd, true); err != nil { // else os.NewFile would not give it to the poller
		_ = unix.Close(s.fd)
		return err
	}
	s.outer = os.NewFile(uintptr(s.fd), "epoll")
	if s.raw, err = s.outer.SyscallConn(); err != nil {
		return err
	}
	if s.inner, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	for _, d := range members {
		if err = s.add(d); err != nil {
			return err
		}
	}
	return unix.EpollCtl(s.fd, unix.EPOLL_CTL_ADD, s.inner, &unix.EpollEvent{Events: unix.EPOLLONESHOT})
}

func (s *Set) add(d *FD) (err error) {
	s.members = append(s.members, d)
	if e := d.joins(s, func(fd uintptr) {
		err = unix.EpollCtl(s.inner, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}); e != nil {
		return e
	}
	return err
}

// Each calls turn, which reads the members without waiting, until it reports true. Whenever it reports false, and with that
// that it has found nothing to read in any of them, Each waits until there is something. One goroutine may call it at a time;
// others wait for their turn. It returns net.ErrClosed when a member is closed.
func (s *Set) Each(turn func() bool) error {
	s.turns.Lock()
	defer s.turns.Unlock()
	s.turn = turn
	err := s.raw.Read(s.step)
	if err != nil && s.closed.Load() {
		return net.ErrClosed
	}
	return err
}

// stepOnce is called by the poller when outer is ready; false has it wait. What arrives between the last look of the turn
// and arming makes outer ready at once.
func (s *Set) stepOnce(uintptr) bool {
	s.disarm()
	if s.turn() {
		return true
	}
	s.arm()
	return false
}

// Neither call waits, so the scheduler is not told of them.

func (s *Set) arm() {
	s.event = unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
	unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(s.fd), unix.EPOLL_CTL_MOD, uintptr(s.inner), uintptr(unsafe.Pointer(&s.event)), 0, 0)
}

// disarm takes the event, which switches it off.
func (s *Set) disarm() {
	unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.fd), uintptr(unsafe.Pointer(&s.event)), 1, 0, 0, 0)
}

// Close ends the waiting. The members stay open.
func (s *Set) Close() {
	if s.closed.Swap(true) {
		return
	}
	for _, d := range s.members {
		d.leaves(s)
	}
	if s.outer != nil {
		_ = s.outer.Close() // waits for stepOnce
	}
	if s.inner >= 0 {
		_ = unix.Close(s.inner)
	}
}
