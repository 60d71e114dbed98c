package underlay

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Offload implements Socket. What the kernel moves at once is what a trial over loopback has shown to come out right.
func (s *UDP) Offload() (Offloads, error) {
	able, err := tryOffloads(s.kernel)
	if name, bad := mangles(release()); bad {
		able.Send = false
		err = errors.Join(err, fmt.Errorf("Linux %s sends some segmented messages with wrong lengths", name))
	}
	if able.Receive {
		if e := s.receiveCoalesced(); e != nil {
			able.Receive = false
			err = errors.Join(err, e)
		}
	}
	s.segments.Store(able.Send)
	return able, err
}

func (s *UDP) receiveCoalesced() error {
	var err error
	// Before the option: a message that comes coalesced must be read as such.
	s.coalesce.Store(true)
	if !s.fd.Use(func(fd uintptr) { err = s.kernel.setsockopt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) }) {
		err = net.ErrClosed
	}
	if err != nil {
		s.coalesce.Store(false)
		return fmt.Errorf("UDP_GRO: %w", err)
	}
	return nil
}

const (
	// A trial is as many datagrams as a super-packet of 64 KB makes, the last one shorter.
	trialDatagrams = 40
	trialBytes     = 1400
	trialLast      = 77
	// trialPatience is how long a trial waits for them. It is over at once on any kernel but a broken one.
	trialPatience = time.Second
)

// tryOffloads finds out what a kernel does right, between two sockets on loopback: a segmented message must arrive as its
// datagrams, one by one at a socket that knows nothing of it, and coalesced at one that does.
func tryOffloads(k *kernel) (able Offloads, err error) {
	from, err := trialSocket(k)
	if err != nil {
		return able, fmt.Errorf("offloads not tried: %w", err)
	}
	defer from.Close()
	from.segments.Store(true)
	to, err := trialSocket(k)
	if err != nil {
		return able, fmt.Errorf("offloads not tried: %w", err)
	}
	defer to.Close()
	if err := trial(from, to); err != nil {
		return able, fmt.Errorf("segmented messages: %w", err)
	}
	if from.singles.has(to.local.Addr()) {
		return able, errors.New("segmented messages: the kernel refuses them")
	}
	able.Send = true
	err = to.receiveCoalesced()
	if err == nil {
		err = trial(from, to)
	}
	if err != nil {
		return able, fmt.Errorf("coalesced messages: %w", err)
	}
	able.Receive = true
	return able, nil
}

func trialSocket(k *kernel) (*UDP, error) {
	loopback := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	s, err := ListenUDP(loopback)
	if err != nil {
		if s, err = ListenUDP(netip.AddrPortFrom(netip.IPv6Loopback(), 0)); err != nil {
			return nil, err
		}
	}
	u := s.(*UDP)
	u.kernel = k
	return u, u.fd.SetReadDeadline(time.Now().Add(trialPatience))
}

// trial sends a run and checks that it arrives, whole and in order.
func trial(from, to *UDP) error {
	run := make([]Datagram, trialDatagrams)
	for i := range run {
		b := bytes.Repeat([]byte{byte(i + 1)}, trialBytes)
		b[0], b[trialBytes-1] = byte(i), ^byte(i)
		run[i] = Datagram{Buf: b, N: trialBytes, Addr: to.local}
	}
	run[trialDatagrams-1].N = trialLast
	if n, err := from.WriteBatch(run); n != len(run) || err != nil {
		return errors.Join(fmt.Errorf("%d of %d datagrams could be sent", n, len(run)), err)
	}
	in := []Datagram{{Buf: make([]byte, OffloadBytes)}}
	for next := 0; next < len(run); {
		if _, err := to.ReadBatch(in); err != nil {
			return fmt.Errorf("%d of %d arrived: %w", next, len(run), err)
		}
		if in[0].Addr != from.local {
			continue
		}
		for b := range in[0].All() {
			if next == len(run) || !bytes.Equal(b, run[next].Buf[:run[next].N]) {
				return fmt.Errorf("datagram %d of %d arrived changed", next, len(run))
			}
			next++
		}
	}
	return nil
}

// mangles reports whether a Linux release is one of 7.0 to 7.1.4, which send the datagrams of a segmented message with
// wrong lengths through many network cards where they are all as long (Linux commits b10b446 and 78effd8,
// https://github.com/tailscale/tailscale/issues/19777). Loopback does not show it.
func mangles(release string) (string, bool) {
	var major, minor, patch int
	n, _ := fmt.Sscanf(release, "%d.%d.%d", &major, &minor, &patch)
	return release, n >= 2 && major == 7 && (minor == 0 || minor == 1 && patch <= 4)
}

func release() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// singles are destinations to which the kernel sends no segmented messages, for a while: their route may be another one
// then. There are few places, and one for each destination: one that has lost it costs one refused call again.
type singles [16]atomic.Pointer[single]

type single struct {
	to    netip.Addr
	until time.Time
}

const singleLasts = 10 * time.Minute

func (x *singles) place(to netip.Addr) *atomic.Pointer[single] {
	sum := byte(0)
	for _, b := range to.As16() {
		sum = sum*31 + b
	}
	return &x[int(sum)%len(x)]
}

func (x *singles) has(to netip.Addr) bool {
	p := x.place(to).Load()
	return p != nil && p.to == to && time.Now().Before(p.until)
}

func (x *singles) add(to netip.Addr) {
	x.place(to).Store(&single{to, time.Now().Add(singleLasts)})
}
