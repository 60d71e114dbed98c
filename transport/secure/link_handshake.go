package secure

import (
	"time"

	"github.com/flynn/noise"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// initPayloadLen makes every init frame.HandshakeLen bytes long: e, sealed s, sealed payload.
const initPayloadLen = frame.InitNoiseLen - frame.KeyLen - frame.KeyLen - frame.TagLen - frame.TagLen

// An Initiator is the side of a Noise IK handshake that dialled a router whose link key it knows.
// One goroutine at a time may use it.
//
// A forged or damaged response never changes it: after one is refused, the genuine one still
// finishes the handshake. (The Noise library restores only half of its state after a refusal, so
// a state that refused a message is thrown away and made again from the ephemeral key.)
type Initiator struct {
	config   *Config
	peer     tables.LinkKey
	index    uint32
	seed     [seedLen]byte
	payload  []byte
	datagram []byte
	state    *noise.HandshakeState // nil: must be made again
	over     bool
	failed   bool
}

// NewInitiator starts a handshake with the router that has the link key peer. Index is ours, unique
// among our handshakes and sessions. Order must be After every one we used before, also with other
// peers. Hello goes to the peer encrypted to its static key, without forward secrecy.
// It fails with ErrHello, for a peer key of low order, or if Rand does.
func NewInitiator(c *Config, peer tables.LinkKey, index uint32, order Order, hello []byte) (*Initiator, error) {
	if len(hello) > HelloMax {
		return nil, ErrHello
	}
	seed, err := c.newSeed()
	if err != nil {
		return nil, err
	}
	i := &Initiator{
		config: c, peer: peer, index: index, seed: seed,
		payload: initPayload(order, payload{c.FastAES, hello}, initPayloadLen),
	}
	message, err := i.start()
	if err != nil {
		return nil, err
	}
	i.datagram = frame.Init{Sender: index, Noise: message}.Append(nil)
	return i, nil
}

// start makes the Noise state that waits for the response, and message 1: the same one every time.
func (i *Initiator) start() (message []byte, err error) {
	state, err := i.config.state(noise.HandshakeIK, true, i.peer[:], i.seed)
	if err != nil {
		return nil, err
	}
	message, _, _, err = state.WriteMessage(nil, i.payload)
	i.state = state
	return message, err
}

// Datagram returns the init, to be stamped (CookieClient.Stamp) before each time it is sent. A
// responder answers it once: to try again after its response was lost takes a new Initiator; to
// bring a cookie, the same one is stamped again.
func (i *Initiator) Datagram() []byte { return i.datagram }

// Index returns our index.
func (i *Initiator) Index() uint32 { return i.index }

// Failed reports whether the handshake can never succeed: the peer itself sent nonsense. A message that
// does not authenticate never makes it so.
func (i *Initiator) Failed() bool { return i.failed }

// ReadResponse finishes the handshake and returns the session and the peer's hello. It fails with
// ErrHandshake or an error of package frame, and nothing has changed; with ErrFailed, and it is over.
func (i *Initiator) ReadResponse(now time.Time, datagram []byte) (*Session, []byte, error) {
	if i.over || i.failed {
		return nil, nil, ErrFailed
	}
	m, err := frame.ParseResponse(datagram)
	if err != nil {
		return nil, nil, err
	}
	if m.Receiver != i.index {
		return nil, nil, ErrHandshake
	}
	if i.state == nil {
		if _, err := i.start(); err != nil {
			i.failed = true
			return nil, nil, ErrFailed
		}
	}
	b, first, second, err := i.state.ReadMessage(nil, m.Noise)
	if err != nil {
		if !i.config.keepState {
			i.state = nil
		}
		return nil, nil, ErrHandshake
	}
	p, _, err := parsePayload(b)
	if err != nil {
		i.failed = true
		return nil, nil, ErrFailed
	}
	i.over = true
	return newSession(Session{
		Peer: i.peer, Initiator: true, Local: i.index, Remote: m.Sender, Born: now,
		Suite: chooseSuite(i.config.FastAES, p.fastAES),
	}, i.config.secrets(first, second, i.state.ChannelBinding())), p.hello, nil
}

// A Responder is the side of a Noise IK handshake that was dialled: an init that has been read and waits for
// a decision. One goroutine at a time may use it. It keeps no state when the init is refused, so there
// is nothing that a forged one could advance.
type Responder struct {
	config *Config
	state  *noise.HandshakeState
	peer   tables.LinkKey
	remote uint32
	order  Order
	said   payload
	over   bool
}

// ReadInit reads an init that the gate has passed. It costs two X25519. The init is authentic: it was
// made by the holder of Peer's private key for us, but maybe long ago. The caller must refuse one whose
// Order is not After the highest it answered to this Peer. It fails with ErrHandshake or an
// error of package frame.
func ReadInit(c *Config, datagram []byte) (*Responder, error) {
	m, err := frame.ParseInit(datagram)
	if err != nil {
		return nil, err
	}
	seed, err := c.newSeed()
	if err != nil {
		return nil, err
	}
	state, err := c.state(noise.HandshakeIK, false, nil, seed)
	if err != nil {
		return nil, ErrHandshake
	}
	b, _, _, err := state.ReadMessage(nil, m.Noise)
	if err != nil {
		return nil, ErrHandshake
	}
	order, said, err := parseInitPayload(b)
	if err != nil {
		return nil, ErrHandshake
	}
	return &Responder{
		config: c, state: state, peer: tables.LinkKey(state.PeerStatic()),
		remote: m.Sender, order: order, said: said,
	}, nil
}

// Peer returns the static key of the initiator.
func (r *Responder) Peer() tables.LinkKey { return r.peer }

// Order returns the order of the init among the peer's.
func (r *Responder) Order() Order { return r.order }

// Hello returns the peer's hello.
func (r *Responder) Hello() []byte { return r.said.hello }

// Respond returns the response datagram, to be stamped with a CookieClient for Peer, and the session.
// Index is ours. It may be called once. It fails with ErrHello, and may be tried again, or with ErrFailed.
func (r *Responder) Respond(now time.Time, index uint32, hello []byte) ([]byte, *Session, error) {
	if len(hello) > HelloMax {
		return nil, nil, ErrHello
	}
	if r.over {
		return nil, nil, ErrFailed
	}
	r.over = true
	said := payload{r.config.FastAES, hello}.append(nil)
	message, first, second, err := r.state.WriteMessage(nil, said)
	if err != nil {
		return nil, nil, ErrFailed // an ephemeral key of low order, from a peer that signs such
	}
	session := newSession(Session{
		Peer: r.peer, Local: index, Remote: r.remote, Born: now,
		Suite: chooseSuite(r.config.FastAES, r.said.fastAES),
	}, r.config.secrets(first, second, r.state.ChannelBinding()))
	return frame.Response{Sender: index, Receiver: r.remote, Noise: message}.Append(nil), session, nil
}
