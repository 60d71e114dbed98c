package netstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// pingPayload is the length of an echo request's payload: what the usual ping sends by default.
const pingPayload = 56

// Ping sends one ICMP echo request (RFC 792, RFC 4443) to dst and waits for the reply. It returns
// the round-trip time. It sends no second request if the first is lost: then it fails when ctx
// ends, with an error that wraps ctx's.
func (h *Host) Ping(ctx context.Context, dst netip.Addr) (time.Duration, error) {
	rtt, err := h.ping(ctx, dst.Unmap())
	if err != nil {
		return 0, fmt.Errorf("ping %v from %v: %w", dst, h.addrs[0], err)
	}
	return rtt, nil
}

func (h *Host) ping(ctx context.Context, dst netip.Addr) (time.Duration, error) {
	src, err := h.source(dst)
	if err != nil {
		return 0, err
	}
	if err := h.begin(); err != nil {
		return 0, err
	}
	defer h.running.Done()
	transport := icmp.ProtocolNumber4
	if dst.Is6() {
		transport = icmp.ProtocolNumber6
	}
	var queue waiter.Queue
	ep, terr := h.stack.NewEndpoint(transport, network(dst), &queue)
	if terr != nil {
		return 0, errors.New(terr.String())
	}
	defer ep.Close()
	entry, readable := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	queue.EventRegister(&entry)
	defer queue.EventUnregister(&entry)
	if terr := ep.Bind(full(src, 0)); terr != nil {
		return 0, errors.New(terr.String())
	}
	if terr := ep.Connect(full(dst, 0)); terr != nil {
		return 0, errors.New(terr.String())
	}

	number, start := h.nextPing()
	if _, terr := ep.Write(bytes.NewReader(echoRequest(dst, number)), tcpip.WriteOptions{}); terr != nil {
		return 0, errors.New(terr.String())
	}
	for {
		var reply bytes.Buffer
		_, terr := ep.Read(&reply, tcpip.ReadOptions{})
		switch terr.(type) {
		case nil:
			if isReply(reply.Bytes(), dst, number) {
				return time.Since(start), nil
			}
		case *tcpip.ErrWouldBlock:
			select {
			case <-readable:
			case <-ctx.Done():
				return 0, fmt.Errorf("no reply: %w", ctx.Err())
			case <-h.ctx.Done():
				return 0, net.ErrClosed
			}
		default:
			return 0, errors.New(terr.String())
		}
	}
}

// echoRequest returns an ICMP message whose identifier and checksum the stack fills in. Both
// families put the sequence number at the same place.
func echoRequest(dst netip.Addr, number uint16) []byte {
	b := make([]byte, header.ICMPv4MinimumSize+pingPayload)
	for i := range pingPayload {
		b[header.ICMPv4MinimumSize+i] = byte(i)
	}
	if dst.Is4() {
		m := header.ICMPv4(b)
		m.SetType(header.ICMPv4Echo)
		m.SetSequence(number)
	} else {
		m := header.ICMPv6(b)
		m.SetType(header.ICMPv6EchoRequest)
		m.SetSequence(number)
	}
	return b
}

// isReply reports whether b is the whole reply to echo request number.
func isReply(b []byte, dst netip.Addr, number uint16) bool {
	want := echoRequest(dst, number)
	if len(b) != len(want) || !bytes.Equal(b[header.ICMPv4MinimumSize:], want[header.ICMPv4MinimumSize:]) {
		return false
	}
	if dst.Is4() {
		return header.ICMPv4(b).Type() == header.ICMPv4EchoReply && header.ICMPv4(b).Sequence() == number
	}
	return header.ICMPv6(b).Type() == header.ICMPv6EchoReply && header.ICMPv6(b).Sequence() == number
}
