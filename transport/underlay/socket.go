package underlay

import "net/netip"

// BatchMax is how many datagrams one ReadBatch or one kernel call of WriteBatch moves at most. At 64
// the cost of the call is below 2 % of the cost of the packets; larger batches only add delay and
// push the first packets out of the cache.
const BatchMax = 64

// A Datagram is one UDP payload with the address of the other side.
//
// Buf belongs to the caller before, during and after a call; a Socket keeps no part of it. The first N
// bytes are the payload. IPv4 addresses are always plain (never 4-in-6) when read; either form may be
// written. A link-local IPv6 address carries its interface index in decimal as zone.
type Datagram struct {
	Buf  []byte
	N    int
	Addr netip.AddrPort
}

// A Socket is a batch datagram socket.
//
// All methods may be called from several goroutines at once. Datagrams may be lost, duplicated and
// reordered, as anywhere in an internet; each is whole or absent.
type Socket interface {
	// ReadBatch waits for at least one datagram, then fills N and Addr of dgs[:n] with what is there
	// and returns n, at most BatchMax. A datagram longer than its Buf is reported with N = 0. It returns
	// net.ErrClosed after Close; any other error means that the socket is of no more use. With an
	// empty dgs it returns 0, nil at once.
	ReadBatch(dgs []Datagram) (int, error)

	// WriteBatch sends Buf[:N] to Addr for each element and returns how many the network took. The
	// others are lost and counted: an address that cannot be reached, a datagram too big for the
	// interface and a full send buffer are no errors. It waits only for room in the send buffer, and
	// then for a bounded time. It returns net.ErrClosed after Close; any other error means that
	// the socket is of no more use.
	WriteBatch(dgs []Datagram) (int, error)

	// LocalAddr returns the address the socket is bound to, with the port the system chose when
	// port 0 was asked for. A wildcard address stays one.
	LocalAddr() netip.AddrPort

	// Close makes every waiting and later call return net.ErrClosed, and returns once no call
	// uses the socket any more. Closing twice is harmless.
	Close() error
}
