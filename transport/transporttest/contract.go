package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/transport/underlay"
)

// CheckSocket checks the contract of underlay.Socket on two sockets that can reach each other without
// loss, each at the address given with it, and closes them. dead is an address of the same family at
// which nobody listens. It may be called in a bubble.
func CheckSocket(t testing.TB, a, b underlay.Socket, addrA, addrB, dead netip.AddrPort) {
	t.Helper()
	if a.LocalAddr().Port() != addrA.Port() || addrA.Port() == 0 {
		t.Errorf("LocalAddr() = %v, want the port of %v", a.LocalAddr(), addrA)
	}
	if n, err := a.ReadBatch(nil); n != 0 || err != nil {
		t.Errorf("ReadBatch(nil) = %d, %v, want 0, nil", n, err)
	}
	for _, dgs := range [][]underlay.Datagram{nil, buffers(2, 64)} {
		if n, err := a.TryReadBatch(dgs); n != 0 || err != nil {
			t.Errorf("TryReadBatch(%d) of nothing = %d, %v, want 0, nil", len(dgs), n, err)
		}
	}
	if n, err := a.WriteBatch(nil); n != 0 || err != nil {
		t.Errorf("WriteBatch(nil) = %d, %v, want 0, nil", n, err)
	}
	checkBothWays(t, a, b, addrA, addrB)
	checkTry(t, a, b, addrB)
	checkLargeBatch(t, a, b, addrA, addrB)
	checkRuns(t, a, b, addrA, addrB, dead)
	checkTruncation(t, a, b, addrB)
	checkFailures(t, a, b, addrB, dead)
	for _, s := range []underlay.Socket{a, b, b} { // twice does no harm
		does, err := s.Offload()
		if err != nil {
			t.Logf("offload: %v", err)
		}
		t.Logf("offload: %+v", does)
	}
	checkBothWays(t, a, b, addrA, addrB)
	checkLargeBatch(t, a, b, addrA, addrB)
	checkRuns(t, a, b, addrA, addrB, dead)
	checkRuns(t, b, a, addrB, addrA, dead)
	checkFailures(t, a, b, addrB, dead)
	checkClose(t, a, addrB)
	checkClose(t, b, addrA)
}

// datagram returns a datagram to be written.
func datagram(to netip.AddrPort, payload string) underlay.Datagram {
	return underlay.Datagram{Buf: []byte(payload), N: len(payload), Addr: to}
}

// buffers returns n datagrams to read into, of size bytes each.
func buffers(n, size int) []underlay.Datagram {
	dgs := make([]underlay.Datagram, n)
	for i := range dgs {
		dgs[i].Buf = make([]byte, size)
	}
	return dgs
}

// readSome reads until it has n datagrams, and returns copies.
func readSome(t testing.TB, s underlay.Socket, n int) []underlay.Datagram {
	t.Helper()
	var got []underlay.Datagram
	dgs := buffers(underlay.BatchMax+1, underlay.OffloadBytes)
	for i := range dgs {
		dgs[i].Segment = 1 // to be overwritten
	}
	for len(got) < n {
		k, err := s.ReadBatch(dgs)
		if err != nil {
			t.Fatalf("ReadBatch: %v", err)
		}
		if k < 1 || k > underlay.BatchMax {
			t.Fatalf("ReadBatch = %d, want 1 to %d", k, underlay.BatchMax)
		}
		for _, d := range dgs[:k] {
			before := len(got)
			for b := range d.All() {
				got = append(got, underlay.Datagram{Buf: bytes.Clone(b), N: len(b), Addr: d.Addr})
			}
			if len(got)-before != d.Count() {
				t.Fatalf("%d bytes in segments of %d are %d datagrams, counted %d", d.N, d.Segment, len(got)-before, d.Count())
			}
		}
	}
	return got
}

func writeAll(t testing.TB, s underlay.Socket, dgs ...underlay.Datagram) {
	t.Helper()
	if n, err := s.WriteBatch(dgs); n != len(dgs) || err != nil {
		t.Fatalf("WriteBatch = %d, %v, want %d, nil", n, err, len(dgs))
	}
}

func checkBothWays(t testing.TB, a, b underlay.Socket, addrA, addrB netip.AddrPort) {
	t.Helper()
	// The empty datagram is a datagram.
	writeAll(t, a, datagram(addrB, "one"), datagram(addrB, ""), datagram(addrB, "three"))
	got := readSome(t, b, 3)
	for i, want := range []string{"one", "", "three"} {
		if string(got[i].Buf) != want || got[i].Addr != addrA {
			t.Errorf("datagram %d = %q from %v, want %q from %v", i, got[i].Buf, got[i].Addr, want, addrA)
		}
	}
	writeAll(t, b, datagram(got[0].Addr, "reply"))
	if got := readSome(t, a, 1); string(got[0].Buf) != "reply" || got[0].Addr != addrB {
		t.Errorf("reply = %q from %v, want from %v", got[0].Buf, got[0].Addr, addrB)
	}
	if addrB.Addr().Is4() {
		// Either form of an IPv4 address may be written; it is read plain.
		mapped := netip.AddrPortFrom(netip.AddrFrom16(addrB.Addr().As16()), addrB.Port())
		writeAll(t, a, datagram(mapped, "mapped"))
		if got := readSome(t, b, 1); got[0].Addr != addrA {
			t.Errorf("source = %v, want %v", got[0].Addr, addrA)
		}
	}
}

