package impair

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Switch is a wide-area network of lines between sites: between any two a line there and a line back,
// each with its own settings, so that what one site sends to two others shares nothing unless the test
// says so. It is the router that every site's gateway has as its default route: it answers ARP and
// neighbour solicitations for itself and carries IP of both families to the site that has the destination. It
// does not count hops, sends no ICMP of its own, and drops what has no destination.
//
// One thread of real-time priority does all the work, so that lines are on time on a busy machine. Methods
// may be called at any time from anywhere.
type Switch struct {
	wake int // an eventfd that ends a wait
	seed uint64

	mu sync.Mutex
	// Guarded by mu.
	sites []*site
	lines [][]*strand // by source and destination
	all   []*strand   // each once
	lost  int         // packets without a destination
	wrote time.Time   // when a packet left last
	late  time.Duration
	over  bool // Run has ended
}

// A strand is a line of a switch.
type strand struct {
	*Line
	cut     bool
	leaving [][]byte // what is being written
}

// site is what the switch knows of one.
type site struct {
	fd            int
	ours, theirs  [6]byte // Ethernet addresses
	prefixes      []netip.Prefix
	out           [][]byte // to write; empty between two rounds
	batch         *batch
	undeliverable int
}

// A Gateway is how a site is joined to a switch.
type Gateway struct {
	Interface string         // the switch's end, in the network namespace of the thread that calls Add
	Peer      [6]byte        // the Ethernet address at the site's end
	Prefixes  []netip.Prefix // what is at the site
}

// ours is the Ethernet address of the switch, the same at every site.
var ours = [6]byte{0x02, 0, 0x5e, 0, 0, 0x01}

// NewSwitch makes a switch without sites. What happens on its lines follows from the seed and the
// packets. Run starts it.
func NewSwitch(seed uint64) (*Switch, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("impair: eventfd: %w", err)
	}
	return &Switch{wake: wake, seed: seed}, nil
}

// Add joins a site, by perfect lines, and returns its number: 0, 1 and so on. The site must finish its
// checksums and send no packet larger than the MTU: turn the offloads off there.
func (s *Switch) Add(g Gateway) (n int, err error) {
	fd, err := openPacketSocket(g.Interface)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n = len(s.sites)
	s.sites = append(s.sites, &site{fd: fd, ours: ours, theirs: g.Peer, prefixes: g.Prefixes, batch: newBatch()})
	s.lines = append(s.lines, make([]*strand, n))
	for i := range s.lines {
		s.lines[i] = append(s.lines[i], nil)
		if i != n {
			s.lines[i][n], s.lines[n][i] = s.strand(), s.strand()
		}
	}
	s.rouse()
	return n, nil
}

func (s *Switch) strand() *strand {
	s.seed++
	l, err := NewLine(Settings{}, s.seed)
	if err != nil {
		panic("impair: internal error: the zero settings are refused: " + err.Error())
	}
	l.header = etherHeader
	st := &strand{Line: l}
	s.all = append(s.all, st)
	return st
}

// Set changes the line from one site to another.
func (s *Switch) Set(from, to int, settings Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.rouse()
	return s.lines[from][to].Set(time.Now(), settings)
}

// Cut cuts the line from one site to another, or mends it. What is on its way arrives.
func (s *Switch) Cut(from, to int, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[from][to].cut = is
}

// Share has what goes from one site to another use the line from like[0] to like[1], and share it with
// what goes there.
func (s *Switch) Share(from, to int, like [2]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines[from][to] = s.lines[like[0]][like[1]]
}

// Counts returns what has happened on the line from one site to another.
func (s *Switch) Counts(from, to int) Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[from][to].Counts()
}

// Lost returns how many packets had no destination, and how many interfaces would not take.
func (s *Switch) Lost() (unroutable, undeliverable int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.sites {
		undeliverable += t.undeliverable
	}
	return s.lost, undeliverable
}

