package underlay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offloading opens a socket on loopback that uses kernel k, and has it offload. It may be nil.
func offloading(t testing.TB, k *kernel) *UDP {
	t.Helper()
	s, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	u := s.(*UDP)
	if able, err := u.Offload(); !able.Send || !able.Receive {
		t.Fatalf("this kernel does not offload, so nothing is tested: %+v, %v", able, err)
	}
	if k != nil {
		u.kernel = k
	}
	return u
}

// run makes datagrams of so many bytes each, all different.
func run(to netip.AddrPort, lengths ...int) (dgs []Datagram) {
	for i, n := range lengths {
		dgs = append(dgs, Datagram{Buf: bytes.Repeat([]byte{byte(i + 1)}, n), N: n, Addr: to})
	}
	return dgs
}

func equal(n, length int) []int { return slices.Repeat([]int{length}, n) }

// arrive reads until n datagrams have come, checks that they are dgs, and returns how many elements they came in.
func arrive(t *testing.T, s *UDP, dgs []Datagram) (elements int) {
	t.Helper()
	if err := s.fd.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := make([]Datagram, 8)
	for i := range in {
		in[i].Buf = make([]byte, OffloadBytes)
	}
	for next := 0; next < len(dgs); {
		k, err := s.ReadBatch(in)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", next, len(dgs), err)
		}
		elements += k
		for _, d := range in[:k] {
			for b := range d.All() {
				if next == len(dgs) || !bytes.Equal(b, dgs[next].Buf[:dgs[next].N]) {
					t.Fatalf("datagram %d of %d arrived as %d bytes of %.1x", next, len(dgs), len(b), b)
				}
				next++
			}
		}
	}
	return elements
}

// counting is the kernel, which counts calls and messages and refuses messages with several datagrams, and single ones
// that are longer than limit, with an error.
type counting struct {
	kernel
	calls, messages, refused int
	errno                    syscall.Errno
	limit                    int
}

func newCounting(errno syscall.Errno) *counting {
	c := &counting{kernel: theKernel, errno: errno, limit: OffloadBytes}
	c.sendmmsg = func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno) {
		c.calls++
		for i := range hdrs {
			h := &hdrs[i].hdr
			if c.errno == 0 || h.Iovlen == 1 && int(h.Iov.Len) <= c.limit {
				continue
			}
			if i > 0 {
				hdrs = hdrs[:i] // it tells why only when it is the first
				break
			}
			c.refused++
			return 0, c.errno
		}
		n, errno := theKernel.sendmmsg(fd, hdrs)
		c.messages += n
		return n, errno
	}
	return c
}

// TestOffloadMovesMany: of what can go together little is left to the kernel, and counters count datagrams.
func TestOffloadMovesMany(t *testing.T) {
	k := newCounting(0)
	a, b := offloading(t, &k.kernel), offloading(t, nil)
	dgs := run(b.local, append(append(equal(49, 1432), 700), equal(20, 1432)...)...)
	if n, err := a.WriteBatch(dgs); n != len(dgs) || err != nil {
		t.Fatalf("WriteBatch = %d, %v", n, err)
	}
	// 45 of 1432 bytes are what one message may have; the rest with its shorter last one; the others.
	if elements := arrive(t, b, dgs); k.calls != 1 || k.messages != 3 || elements != 3 {
		t.Errorf("%d calls, %d messages, which came as %d; want 1, 3, 3", k.calls, k.messages, elements)
	}
	if sent, got := a.Counters().Sent, b.Counters().Received; sent != 70 || got != 70 {
		t.Errorf("%d sent, %d received, of 70", sent, got)
	}
	// To two destinations in turn nothing can go together.
	c := offloading(t, nil)
	k.calls, k.messages = 0, 0
	for i := range dgs {
		dgs[i].Addr = []netip.AddrPort{b.local, c.local}[i%2]
	}
	if n, err := a.WriteBatch(dgs); n != 70 || err != nil || k.calls != 1 || k.messages != 70 {
		t.Errorf("in turn: WriteBatch = %d, %v, %d calls, %d messages", n, err, k.calls, k.messages)
	}
}

