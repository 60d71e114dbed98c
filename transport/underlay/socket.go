package underlay

import (
	"iter"
	"net/netip"
)

const (
	// BatchMax is how many elements one ReadBatch gives at most. At 64 the cost of the call is below 2 % of the cost of
	// the packets; larger batches only add delay and push the first packets out of the cache.
	BatchMax = 64

	// OffloadBytes is how long the buffers must be with which a Socket is read after Offload: no network gives more at once.
	OffloadBytes = 1 << 16
)

// A Datagram is one UDP payload with the address of the other side, or several that came together.
//
// Buf belongs to the caller before, during and after a call; a Socket keeps no part of it. The first N
// bytes are the payload. IPv4 addresses are always plain (never 4-in-6) when read; either form may be
// written. A link-local IPv6 address carries its interface index in decimal as zone.
type Datagram struct {
	Buf  []byte
	N    int
	Addr netip.AddrPort

	// Segment is zero for one datagram. Else Buf[:N] holds several, one behind the other, all of that length but the
	// last, which may be shorter. ReadBatch sets it, and not to anything else than zero before Offload; WriteBatch does
	// not look at it.
	Segment int

	// ECN is the codepoint of the IP header (RFC 3168, Section 5): 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE. What is written carries
	// it, and what is read has it, where the system lets it through; else it is 0.
	ECN uint8
}

// Count returns how many datagrams d is.
func (d *Datagram) Count() int {
	if d.Segment <= 0 || d.N <= d.Segment {
		return 1
	}
	return (d.N + d.Segment - 1) / d.Segment
}

// All returns the payloads in d, in their order. They are parts of Buf: behind each, within its capacity, is the next.
func (d *Datagram) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		rest := d.Buf[:d.N]
		for d.Segment > 0 && len(rest) > d.Segment {
			if !yield(rest[:d.Segment]) {
				return
			}
			rest = rest[d.Segment:]
		}
		yield(rest)
	}
}

// Offloads says what a Socket does for several datagrams at once.
type Offloads struct {
	Send    bool // one message of the network carries consecutive datagrams of one length to one address
	Receive bool // ReadBatch may give several datagrams of one source as one element
}

// A Socket is a batch datagram socket.
//
// All methods may be called from several goroutines at once. Datagrams may be lost, duplicated and
// reordered, as anywhere in an internet; each is whole or absent.
type Socket interface {
	// ReadBatch waits for at least one datagram, then fills N, Addr and Segment of dgs[:n] with what is
	// there and returns n, at most BatchMax. What is longer than its Buf is reported with N = 0. It returns
	// net.ErrClosed after Close; any other error means that the socket is of no more use. With an
	// empty dgs it returns 0, nil at once.
	ReadBatch(dgs []Datagram) (int, error)

	// TryReadBatch is ReadBatch that does not wait: it returns 0, nil when nothing is there.
	TryReadBatch(dgs []Datagram) (int, error)

	// WriteBatch sends Buf[:N] to Addr for each element and returns how many the network took. The
	// others are lost and counted: an address that cannot be reached, a datagram too big for the
	// interface and a full send buffer are no errors. It waits only for room in the send buffer, and
	// then for a bounded time. It returns net.ErrClosed after Close; any other error means that
	// the socket is of no more use.
	WriteBatch(dgs []Datagram) (int, error)

	// Offload has the network move several datagrams at once, if it can, and returns what it does. Whoever
	// reads the socket from then on must do so with buffers of OffloadBytes, and look at Segment. What is
	// written needs no care. The error says why something is not done, and leaves the socket as good as before.
	Offload() (Offloads, error)

	// LocalAddr returns the address the socket is bound to, with the port the system chose when
	// port 0 was asked for. A wildcard address stays one.
	LocalAddr() netip.AddrPort

	// Close makes every waiting and later call return net.ErrClosed, and returns once no call
	// uses the socket any more. Closing twice is harmless.
	Close() error
}
