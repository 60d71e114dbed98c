package transporttest

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vine-mesh/vine/transport/underlay"
)

// receiveBytes is the receive buffer of a socket, in bytes of IP packets. A packet that does not fit
// is dropped.
const receiveBytes = 1 << 20

// A socket is the underlay.Socket of a Host.
type socket struct {
	host *Host
	port uint16

	ready chan struct{} // holds a token while a reader may find something; sends never wait
	done  chan struct{} // closed by Close

	// mu guards what follows. It is taken with Internet.mu held, never the other way round.
	mu     sync.Mutex
	queue  []*packet // received, oldest first, from head on
	head   int
	bytes  int
	paused bool
	closed bool
	many   bool // Offload was called
}

func newSocket(h *Host, port uint16) *socket {
	return &socket{host: h, port: port, ready: make(chan struct{}, 1), done: make(chan struct{})}
}

// LocalAddr implements underlay.Socket.
func (s *socket) LocalAddr() netip.AddrPort { return netip.AddrPortFrom(s.host.Addr(), s.port) }

// ReadBatch implements underlay.Socket.
func (s *socket) ReadBatch(dgs []underlay.Datagram) (int, error) {
	if len(dgs) == 0 {
		return 0, nil
	}
	for {
		n, err := s.take(dgs)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-s.ready:
		case <-s.done:
		}
	}
}

// TryReadBatch implements underlay.Socket.
func (s *socket) TryReadBatch(dgs []underlay.Datagram) (int, error) { return s.take(dgs) }

// take moves what is there into dgs.
func (s *socket) take(dgs []underlay.Datagram) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	if s.paused {
		return 0, nil
	}
	n := 0
	for n < min(len(dgs), underlay.BatchMax) && s.head < len(s.queue) {
		d := &dgs[n]
		n++
		p := s.pop()
		size := len(p.payload)
		d.Addr, d.N, d.Segment = p.from, copy(d.Buf, p.payload), 0
		if d.N < size {
			d.N = 0
		}
		p.free()
		if s.many && d.N > 0 {
			s.more(d)
		}
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	} else {
		s.signal() // for another reader
	}
	return n, nil
}

func (s *socket) pop() *packet {
	p := s.queue[s.head]
	s.queue[s.head] = nil
	s.head++
	s.bytes -= p.size()
	return p
}

// segmentsMax is how many datagrams come as one at most, as with Linux.
const segmentsMax = 64

// more puts to the one datagram in d those that follow it in the queue from the same source, as long as all but the last have
// its size.
func (s *socket) more(d *underlay.Datagram) {
	size := d.N
	for count := 1; count < segmentsMax && s.head < len(s.queue); count++ {
		p := s.queue[s.head]
		length := len(p.payload)
		if p.from != d.Addr || length == 0 || length > size || d.N+length > len(d.Buf) {
			return
		}
		d.Segment = size
		d.N += copy(d.Buf[d.N:], p.payload)
		s.pop().free()
		if length < size {
			return
		}
	}
}

// put gives the socket a packet, which it then owns, or says why not.
func (s *socket) put(p *packet) Drop {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return DropPortClosed
	}
	if s.bytes+p.size() > receiveBytes {
		return DropReceiveBuffer
	}
	if s.head > 64 && s.head > len(s.queue)/2 {
		n := copy(s.queue, s.queue[s.head:])
		clear(s.queue[n:])
		s.queue, s.head = s.queue[:n], 0
	}
	s.bytes += p.size()
	s.queue = append(s.queue, p)
	s.signal()
	return 0
}

func (s *socket) signal() {
	select {
	case s.ready <- struct{}{}:
	default: // a token is there already
	}
}

func (s *socket) setPaused(paused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = paused
	s.signal()
}

// WriteBatch implements underlay.Socket. It waits for nobody.
func (s *socket) WriteBatch(dgs []underlay.Datagram) (int, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	// The copies, and the calls of hooks, are made before the lock is taken.
	var first, last *packet
	for i := range dgs {
		p := newPacket(s.host, dgs[i].Addr, dgs[i].Buf[:dgs[i].N])
		if first == nil {
			first = p
		} else {
			last.next = p
		}
		last = p
	}
	return s.host.in.send(s, first), nil
}

// Offload implements underlay.Socket.
func (s *socket) Offload() (underlay.Offloads, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.many = true
	return underlay.Offloads{Send: true, Receive: true}, nil
}

// Close implements underlay.Socket. No call uses the network after it, for all of them only take locks.
func (s *socket) Close() error {
	in := s.host.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if s.host.sockets[s.port] == s {
		delete(s.host.sockets, s.port)
	}
	s.close()
	return nil
}

// close is Close for a caller that has Internet.mu and sees to the host's sockets.
func (s *socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	for _, p := range s.queue[s.head:] {
		p.free()
	}
	s.queue, s.head = nil, 0
	close(s.done)
}

// A stage is where on its way a packet is.
type stage uint8

const (
	stageLeave  stage = iota // at the outer side of a node, before its firewall and access line
	stageCross               // past the access line, or at the inner side of a gateway
	stageArrive              // at the far node, before its access line
	stageEnter               // past that line, before the firewall and what is behind it
)

// A packet is one UDP datagram on its way. It belongs to the event that holds it, to the socket that
// has received it, or to a host that holds it back.
type packet struct {
	from, to netip.AddrPort // as they are at this point of the way
	origin   *Host
	realm    *realm // the network it is in
	at       *node  // the node it is at
	stage    stage
	next     *packet // in a batch to be sent
	payload  []byte

	intercepted bool // to be dropped when it is sent
}

// packets recycles them, so that a packet under way costs no allocation.
var packets = sync.Pool{New: func() any { return &packet{payload: make([]byte, 0, 2048)} }}

// newPacket copies a payload; the source is filled in when it is sent.
func newPacket(origin *Host, to netip.AddrPort, payload []byte) *packet {
	p := packets.Get().(*packet)
	p.payload = append(p.payload[:0], payload...)
	p.from = netip.AddrPort{}
	p.to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	p.origin, p.next, p.intercepted = origin, nil, false
	p.stage, p.at, p.realm = stageLeave, origin.node, origin.node.realm
	return p
}

// twin returns a copy.
func (p *packet) twin() *packet {
	q := packets.Get().(*packet)
	payload := append(q.payload[:0], p.payload...)
	*q = *p
	q.payload = payload
	return q
}

func (p *packet) free() {
	payload := p.payload
	*p = packet{payload: payload[:0]}
	packets.Put(p)
}

// size returns the size of the IP packet.
func (p *packet) size() int {
	if p.to.Addr().Is4() {
		return len(p.payload) + 20 + 8
	}
	return len(p.payload) + 40 + 8
}

// A delivery is what OnDeliver is told.
type delivery struct {
	at       time.Duration
	from, to netip.AddrPort
	payload  []byte
}
