package underlay

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentBytes is how much the kernel may hold of a connection beyond what is under way. More would be a
// queue that we can neither see nor drop from; less costs a wake-up per few packets. Unlike a small send
// buffer it does not limit the packets under way, and so not the bandwidth of a long path. The kernel looks at
// it when it begins a segment, and with segmentation offload one takes up to 64 KiB, so that on a slow
// connection it is rather that.
const unsentBytes = 16 << 10

// setStreamOptions sets what a connection that carries datagrams needs. The options make it better, and it
// works without.
func setStreamOptions(c net.Conn) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		// No waiting for more to send: the writer has put together what there is. Go's default, set all the same.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentBytes)
		// "the maximum amount of time in milliseconds that transmitted data may remain unacknowledged, or
		// buffered data may remain untransmitted (due to zero window size) before TCP will forcibly close
		// the corresponding connection" tcp(7). The default is some 15 minutes of retries.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(writeTimeMax.Milliseconds()))
	})
}