// TestRefusedSegments: a kernel that refuses messages of several datagrams costs one call and no datagram, and none the next
// time, until that is forgotten. Others are not concerned.
func TestRefusedSegments(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.EIO, unix.EINVAL, unix.EMSGSIZE} {
		t.Run(errno.Error(), func(t *testing.T) {
			k := newCounting(errno)
			a, b := offloading(t, &k.kernel), offloading(t, nil)
			dgs := run(b.local, append(append(equal(10, 1000), 900), append(equal(20, 800), 1, 2)...)...)
			write := func() {
				t.Helper()
				if n, err := a.WriteBatch(dgs); n != len(dgs) || err != nil {
					t.Fatalf("WriteBatch = %d, %v, want %d", n, err, len(dgs))
				}
				arrive(t, b, dgs)
			}
			write()
			if k.refused == 0 || k.refused > 2 {
				t.Errorf("%d refused calls", k.refused)
			}
			k.refused, k.calls = 0, 0
			write()
			if k.refused != 0 || k.calls != 1 {
				t.Errorf("it is not remembered: %d calls, %d refused", k.calls, k.refused)
			}
			if a.singles.has(netip.MustParseAddr("127.0.0.2")) {
				t.Error("it is remembered of another destination")
			}
			place := a.singles.place(b.local.Addr())
			place.Store(&single{b.local.Addr(), time.Now().Add(-time.Second)})
			k.errno, k.messages = 0, 0
			write()
			if k.messages != 3 {
				t.Errorf("%d messages after the time is over, want 3", k.messages)
			}
			if c := a.Counters(); c.Sent != uint64(3*len(dgs)) || c.TooBig+c.Other+c.NoBuffer != 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestRefusedDatagrams: where the datagrams themselves are refused, that is counted for each, the ones that can go do,
// and nothing is remembered of segments.
func TestRefusedDatagrams(t *testing.T) {
	k := newCounting(unix.EMSGSIZE)
	k.limit = 1000
	a, b := offloading(t, &k.kernel), offloading(t, nil)
	dgs := run(b.local, append(equal(5, 1200), 500)...)
	if n, err := a.WriteBatch(dgs); n != 1 || err != nil {
		t.Errorf("WriteBatch = %d, %v, want 1", n, err)
	}
	arrive(t, b, dgs[5:])
	if c := a.Counters(); c.Sent != 1 || c.TooBig != 5 {
		t.Errorf("%+v", c)
	}
	if a.singles.has(b.local.Addr()) {
		t.Error("a destination is remembered as one that takes no segments, but it took no datagram of that length")
	}
}

// TestKernelRefuses has this kernel refuse messages of several datagrams for reasons of its own.
func TestKernelRefuses(t *testing.T) {
	inNamespace(t, []string{
		"ip link set lo up mtu 1500",
		"ip addr add 192.0.2.1/32 dev lo",
		"ip route add blackhole 203.0.113.3",
	}, func() {
		blackhole := netip.MustParseAddrPort("203.0.113.3:1")
		for _, tt := range []struct {
			name          string
			level, option int
			value         int
			length        int
		}{
			{"EINVAL: a socket without checksums", unix.SOL_SOCKET, unix.SO_NO_CHECK, 1, 1200},
			{"EMSGSIZE: a datagram in fragments", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT, 2000},
		} {
			k := newCounting(0)
			a, b := offloading(t, &k.kernel), offloading(t, nil)
			a.fd.Use(func(fd uintptr) {
				if err := unix.SetsockoptInt(int(fd), tt.level, tt.option, tt.value); err != nil {
					t.Error(err)
				}
			})
			dgs := run(b.local, equal(20, tt.length)...)
			for i := range 2 {
				before := k.calls
				if n, err := a.WriteBatch(dgs); n != len(dgs) || err != nil {
					t.Errorf("%s: WriteBatch = %d, %v", tt.name, n, err)
				}
				arrive(t, b, dgs)
				if want := 2 - i; k.calls-before != want {
					t.Errorf("%s: %d calls, want %d: is it refused, and remembered?", tt.name, k.calls-before, want)
				}
			}
			if n, err := a.WriteBatch(run(blackhole, 100, 100, 100)); n != 0 || err != nil || a.Counters().Other != 3 {
				t.Errorf("%s: to a blackhole WriteBatch = %d, %v; %+v", tt.name, n, err, a.Counters())
			}
			if a.singles.has(blackhole.Addr()) {
				t.Error("a blackhole is remembered as a place that takes no segments")
			}
		}
	})
}

// TestFullSendBufferOffloading is TestFullSendBuffer with messages of several datagrams: none is counted twice or not at all.
func TestFullSendBufferOffloading(t *testing.T) {
	inNamespace(t, []string{
		"ip link set lo up mtu 1500",
		"tc qdisc add dev lo root tbf rate 400kbit burst 2000 limit 1000000",
	}, func() {
		s, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		u := s.(*UDP)
		u.segments.Store(true) // the trial takes its time on this line
		u.fd.Use(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 8192) })
		dgs := run(u.local, append(append(equal(10, 1400), 9), append(equal(10, 1400), equal(30, 1300)...)...)...)
		n, err := u.WriteBatch(dgs)
		if c := u.Counters(); err != nil || n == 0 || n == len(dgs) || c.NoBuffer != uint64(len(dgs)-n) || c.Sent != uint64(n) {
			t.Errorf("WriteBatch of %d = %d, %v; %+v", len(dgs), n, err, c)
		}
	})
}

// TestTrial: what a kernel does wrong is found by the trial, and not used; the socket then works all the same.
func TestTrial(t *testing.T) {
	receive := func(f func(h *mmsghdr)) func(uintptr, []mmsghdr) (int, syscall.Errno) {
		return func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno) {
			n, errno := theKernel.recvmmsg(fd, hdrs)
			for i := range n {
				f(&hdrs[i])
			}
			return n, errno
		}
	}
	// coalesced calls f for what has come as several datagrams.
	coalesced := func(f func(h *mmsghdr, c *control)) func(uintptr, []mmsghdr) (int, syscall.Errno) {
		return receive(func(h *mmsghdr) {
			if c := (*control)(unsafe.Pointer(h.hdr.Control)); h.hdr.Controllen > 0 && c.hdr.Type == unix.UDP_GRO {
				f(h, c)
			}
		})
	}
	size := func(n int32) func(uintptr, []mmsghdr) (int, syscall.Errno) {
		return coalesced(func(_ *mmsghdr, c *control) { binary.NativeEndian.PutUint32(c.value[:], uint32(n)) })
	}
	for _, tt := range []struct {
		name   string
		break_ func(k *kernel)
		want   Offloads
		says   string
	}{
		{"as it is", func(*kernel) {}, Offloads{true, true}, ""},
		{"EINVAL for segments", func(k *kernel) { *k = newCounting(unix.EINVAL).kernel }, Offloads{}, "refuses"},
		{"EIO for segments", func(k *kernel) { *k = newCounting(unix.EIO).kernel }, Offloads{}, "refuses"},
		{"segments not cut", func(k *kernel) { // as one long datagram
			k.sendmmsg = func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno) {
				for i := range hdrs {
					hdrs[i].hdr.Control = nil
					hdrs[i].hdr.SetControllen(0)
				}
				return theKernel.sendmmsg(fd, hdrs)
			}
		}, Offloads{}, "changed"},
		{"one segment lost", func(k *kernel) {
			k.sendmmsg = func(fd uintptr, hdrs []mmsghdr) (int, syscall.Errno) {
				if h := &hdrs[0].hdr; h.Iovlen > 1 {
					h.SetIovlen(int(h.Iovlen) - 1)
				}
				return theKernel.sendmmsg(fd, hdrs)
			}
		}, Offloads{}, "arrived"},
		{"a bit wrong", func(k *kernel) {
			k.recvmmsg = receive(func(h *mmsghdr) { *h.hdr.Iov.Base ^= 1 })
		}, Offloads{}, "changed"},
		{"no UDP_GRO", func(k *kernel) {
			k.setsockopt = func(uintptr, int, int, int) error { return unix.ENOPROTOOPT }
		}, Offloads{Send: true}, "UDP_GRO"},
		{"a bit wrong where coalesced", func(k *kernel) {
			k.recvmmsg = coalesced(func(h *mmsghdr, _ *control) { *h.hdr.Iov.Base ^= 1 })
		}, Offloads{Send: true}, "changed"},
		{"size 0", func(k *kernel) { k.recvmmsg = size(0) }, Offloads{Send: true}, "changed"},
		{"size -1", func(k *kernel) { k.recvmmsg = size(-1) }, Offloads{Send: true}, "changed"},
		{"size too big", func(k *kernel) { k.recvmmsg = size(1 << 20) }, Offloads{Send: true}, "changed"},
		{"size too small", func(k *kernel) { k.recvmmsg = size(trialBytes - 1) }, Offloads{Send: true}, "changed"},
		{"no size", func(k *kernel) {
			k.recvmmsg = receive(func(h *mmsghdr) { h.hdr.SetControllen(0) })
		}, Offloads{Send: true}, "changed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := theKernel
			tt.break_(&k)
			s, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			u := s.(*UDP)
			u.kernel = &k
			got, err := u.Offload()
			if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Offload() = %+v, %v, want %+v, %q", got, err, tt.want, tt.says)
			}
			u.kernel = &theKernel
			other := offloading(t, nil)
			dgs := run(other.local, equal(20, 1400)...)
			if n, err := u.WriteBatch(dgs); n != len(dgs) || err != nil {
				t.Errorf("WriteBatch = %d, %v", n, err)
			}
			if coalesced := arrive(t, other, dgs) == 1; coalesced != tt.want.Send {
				t.Errorf("sent as one message: %v", coalesced)
			}
			for i := range dgs {
				dgs[i].Addr = u.local
			}
			if n, err := other.WriteBatch(dgs); n != len(dgs) || err != nil {
				t.Errorf("WriteBatch = %d, %v", n, err)
			}
			if coalesced := arrive(t, u, dgs) == 1; coalesced != tt.want.Receive {
				t.Errorf("received as one message: %v", coalesced)
			}
		})
	}
}

