package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/bench/netns"
)

const (
	// blastBatch is how many packets go to the kernel in one sendmmsg at most.
	blastBatch = 32
	// blastTick is the pause between bursts: at a rate of 100,000 a second a burst is then 20 packets.
	blastTick = 200 * time.Microsecond
	// blastLag is how much a late sender may make up for: more would be a burst that no program sends.
	blastLag  = 5 * time.Millisecond
	blastPort = 5202
	// headers are those of IPv4 and UDP.
	headers = 28
)

// A blaster sends UDP packets from the near host to the far one at a given rate and counts those that arrive. It serves
// one goroutine. Each packet begins with the number of the trial that it belongs to, so that stragglers do not count.
type blaster struct {
	out, in int // sockets
	size    int // of an IP packet
	trial   uint64
	want    atomic.Uint64 // the trial that the receiver counts
	got     atomic.Int64
	stop    atomic.Bool
	stopped chan struct{} // closed when the receiver has ended
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// newBlaster opens the sockets. Its packets have size bytes, their headers included. Routers may fragment them or not.
func newBlaster(from, to *netns.Namespace, target netip.Addr, size int, fragment bool) (b *blaster, err error) {
	b = &blaster{size: size, stopped: make(chan struct{})}
	at := &unix.SockaddrInet4{Port: blastPort, Addr: target.As4()}
	open := func(ns *netns.Namespace, into *int, then func(fd int) error) error {
		return ns.Do(func() (err error) {
			if *into, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return fmt.Errorf("open a UDP socket: %w", err)
			}
			if err = then(*into); err != nil {
				_ = unix.Close(*into)
			}
			return err
		})
	}
	err = open(to, &b.in, func(fd int) error {
		// A receiver that is late must not be what loses packets.
		const room = 32 << 20
		wake := unix.NsecToTimeval(int64(100 * time.Millisecond))
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake), unix.Bind(fd, at))
	})
	if err != nil {
		return nil, fmt.Errorf("receive UDP at %v: %w", target, err)
	}
	err = open(from, &b.out, func(fd int) error {
		discover := unix.IP_PMTUDISC_DO
		if fragment {
			discover = unix.IP_PMTUDISC_DONT
		}
		return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discover), unix.Connect(fd, at))
	})
	if err != nil {
		_ = unix.Close(b.in)
		return nil, fmt.Errorf("send UDP to %v: %w", target, err)
	}
	go b.receive()
	return b, nil
}

// close ends the receiver.
func (b *blaster) close() {
	b.stop.Store(true)
	<-b.stopped
	_ = unix.Close(b.in)
	_ = unix.Close(b.out)
}

// receive counts packets until close.
func (b *blaster) receive() {
	defer close(b.stopped)
	runtime.LockOSThread()
	const batch = 64
	var bufs [batch][8]byte // the rest of a packet is cut off
	hdrs, iovs := make([]mmsghdr, batch), make([]unix.Iovec, batch)
	for i := range hdrs {
		iovs[i] = unix.Iovec{Base: &bufs[i][0], Len: 8}
		hdrs[i].hdr.Iov = &iovs[i]
		hdrs[i].hdr.SetIovlen(1)
	}
	for !b.stop.Load() {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(b.in), uintptr(unsafe.Pointer(&hdrs[0])), batch, unix.MSG_WAITFORONE, 0, 0)
		if errno != 0 {
			continue // nothing came, or a signal
		}
		want, count := b.want.Load(), int64(0)
		for i := range bufs[:n] {
			if binary.LittleEndian.Uint64(bufs[i][:]) == want {
				count++
			}
		}
		b.got.Add(count)
	}
	runtime.KeepAlive(iovs)
}

// try sends at a rate for some time and returns what became of the packets.
func (b *blaster) try(rate float64, length time.Duration) (t bench.Trial, err error) {
	b.trial++
	b.got.Store(0)
	b.want.Store(b.trial)
	sent, seconds, err := b.send(rate, length)
	if err != nil {
		return t, err
	}
	// What is on its way arrives within a few queues' time; nothing for 50 ms is the end.
	for last, quiet := int64(-1), 0; quiet < 5; {
		if now := b.got.Load(); now == last {
			quiet++
		} else {
			last, quiet = now, 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.want.Store(0)
	return bench.Trial{Asked: rate, Sent: float64(sent) / seconds, Received: float64(b.got.Load()) / seconds}, nil
}

// send sends at a rate and returns how many packets it sent in how many seconds.
func (b *blaster) send(rate float64, length time.Duration) (sent int, seconds float64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Sleep as short as asked for, not 50 us longer.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)

	packet := make([]byte, max(8, b.size-headers))
	binary.LittleEndian.PutUint64(packet, b.trial)
	iov := unix.Iovec{Base: &packet[0], Len: uint64(len(packet))}
	hdrs := make([]mmsghdr, blastBatch)
	for i := range hdrs {
		hdrs[i].hdr.Iov = &iov
		hdrs[i].hdr.SetIovlen(1)
	}
	start := time.Now()
	forgotten := 0.0
	for {
		elapsed := time.Since(start)
		if elapsed >= length {
			return sent, elapsed.Seconds(), nil
		}
		due := rate*elapsed.Seconds() - forgotten - float64(sent)
		if most := max(blastBatch, rate*blastLag.Seconds()); due > most {
			forgotten += due - most
			due = most
		}
		for due >= 1 {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.out), uintptr(unsafe.Pointer(&hdrs[0])), uintptr(min(blastBatch, int(due))), 0, 0, 0)
			switch errno {
			case 0:
				sent += int(n)
				due -= float64(n)
				continue
			case unix.EINTR, unix.ENOBUFS, unix.EAGAIN, unix.ECONNREFUSED:
			case unix.EMSGSIZE:
				return sent, elapsed.Seconds(), fmt.Errorf("packets of %d bytes do not fit the path: %w", b.size, errno)
			default:
				return sent, elapsed.Seconds(), fmt.Errorf("send UDP: %w", errno)
			}
			break
		}
		runtime.KeepAlive(packet)
		if time.Since(start)-elapsed < blastTick {
			pause := unix.NsecToTimespec(int64(blastTick - (time.Since(start) - elapsed)))
			_ = unix.Nanosleep(&pause, nil)
		}
	}
}
