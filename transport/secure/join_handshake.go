package secure

import (
	"time"

	"github.com/flynn/noise"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// A Joiner is the side of a Noise XX handshake that knows nothing but an address. One goroutine at
// a time may use it. Like Initiator, it is not changed by a message that is refused.
type Joiner struct {
	config    *Config
	index     uint32
	seed      [seedLen]byte
	ephemeral [frame.KeyLen]byte
	cookie    [frame.MACLen]byte
	state     *noise.HandshakeState // nil: must be made again
	remote    uint32
	peer      tables.LinkKey
	said      payload
	read      bool // the reply has been read
	over      bool
	failed    bool
}

// NewJoiner starts a join. Index is ours.
func NewJoiner(c *Config, index uint32) (*Joiner, error) {
	seed, err := c.newSeed()
	if err != nil {
		return nil, err
	}
	j := &Joiner{config: c, index: index, seed: seed}
	if err := j.start(); err != nil {
		return nil, err
	}
	return j, nil
}

func (j *Joiner) start() error {
	state, err := j.config.state(noise.HandshakeXX, true, nil, j.seed)
	if err != nil {
		return err
	}
	message, _, _, err := state.WriteMessage(nil, nil)
	if err != nil {
		return err
	}
	j.state, j.ephemeral = state, [frame.KeyLen]byte(message)
	return nil
}

// Datagram returns the join hello, with the cookie if there is one. It may be sent again as long
// as no reply has come.
func (j *Joiner) Datagram() []byte {
	return frame.JoinHello{Sender: j.index, Ephemeral: j.ephemeral, Cookie: j.cookie}.Append(nil)
}

// Index returns our index.
func (j *Joiner) Index() uint32 { return j.index }

// Failed reports whether the handshake can never succeed: see Initiator.Failed.
func (j *Joiner) Failed() bool { return j.failed }

// Peer returns the static key of the router that answered, once ReadReply has read its reply.
func (j *Joiner) Peer() tables.LinkKey { return j.peer }

// ReadCookie takes a join cookie; Datagram then has it. Nothing proves that it is genuine but that it knows our
// index: a wrong one only brings another. It fails with ErrHandshake or an error of package frame.
func (j *Joiner) ReadCookie(datagram []byte) error {
	m, err := frame.ParseJoinCookie(datagram)
	if err != nil {
		return err
	}
	if m.Receiver != j.index || j.read || j.failed {
		return ErrHandshake
	}
	j.cookie = m.Cookie
	return nil
}

// ReadReply reads the join reply and returns the hello of the router that answered. Whether to trust
// that router is the caller's decision: before Finish we have not said who we are. A reply is read
// once. It fails with ErrHandshake or an error of package frame, and nothing has changed; with
// ErrFailed, and it is over.
func (j *Joiner) ReadReply(datagram []byte) ([]byte, error) {
	if j.read || j.failed {
		return nil, ErrFailed
	}
	m, err := frame.ParseJoinReply(datagram)
	if err != nil {
		return nil, err
	}
	if m.Receiver != j.index {
		return nil, ErrHandshake
	}
	if j.state == nil {
		if err := j.start(); err != nil {
			j.failed = true
			return nil, ErrFailed
		}
	}
	b, _, _, err := j.state.ReadMessage(nil, m.Noise)
	if err != nil {
		if !j.config.keepState {
			j.state = nil
		}
		return nil, ErrHandshake
	}
	said, _, err := parsePayload(b)
	if err != nil {
		j.failed = true
		return nil, ErrFailed
	}
	j.read, j.remote, j.said = true, m.Sender, said
	j.peer = tables.LinkKey(j.state.PeerStatic())
	return said.hello, nil
}

// Finish returns the join finish and the session. The caller sends the same datagram again until
// something opens in the session. It may be called once, after ReadReply. It fails with ErrHello, and may
// be tried again, or with ErrFailed.
func (j *Joiner) Finish(now time.Time, hello []byte) ([]byte, *Session, error) {
	if len(hello) > HelloMax {
		return nil, nil, ErrHello
	}
	if !j.read || j.over || j.failed {
		return nil, nil, ErrFailed
	}
	j.over = true
	message, first, second, err := j.state.WriteMessage(nil, payload{j.config.FastAES, hello}.append(nil))
	if err != nil {
		j.failed = true
		return nil, nil, ErrFailed
	}
	session := newSession(Session{
		Peer: j.peer, Initiator: true, Local: j.index, Remote: j.remote, Born: now,
		Suite: chooseSuite(j.config.FastAES, j.said.fastAES),
	}, j.config.secrets(first, second, j.state.ChannelBinding()))
	return frame.JoinFinish{Receiver: j.remote, Noise: message}.Append(nil), session, nil
}

// A JoinResponder is the side of a Noise XX handshake that answered a newcomer. One goroutine at a time
// may use it. Like Initiator, it is not changed by a message that is refused. It is state kept for somebody
// unknown: the caller bounds how many there are, and for how long.
type JoinResponder struct {
	config *Config
	index  uint32
	remote uint32
	seed   [seedLen]byte
	first  []byte // message 1
	said   []byte // our payload in message 2
	state  *noise.HandshakeState
	over   bool
	failed bool
}

// ReadJoinHello reads a join hello that the gate has passed, with its cookie, and returns the join
// reply with our hello. Index is ours. The newcomer, whoever it is, can read our hello. It costs three X25519. It
// fails with ErrHandshake, ErrHello or an error of package frame.
func ReadJoinHello(c *Config, datagram []byte, index uint32, hello []byte) (*JoinResponder, []byte, error) {
	if len(hello) > HelloMax {
		return nil, nil, ErrHello
	}
	m, err := frame.ParseJoinHello(datagram)
	if err != nil {
		return nil, nil, err
	}
	seed, err := c.newSeed()
	if err != nil {
		return nil, nil, err
	}
	r := &JoinResponder{
		config: c, index: index, remote: m.Sender, seed: seed,
		first: m.Ephemeral[:], said: payload{c.FastAES, hello}.append(nil),
	}
	message, err := r.start()
	if err != nil {
		return nil, nil, ErrHandshake
	}
	return r, frame.JoinReply{Sender: index, Receiver: m.Sender, Noise: message}.Append(nil), nil
}

// start makes the Noise state that waits for the finish, and message 2: the same one every time.
func (r *JoinResponder) start() (message []byte, err error) {
	state, err := r.config.state(noise.HandshakeXX, false, nil, r.seed)
	if err != nil {
		return nil, err
	}
	if _, _, _, err := state.ReadMessage(nil, r.first); err != nil {
		return nil, err
	}
	message, _, _, err = state.WriteMessage(nil, r.said)
	r.state = state
	return message, err
}

// Index returns our index.
func (r *JoinResponder) Index() uint32 { return r.index }

// Failed reports whether the handshake can never succeed: see Initiator.Failed.
func (r *JoinResponder) Failed() bool { return r.failed }

// ReadFinish finishes the handshake and returns the session, whose Peer is the newcomer's static
// key, and the newcomer's hello. It fails with ErrHandshake or an error of package frame, and nothing
// has changed; with ErrFailed, and it is over.
func (r *JoinResponder) ReadFinish(now time.Time, datagram []byte) (*Session, []byte, error) {
	if r.over || r.failed {
		return nil, nil, ErrFailed
	}
	m, err := frame.ParseJoinFinish(datagram)
	if err != nil {
		return nil, nil, err
	}
	if m.Receiver != r.index {
		return nil, nil, ErrHandshake
	}
	if r.state == nil {
		if _, err := r.start(); err != nil {
			r.failed = true
			return nil, nil, ErrFailed
		}
	}
	b, first, second, err := r.state.ReadMessage(nil, m.Noise)
	if err != nil {
		if !r.config.keepState {
			r.state = nil
		}
		return nil, nil, ErrHandshake
	}
	p, _, err := parsePayload(b)
	if err != nil {
		r.failed = true
		return nil, nil, ErrFailed
	}
	r.over = true
	return newSession(Session{
		Peer: tables.LinkKey(r.state.PeerStatic()), Local: r.index, Remote: r.remote, Born: now,
		Suite: chooseSuite(r.config.FastAES, p.fastAES),
	}, r.config.secrets(first, second, r.state.ChannelBinding())), p.hello, nil
}