// TestTrialWithoutLoopback: where nothing can be tried nothing is used.
func TestTrialWithoutLoopback(t *testing.T) {
	inNamespace(t, nil, func() {
		s, err := ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		if able, err := s.Offload(); able != (Offloads{}) || err == nil {
			t.Errorf("Offload() = %+v, %v", able, err)
		}
	})
}

func TestMangles(t *testing.T) {
	for release, want := range map[string]bool{
		"6.18.44-fc-v657": false, "7.0.0-rc1": true, "7.0": true, "7.0.12": true, "7.1.4": true, "7.1.5": false, "7.10.0": false, "8.0.0": false,
		"": false, "what": false, "17.0.1": false,
	} {
		if _, got := mangles(release); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}

// FuzzSegment: whatever the kernel's control message says, a read gives each byte once, in order, and counts what it gives.
func FuzzSegment(f *testing.F) {
	header := func(length, level, kind, size int) []byte {
		var c control
		c.hdr.SetLen(length)
		c.hdr.Level, c.hdr.Type = int32(level), int32(kind)
		binary.NativeEndian.PutUint32(c.value[:], uint32(size))
		return bytes.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c)))
	}
	for _, size := range []int{0, 1, 7, 99, 100, 101, -1, 1 << 30, -1 << 31} {
		f.Add(header(unix.CmsgLen(4), unix.IPPROTO_UDP, unix.UDP_GRO, size), unix.CmsgSpace(4), uint16(100))
	}
	f.Add(header(unix.CmsgLen(4), unix.IPPROTO_UDP, unix.UDP_SEGMENT, 10), unix.CmsgSpace(4), uint16(100))
	f.Add(header(unix.CmsgLen(4), unix.SOL_SOCKET, unix.UDP_GRO, 10), unix.CmsgSpace(4), uint16(100))
	f.Add(header(unix.CmsgLen(2), unix.IPPROTO_UDP, unix.UDP_GRO, 10), unix.CmsgSpace(2), uint16(100))
	f.Add(header(unix.CmsgLen(4), unix.IPPROTO_UDP, unix.UDP_GRO, 10), 0, uint16(100))
	f.Fuzz(func(t *testing.T, said []byte, length int, n uint16) {
		var c controls
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&c)), unsafe.Sizeof(c)), said)
		d := Datagram{Buf: make([]byte, OffloadBytes), N: int(n)}
		if d.Segment, d.ECN = c.read(length, int(n)); d.ECN > 3 {
			t.Fatalf("codepoint %d", d.ECN)
		}
		for i := range d.Buf {
			d.Buf[i] = byte(i>>8 ^ i)
		}
		var all []byte
		count := 0
		for b := range d.All() {
			if d.Segment != 0 && (len(b) > d.Segment || len(b) == 0 || len(b) < d.Segment && len(all)+len(b) != d.N) {
				t.Fatalf("a piece of %d bytes after %d of %d, segment %d", len(b), len(all), d.N, d.Segment)
			}
			all = append(all, b...)
			count++
		}
		if !bytes.Equal(all, d.Buf[:d.N]) || count != d.Count() {
			t.Fatalf("%d bytes of %d in %d pieces, counted %d", len(all), d.N, count, d.Count())
		}
		isSize := func(m control) bool { return m.hdr.Level == unix.IPPROTO_UDP && m.hdr.Type == unix.UDP_GRO }
		if d.Segment != 0 && !isSize(c[0]) && !isSize(c[1]) {
			t.Fatalf("a message of another kind was taken for a size: %+v", c)
		}
	})
}
