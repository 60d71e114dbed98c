package underlay

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace runs f in a network namespace of its own, in which commands have been run. It needs root;
// with VINE_NETNS=1 in the environment the test fails when it cannot be run.
func inNamespace(t *testing.T, commands []string, f func()) {
	t.Helper()
	var why string
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is never unlocked, so it and the namespace end with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			why = "no network namespace: " + err.Error()
			return
		}
		for _, c := range commands {
			words := strings.Fields(c)
			if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
				why = c + ": " + err.Error() + " " + string(out)
				return
			}
		}
		f()
	}()
	<-done
	switch {
	case why == "":
	case os.Getenv("VINE_NETNS") == "1":
		t.Error(why)
	default:
		t.Skip(why)
	}
}

// TestRouteErrors has the kernel refuse datagrams in every way that routes can make it, in one batch.
func TestRouteErrors(t *testing.T) {
	inNamespace(t, []string{
		"ip link set lo up mtu 1500",
		"ip addr add 192.0.2.1/32 dev lo",
		"ip route add 198.51.100.0/24 dev lo mtu 600",
		"ip route add unreachable 203.0.113.1",
		"ip route add prohibit 203.0.113.2",
		"ip route add blackhole 203.0.113.3",
	}, func() {
		s, err := ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		u := s.(*UDP)
		var dgs []Datagram
		add := func(to string, n int) {
			dgs = append(dgs, Datagram{Buf: make([]byte, n), N: n, Addr: netip.MustParseAddrPort(to)})
		}
		add("203.0.113.1:1", 1)     // EHOSTUNREACH
		add("192.0.2.1:1", 1)       // passes
		add("203.0.113.9:1", 1)     // ENETUNREACH: no route at all
		add("203.0.113.2:1", 1)     // EACCES
		add("203.0.113.3:1", 1)     // EINVAL
		add("192.0.2.1:1", 1473)    // EMSGSIZE: more than the interface carries
		add("198.51.100.1:1", 1400) // passes: the path MTU the kernel believes in, 600, is ignored
		add("255.255.255.255:1", 1) // no broadcast, and no route
		add("127.255.255.255:1", 1) // EACCES: the broadcast address of a network
		add("192.0.2.1:1", 1472)    // passes
		n, err := s.WriteBatch(dgs)
		if n != 3 || err != nil {
			t.Errorf("WriteBatch = %d, %v, want 3, nil", n, err)
		}
		c := u.Counters()
		if c.Sent != 3 || c.TooBig != 1 || c.Unreachable+c.Filtered != 5 || c.Other != 1 || !u.Settings().Probing {
			t.Errorf("%+v", c)
		}
	})
}

// TestFullSendBuffer sends faster than a slow line takes it.
func TestFullSendBuffer(t *testing.T) {
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
		u.fd.Use(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 8192) })
		var dgs []Datagram
		for range BatchMax {
			dgs = append(dgs, Datagram{Buf: make([]byte, 1400), N: 1400, Addr: s.LocalAddr()})
		}
		start := time.Now()
		n, err := s.WriteBatch(dgs)
		if c := u.Counters(); err != nil || n == 0 || n == BatchMax || c.NoBuffer != uint64(BatchMax-n) || c.Sent != uint64(n) {
			t.Errorf("WriteBatch = %d, %v; %+v", n, err, c)
		}
		t.Logf("%d of %d sent, after %v", n, BatchMax, time.Since(start))
		// The deadline that was used up does no harm to what comes later.
		for u.Counters().Sent == uint64(n) {
			if _, err := s.WriteBatch(dgs[:1]); err != nil {
				t.Error(err)
				return
			}
		}
		in := []Datagram{{Buf: make([]byte, 2048)}}
		if k, err := s.ReadBatch(in); k != 1 || err != nil || in[0].N != 1400 {
			t.Errorf("ReadBatch = %d, %v", k, err)
		}
	})
}
