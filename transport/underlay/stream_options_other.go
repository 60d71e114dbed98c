//go:build !linux

package underlay

import "net"

// setStreamOptions bounds what the kernel queues by the send buffer, which outside Linux is all that is portable.
func setStreamOptions(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetNoDelay(true)
		_ = tcp.SetWriteBuffer(128 << 10)
	}
}
