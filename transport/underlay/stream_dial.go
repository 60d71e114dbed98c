package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vine-mesh/vine/transport/path"
)

// Dial makes a connection and returns its path.Stream(n). ctx bounds the dialling only, and dialTimeMax does
// so too. Before Run has begun it waits for that; after Run has ended it fails. Errors say which part of the
// way failed.
func (s *Streams) Dial(ctx context.Context, t StreamTarget) (netip.AddrPort, error) {
	if err := t.check(); err != nil {
		return netip.AddrPort{}, err
	}
	select {
	case <-s.started:
	case <-s.closing:
		return netip.AddrPort{}, fmt.Errorf("dial %s %v: %w", t.Protocol, t.Endpoint, net.ErrClosed)
	case <-ctx.Done():
		return netip.AddrPort{}, fmt.Errorf("dial %s %v: %w", t.Protocol, t.Endpoint, context.Cause(ctx))
	}
	c, err := s.admit(t.Protocol, t.Endpoint, true)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("dial %s %v: %w", t.Protocol, t.Endpoint, err)
	}
	defer s.wg.Done()
	if t.Proxy != nil {
		c.proxy = proxyHost(t.Proxy)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeMax, fmt.Errorf("no answer within %v", dialTimeMax))
	defer cancel()
	l, err := c.dial(ctx, t)
	if err == nil && !c.start(l) {
		err = net.ErrClosed
	}
	if err != nil {
		c.end(err)
		return netip.AddrPort{}, err
	}
	s.wg.Go(c.read)
	return path.Stream(c.n), nil
}

// check finds what is wrong with a target before anything is sent.
func (t StreamTarget) check() error {
	switch {
	case t.Protocol != TCP && t.Protocol != TLS:
		return fmt.Errorf("dial %v: no such protocol", t.Endpoint)
	case !t.Endpoint.IsValid() || t.Endpoint.Port() == 0 || path.Reserved(t.Endpoint.Addr()):
		return fmt.Errorf("dial %s %v: not an endpoint", t.Protocol, t.Endpoint)
	case strings.ContainsFunc(t.ServerName, notOfName):
		return fmt.Errorf("dial %s %v: the server name %q is not a host name", t.Protocol, t.Endpoint, t.ServerName)
	case t.Proxy != nil && proxyPorts[t.Proxy.Scheme] == "":
		return fmt.Errorf("dial %s %v: a proxy must be an http, https or socks5 URL, not %s", t.Protocol, t.Endpoint, t.Proxy.Scheme)
	case t.Proxy != nil && t.Proxy.Hostname() == "":
		return fmt.Errorf("dial %s %v: the proxy URL names no host", t.Protocol, t.Endpoint)
	}
	return nil
}

// notOfName reports whether r is no character of a host name (RFC 1123, Section 2.1).
func notOfName(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.')
}

// dial does all that comes before the first datagram. When it fails, the caller ends the stream, and with it
// the connection.
func (c *stream) dial(ctx context.Context, t StreamTarget) (_ link, err error) {
	to := t.Endpoint.String()
	if t.Proxy != nil {
		to = c.proxy
	}
	var d net.Dialer
	d.SetMultipathTCP(false) // as for listenTCP
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.life, func() { cancel(context.Cause(c.life)) })()
	raw, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.way(), reason(ctx, err))
	}
	if !c.attach(raw) {
		return nil, net.ErrClosed
	}
	setStreamOptions(raw)
	// From here on the end of ctx ends the connection and so whatever waits for it.
	unbind := context.AfterFunc(ctx, func() { raw.Close() })
	defer func() {
		if !unbind() && err == nil {
			err = ctx.Err()
		}
	}()
	conn := raw
	if t.Proxy != nil {
		if conn, err = c.s.throughProxy(ctx, raw, t.Proxy, t.Endpoint); err != nil {
			return nil, err
		}
	}
	if t.Protocol == TCP {
		return tcpLink{conn}, nil
	}
	l, err := c.s.dialTLS(ctx, conn, t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.way(), reason(ctx, err))
	}
	return l, nil
}

// way describes whereto a connection is being made, for errors.
func (c *stream) way() string {
	if c.proxy == "" {
		return fmt.Sprintf("dial %s %v", c.protocol, c.remote)
	}
	return fmt.Sprintf("dial %s %v through proxy %s", c.protocol, c.remote, c.proxy)
}

// reason returns why ctx ended, if it did, for then err is only what that did to the connection. What was dialled
// the caller says.
func reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if op := new(net.OpError); errors.As(err, &op) && op.Op == "dial" {
		return op.Err
	}
	return err
}