// checkTry reads without waiting.
func checkTry(t testing.TB, a, b underlay.Socket, addrB netip.AddrPort) {
	t.Helper()
	writeAll(t, a, datagram(addrB, "first"), datagram(addrB, "is longer"), datagram(addrB, "third"))
	one := buffers(1, 64)
	if n, err := b.ReadBatch(one); n != 1 || err != nil {
		t.Fatalf("ReadBatch = %d, %v", n, err)
	}
	var got []string
	for len(got) < 2 { // it may still be on its way
		n, err := b.TryReadBatch(one)
		if err != nil {
			t.Fatalf("TryReadBatch: %v", err)
		}
		if n == 1 {
			got = append(got, string(one[0].Buf[:one[0].N]))
		}
		runtime.Gosched()
	}
	if got[0] != "is longer" || got[1] != "third" {
		t.Errorf("TryReadBatch gave %q", got)
	}
}

// checkLargeBatch writes more than one kernel call can take.
func checkLargeBatch(t testing.TB, a, b underlay.Socket, addrA, addrB netip.AddrPort) {
	t.Helper()
	const n = 2*underlay.BatchMax + 3
	var dgs []underlay.Datagram
	for i := range n {
		dgs = append(dgs, datagram(addrB, fmt.Sprintf("%0*d", 1+i%7*150, i)))
	}
	writeAll(t, a, dgs...)
	for i, d := range readSome(t, b, n) {
		if !bytes.Equal(d.Buf, dgs[i].Buf) || d.Addr != addrA {
			t.Fatalf("datagram %d of %d differs: %d bytes from %v", i, n, d.N, d.Addr)
		}
	}
}

// checkRuns writes what may be carried as one message and must arrive as what it was: datagrams of one length, with and
// without a shorter last one, more and longer ones than fit a message, and those that look alike and may not be put together.
func checkRuns(t testing.TB, a, b underlay.Socket, addrA, addrB, dead netip.AddrPort) {
	t.Helper()
	for _, lengths := range [][]int{
		repeat(5, 1200),
		append(repeat(5, 1200), 1199),
		append(repeat(7, 1200), 1, 1200, 1200, 1201, 1200),
		{300, 300, 0, 300, 300, 0, 0},
		{1, 1, 1, 2, 2, 1, 1},
		repeat(3*underlay.BatchMax, 100),
		append(repeat(70, 1400), append(repeat(70, 1400), 5)...),
	} {
		var dgs []underlay.Datagram
		for i, n := range lengths {
			dgs = append(dgs, datagram(addrB, strings.Repeat(string(rune('a'+i%26)), n)))
		}
		middle := len(dgs) / 2 // where one goes to another address
		all := slices.Insert(slices.Clone(dgs), middle, underlay.Datagram{Buf: dgs[0].Buf, N: dgs[0].N, Addr: dead})
		if n, err := a.WriteBatch(all); n < len(dgs) || n > len(all) || err != nil {
			t.Fatalf("WriteBatch of lengths %v = %d, %v, want %d or one more", lengths, n, err, len(dgs))
		}
		for i, d := range readSome(t, b, len(dgs)) {
			if !bytes.Equal(d.Buf, dgs[i].Buf[:dgs[i].N]) || d.Addr != addrA {
				t.Fatalf("of lengths %v datagram %d differs: %.9q..., %d bytes from %v", lengths, i, d.Buf, d.N, d.Addr)
			}
		}
	}
}

func repeat(n, length int) (list []int) {
	for range n {
		list = append(list, length)
	}
	return list
}

func checkTruncation(t testing.TB, a, b underlay.Socket, addrB netip.AddrPort) {
	t.Helper()
	writeAll(t, a, datagram(addrB, "longer than the buffer"), datagram(addrB, "fits"))
	small := buffers(1, 4)
	for i, want := range []string{"", "fits"} {
		if n, err := b.ReadBatch(small); n != 1 || err != nil || string(small[0].Buf[:small[0].N]) != want {
			t.Errorf("read %d into a small buffer = %q, %d, %v, want %q", i, small[0].Buf[:small[0].N], n, err, want)
		}
	}
}

// checkFailures writes a batch of which only the first, the middle and the last datagram can arrive.
func checkFailures(t testing.TB, a, b underlay.Socket, addrB, dead netip.AddrPort) {
	t.Helper()
	huge := underlay.Datagram{Buf: make([]byte, 70000), N: 70000, Addr: addrB} // more than any network carries
	for range 3 {
		dgs := []underlay.Datagram{
			datagram(addrB, "first"),
			datagram(dead, "nobody listens"),
			datagram(netip.AddrPort{}, "no address"),
			huge,
			datagram(addrB, "middle"),
			huge,
			datagram(dead, "still nobody"),
			datagram(addrB, "last"),
		}
		if n, err := a.WriteBatch(dgs); n < 3 || n > len(dgs) || err != nil {
			t.Errorf("WriteBatch = %d, %v, want 3 to 8, nil", n, err)
		}
		for i, d := range readSome(t, b, 3) {
			if want := []string{"first", "middle", "last"}[i]; string(d.Buf) != want {
				t.Errorf("datagram %d = %d bytes, want %q", i, d.N, want)
			}
		}
	}
}

func checkClose(t testing.TB, s underlay.Socket, other netip.AddrPort) {
	t.Helper()
	result := make(chan error, 2)
	for range cap(result) {
		go func() {
			_, err := s.ReadBatch(buffers(1, 64))
			result <- err
		}()
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range cap(result) {
		if err := <-result; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ReadBatch during Close: %v, want net.ErrClosed", err)
		}
	}
	if _, err := s.ReadBatch(buffers(1, 64)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch after Close: %v, want net.ErrClosed", err)
	}
	if _, err := s.TryReadBatch(buffers(1, 64)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("TryReadBatch after Close: %v, want net.ErrClosed", err)
	}
	if _, err := s.WriteBatch([]underlay.Datagram{datagram(other, "late")}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch after Close: %v, want net.ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
