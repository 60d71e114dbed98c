package impair

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchMax is how many packets one system call carries: enough to make its own cost small.
	batchMax = 64
	// batchRoom is the largest packet; jumbo frames have 9,000 bytes.
	batchRoom = 9216
)

// mmsghdr is struct mmsghdr of recvmmsg(2). Go pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A batch reads and writes packets of a packet socket, many by one system call.
type batch struct {
	in, out     [batchMax]mmsghdr
	inIO, outIO [batchMax]unix.Iovec
	room        [batchMax][batchRoom]byte
	control     [batchMax][64]byte // of what has been received
}

func newBatch() *batch {
	b := &batch{}
	for i := range b.in {
		b.inIO[i].Base = &b.room[i][0]
		b.inIO[i].SetLen(batchRoom)
		b.in[i].hdr.Iov, b.out[i].hdr.Iov = &b.inIO[i], &b.outIO[i]
		b.in[i].hdr.SetIovlen(1)
		b.out[i].hdr.SetIovlen(1)
	}
	return b
}

// receive reads what is there, at most batchMax packets, and returns how many. An interface that is
// down has none.
func (b *batch) receive(fd int) int {
	for i := range b.in {
		b.in[i].hdr.Control = &b.control[i][0]
		b.in[i].hdr.SetControllen(len(b.control[i]))
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), batchMax, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// packet returns the i-th packet received, until the next call of receive; none that was cut off.
func (b *batch) packet(i int) []byte {
	if b.in[i].hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil
	}
	return b.room[i][:b.in[i].len]
}

// ageMax is how old a packet can be that has just been read. The kernel's time is that of the wall clock;
// when somebody has set that, the times of the packets that wait say nothing.
const ageMax = time.Second

// arrival returns when the i-th packet came in: some time before now, when it was read.
func (b *batch) arrival(i int, now time.Time) time.Time {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i][0]))
	if int(b.in[i].hdr.Controllen) < unix.CmsgLen(int(unsafe.Sizeof(unix.Timespec{}))) || h.Type != unix.SCM_TIMESTAMPNS {
		return now
	}
	at := (*unix.Timespec)(unsafe.Pointer(&b.control[i][unix.CmsgLen(0)]))
	if age := time.Duration(now.UnixNano() - at.Nano()); age > 0 && age < ageMax {
		return now.Add(-age)
	}
	return now
}

// send writes packets and returns how many the interface has taken. One that it does not take is lost:
// that is what networks do.
func (b *batch) send(fd int, packets [][]byte) (taken int) {
	for len(packets) > 0 {
		n := min(len(packets), batchMax)
		for i, p := range packets[:n] {
			b.outIO[i].Base = unsafe.SliceData(p)
			b.outIO[i].SetLen(len(p))
		}
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.out[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			packets = packets[1:]
			continue
		}
		taken += int(sent)
		packets = packets[sent:]
	}
	return taken
}
