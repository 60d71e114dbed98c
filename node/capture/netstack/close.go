package netstack

import (
	"fmt"
	"net"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Close takes the host off the LAN. Dials and pings in progress fail, listeners are closed,
// connections and sockets are aborted, and the host's goroutines have ended when the first call
// returns. It returns nil.
func (h *Host) Close() error {
	if !h.lan.forget(h) {
		return nil
	}
	h.mu.Lock()
	h.closed = true
	listeners := h.listeners
	h.listeners = nil
	h.mu.Unlock()

	for l := range listeners {
		l.shut()
	}
	h.cancel()
	h.running.Wait() // from here on nobody makes endpoints but packets that are on their way
	h.destroy()
	return nil
}

// destroy ends the stack. It is not stack.Destroy, which waits for each endpoint to report its
// end: one that a late packet made is never told to end, and the wait has none.
func (h *Host) destroy() {
	h.link.stack.Store(nil) // no packet comes in any more
	h.stack.Close()
	h.stack.TransportProtocolInstance(tcp.ProtocolNumber).Wait()
	// The last goroutine that could make an endpoint has ended.
	for _, e := range h.stack.RegisteredEndpoints() {
		e.Abort()
	}
	h.stack.RemoveNIC(nic)
}

// begin marks the start of an operation that uses the stack, unless the host is closed. The caller
// must call h.running.Done at its end.
func (h *Host) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return fmt.Errorf("host %v: %w", h.addrs[0], net.ErrClosed)
	}
	h.running.Add(1)
	return nil
}

// A listener is a TCP listener that says net.ErrClosed when it is closed, as package net's does.
type listener struct {
	*gonet.TCPListener
	host   *Host
	once   sync.Once
	closed chan struct{}
}

// newListener registers l with the host, or closes it if the host is closed.
func (h *Host) newListener(l *gonet.TCPListener) (net.Listener, error) {
	wrapped := &listener{TCPListener: l, host: h, closed: make(chan struct{})}
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.listeners[wrapped] = struct{}{}
	}
	h.mu.Unlock()
	if closed {
		wrapped.shut()
		return nil, net.ErrClosed
	}
	return wrapped, nil
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err == nil {
		return c, nil
	}
	select {
	case <-l.closed:
		err = net.ErrClosed
	default:
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: err}
}

// shut unblocks Accept and closes the endpoint.
func (l *listener) shut() {
	l.once.Do(func() {
		close(l.closed)
		l.Shutdown()
		_ = l.TCPListener.Close() // it returns no error
	})
}

func (l *listener) Close() error {
	l.host.mu.Lock()
	delete(l.host.listeners, l)
	l.host.mu.Unlock()
	l.shut()
	return nil
}
