package gossip

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A direction says who opened a stream.
type direction bool

const (
	incoming direction = false
	outgoing direction = true
)

const (
	// streamValueMax bounds one value of a stream: a state is at most 800 bytes.
	streamValueMax = 4096
	// streamStatesMax bounds the states in one exchange: more VRs than a federation has.
	streamStatesMax = 1 << 17
	// streamTimeout bounds the whole of one exchange, also where memberlist sets no
	// deadline of its own. It is memberlist's TCPTimeout.
	streamTimeout = 10 * time.Second
	// errorTextMax bounds what a peer may write into our log.
	errorTextMax = 128
)

var errUnwanted = errors.New("gossip: stream carries what members do not send")

// stream reads what from sends on a stream and returns it as memberlist may see it.
// Nothing of it goes to memberlist before all was read and judged.
func (p *police) stream(now time.Time, from tables.RouterID, dir direction, in *bufio.Reader) ([]byte, error) {
	name, ok := p.dir.Name(from)
	if !ok {
		return nil, errUnwanted
	}
	who := speaker{from, name}
	typ, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	switch {
	case typ == typePushPull:
		return p.exchange(now, who, in)
	case typ == typePing && dir == incoming:
		var out []byte
		err := value(in, func(r *reader) error {
			all := r.b
			if err := r.skip(0); err != nil {
				return err
			}
			clean, d := p.ping(who, all[:len(all)-len(r.b)], false)
			if d != dropNone {
				p.count(d)
				return errUnwanted
			}
			out = clean
			return nil
		})
		return out, err
	case typ == typeAck && dir == outgoing:
		// memberlist compares the sequence number with the ping it sent on this stream.
		var out []byte
		err := value(in, func(r *reader) error {
			m, err := r.ack()
			out = appendAck(nil, ack{seq: m.seq})
			return err
		})
		return out, err
	case typ == typeError && dir == outgoing:
		var text []byte
		err := value(in, func(r *reader) error {
			return r.fields(func(name string) (bool, error) {
				if name != "Error" {
					return false, nil
				}
				t, err := r.raw(streamValueMax)
				text = append([]byte(nil), t[:min(len(t), errorTextMax)]...)
				return true, err
			})
		})
		b := appendMap([]byte{typeError}, 1)
		return appendRaw(appendRaw(b, "Error"), text), err
	default:
		p.count(DropUnknownType)
		return nil, errUnwanted
	}
}

func (p *police) count(d Drop) {
	p.mu.Lock()
	p.drop(d)
	p.mu.Unlock()
}

// value reads from in as much as parse wants, at most streamValueMax bytes. parse is called
// again with more bytes as long as it returns errShort, so it must not have effects then.
func value(in *bufio.Reader, parse func(r *reader) error) error {
	for {
		b, err := in.Peek(max(in.Buffered(), 1))
		if err != nil {
			return err
		}
		r := reader{b}
		switch err = parse(&r); {
		case err == nil:
			_, err = in.Discard(len(b) - len(r.b))
			return err
		case !errors.Is(err, errShort):
			return err
		case len(b) >= in.Size():
			return errEncoding
		}
		if _, err := in.Peek(len(b) + 1); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
}

// exchange reads a state exchange behind its type byte.
func (p *police) exchange(now time.Time, from speaker, in *bufio.Reader) ([]byte, error) {
	var nodes, userLen uint64
	var join bool
	err := value(in, func(r *reader) error {
		return r.fields(func(name string) (bool, error) {
			var err error
			switch name {
			case "Nodes":
				nodes, err = r.uint(streamStatesMax)
			case "UserStateLen":
				userLen, err = r.uint(userStateMax)
			case "Join":
				join, err = r.bool()
			default:
				return false, nil
			}
			return true, err
		})
	})
	if err != nil {
		return nil, err
	}

	var states []byte
	kept := 0
	heard := make(map[string]bool)
	for range nodes {
		var m claim
		err := value(in, func(r *reader) (err error) {
			m, err = r.claim("Name")
			// value hands out its buffer: judge before it moves on.
			if err == nil && !heard[string(m.node)] && p.state(now, from, &m) {
				heard[string(m.node)] = true
				states = appendState(states, m)
				kept++
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}

	var user []byte
	if userLen > 0 {
		user = make([]byte, userLen)
		if _, err := io.ReadFull(in, user); err != nil {
			return nil, err
		}
		p.mu.Lock()
		user, err = p.userState(from, user)
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}

	b := appendMap([]byte{typePushPull}, 3)
	b = appendUint(appendRaw(b, "Nodes"), uint64(kept))
	b = appendUint(appendRaw(b, "UserStateLen"), uint64(len(user)))
	b = appendBool(appendRaw(b, "Join"), join)
	return append(append(b, states...), user...), nil
}

// state reports whether one state of an exchange may be seen, and weakens it if need be.
func (p *police) state(now time.Time, from speaker, m *claim) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.source(from.id)
	d := dropNone
	switch name := string(m.node); {
	case m.state == stateLeft && name == from.name:
		// Not more than it says in a leave message.
		if m.incarnation >= incarnationMax {
			d = DropIncarnation
		}
	case m.state == stateAlive:
		d = p.alive(now, s, from, *m)
	default:
		// Suspected, dead, or said to have left: memberlist takes a death as a suspicion, a
		// leave at its word. All are the speaker's own accusation.
		m.state = stateDead
		d = p.accuse(now, s, from, accusation{m.incarnation, m.node, []byte(from.name)})
		if d == dropNone {
			// memberlist checks all versions of an exchange, also of the dead.
			d = p.alive(now, s, from, *m)
		}
	}
	if d != dropNone {
		p.drop(d)
		return false
	}
	return true
}

func (p *police) wrap(conn net.Conn, peer tables.RouterID, dir direction) net.Conn {
	return &policedConn{Conn: conn, police: p, peer: peer, dir: dir, addr: udpAddr(peer)}
}

// A policedConn is a gossip stream as memberlist sees it. The first Read reads and judges
// all that the peer has to say; what memberlist writes goes out as it is.
//
// Read is called from one goroutine at a time.
type policedConn struct {
	net.Conn
	police *police
	peer   tables.RouterID
	dir    direction
	addr   net.Addr

	once  sync.Once
	clean []byte
	err   error
}

func (c *policedConn) Read(b []byte) (int, error) {
	c.once.Do(func() {
		c.clean, c.err = c.police.stream(time.Now(), c.peer, c.dir, bufio.NewReaderSize(c.Conn, streamValueMax))
	})
	if c.err != nil {
		return 0, c.err
	}
	if len(c.clean) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.clean)
	c.clean = c.clean[n:]
	return n, nil
}

// RemoteAddr returns the peer's SWIM address: memberlist writes it into its log.
func (c *policedConn) RemoteAddr() net.Addr { return c.addr }

// udpAddr returns a VR's SWIM address as memberlist wants it.
func udpAddr(id tables.RouterID) net.Addr {
	a := addr16(id)
	return &net.UDPAddr{IP: a[:], Port: Port}
}
