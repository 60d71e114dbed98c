package underlay

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStreamOptions reads back what setStreamOptions sets.
func TestStreamOptions(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	setStreamOptions(c)
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{unix.TCP_NODELAY: 1, unix.TCP_NOTSENT_LOWAT: unsentBytes, unix.TCP_USER_TIMEOUT: 10_000} {
		var got int
		if cerr := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }); cerr != nil || err != nil || got != want {
			t.Errorf("option %d = %d, %v, %v, want %d", option, got, cerr, err, want)
		}
	}
}