// Late returns how much later than due a packet left at worst since the last call, as far as the switch knows:
// for so long its thread stood still, and its lines gave less than they were set to.
func (s *Switch) Late() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := s.late
	s.late = 0
	return late
}

// rouse ends the wait of Run. The caller holds mu.
func (s *Switch) rouse() {
	if s.over {
		return
	}
	_, _ = unix.Write(s.wake, []byte{0, 0, 0, 0, 0, 0, 0, 1})
}

// Run carries packets until ctx ends, and closes the switch.
func (s *Switch) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.rouse()
	})()
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: a thread with this priority must do nothing else
		// Where it is not allowed lines are late on a busy machine; tests measure their figures anyhow.
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
		ended <- s.work(ctx)
	}()
	err := <-ended
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, t := range s.sites {
		err = errors.Join(err, unix.Close(t.fd))
	}
	return errors.Join(err, unix.Close(s.wake))
}

func (s *Switch) work(ctx context.Context) error {
	var fds []unix.PollFd
	for ctx.Err() == nil {
		s.mu.Lock()
		for i := len(fds) - 1; i < len(s.sites); i++ {
			if i < 0 {
				fds = append(fds, unix.PollFd{Fd: int32(s.wake), Events: unix.POLLIN})
			} else {
				fds = append(fds, unix.PollFd{Fd: int32(s.sites[i].fd), Events: unix.POLLIN})
			}
		}
		for i := range s.sites {
			if fds[i+1].Revents != 0 {
				s.read(i)
			}
		}
		wait := s.write()
		s.mu.Unlock()
		timeout := unix.NsecToTimespec(int64(wait))
		if _, err := unix.Ppoll(fds, &timeout, nil); err != nil && err != unix.EINTR {
			return os.NewSyscallError("ppoll", err)
		}
		if fds[0].Revents != 0 {
			var b [8]byte
			_, _ = unix.Read(s.wake, b[:])
		}
	}
	return nil
}

// read puts what has come from a site on its lines.
func (s *Switch) read(i int) {
	from := s.sites[i]
	n := from.batch.receive(from.fd)
	now := time.Now()
	for k := range n {
		packet := from.batch.packet(k)
		to := s.destination(packet)
		switch {
		case to >= 0 && to != i:
			if st := s.lines[i][to]; !st.cut {
				st.Send(from.batch.arrival(k, now), packet)
			}
		case to < 0 && from.answer(packet):
		default:
			s.lost++
		}
	}
}

const (
	// idle is how long the switch sleeps when nothing is on its lines; it is woken for all that changes that.
	idle = time.Hour
	// lateness is how late the kernel wakes a thread, about. The switch has itself called so much earlier and
	// spends in turns without sleep what is left.
	lateness = 50 * time.Microsecond
	// spinFrom is how far apart packets must leave for that; closer together they may be late by lateness,
	// which changes no rate, and the processor has other work.
	spinFrom = 2 * lateness
)

// write sends what leaves the lines to the sites, and returns how long to sleep before the next does.
func (s *Switch) write() (wait time.Duration) {
	now := time.Now()
	for _, st := range s.all {
		if due := st.Next(); !due.IsZero() {
			s.late = max(s.late, now.Sub(due))
		}
		st.leaving = st.Advance(now, st.leaving[:0])
		for _, packet := range st.leaving {
			// Not as the line has been found: several may share one.
			t := s.sites[s.destination(packet)]
			copy(packet, t.theirs[:])
			copy(packet[6:], t.ours[:])
			t.out = append(t.out, packet)
			s.wrote = now
		}
	}
	for _, t := range s.sites {
		t.undeliverable += len(t.out) - t.batch.send(t.fd, t.out)
		t.out = t.out[:0]
	}
	var next time.Time
	for _, st := range s.all {
		st.Release(st.leaving)
		if at := st.Next(); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if next.IsZero() {
		return idle
	}
	wait = time.Until(next)
	if next.Sub(s.wrote) >= spinFrom {
		wait -= lateness
	}
	return max(wait, 0)
}
