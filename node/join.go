package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// ErrRefused is wrapped by the error of Join when the federation turned us away.
var ErrRefused = errors.New("the federation refused")

// ErrNoAnswer is wrapped by the error of Join when the seed was not heard from, at the end of ctx too.
var ErrNoAnswer = errors.New("no answer")

// Joining says how a new VR joins. Nothing but Seeds is needed.
type Joining struct {
	State  *state.Dir // keys are made here, once; documents are stored here at the end
	Socket underlay.Socket
	// Streams, if set, are tried when a seed does not answer on Socket. Join runs them.
	Streams *underlay.Streams
	// Proxy returns the proxy for a stream connection to an endpoint, nil for none. It may be nil.
	Proxy      func(netip.AddrPort) (*url.URL, error)
	Seeds      []netip.AddrPort // one member's addresses, tried in turn
	Pin        string           // fingerprint of the federation; empty: whatever the seed names
	Name, Site string           // wanted; a taken name gets a number
	With       string           // name of a VR of the site whose blocks to share; empty: new ones
	Token      string           // invite; empty: wait for an administrator, if need be
	Rand       io.Reader
	Log        *slog.Logger
	// Progress is told what happens, in words for people. It must not block.
	Progress func(text string)
}

// A Joined says what came of it.
type Joined struct {
	Federation   string
	FederationID tables.Hash
	Name         string
	Router       tables.RouterID
	Blocks       []netip.Prefix
}

const (
	// seedPatience is how long one address of the seed is tried.
	seedPatience = 5 * time.Second
	// datagramPatience is the same by UDP while streams can be tried: three hellos.
	datagramPatience = 1500 * time.Millisecond
	// tlsPort is where a seed takes WebSocket connections: a port that every network lets out.
	tlsPort = 443
	// joinPause lies between two conversations, so that a federation without its authority is
	// asked gently.
	joinPause = 2 * time.Second
)

// Join asks for enrolment through a seed and waits until it is granted, refused, or ctx ends; it
// can be called again after that and goes on with the same request. It runs in the calling
// goroutine and uses State and Socket without closing them.
func Join(ctx context.Context, j Joining) (Joined, error) {
	n := &newcomer{Joining: j, store: tables.NewStore(tables.Hash{}), datagrams: make(chan arrival, arrivalsMax)}
	if err := n.prepare(); err != nil {
		return Joined{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	readers.Go(func() { n.read(ctx, n.Socket) })
	if n.Streams != nil {
		readers.Go(func() { _ = n.Streams.Run(ctx) })
		readers.Go(func() { n.read(ctx, n.Streams) })
	}
	defer func() {
		cancel()
		if n.Streams != nil {
			_ = n.Streams.Close()
		}
		readers.Wait()
	}()
	var last error
	for try := 0; ; try++ {
		seed := j.Seeds[try%len(j.Seeds)]
		err := n.meet(ctx, seed)
		switch {
		case err == nil:
			return n.finish()
		case errors.Is(err, ErrRefused) || errors.Is(err, errPin):
			return Joined{}, err
		case ctx.Err() != nil:
			return Joined{}, cut(ctx, cmp.Or(last, fmt.Errorf("%v: %w", seed, err)))
		}
		last = fmt.Errorf("%v: %w", seed, err)
		n.Log.Debug("join conversation ended", "seed", seed, "err", err)
		if try == 2*len(j.Seeds)-1 && !n.applied { // each address twice: one try in ten fails at 20 % loss
			return Joined{}, fmt.Errorf("no member answered at %v: %w", j.Seeds, err)
		}
		select {
		case <-time.After(joinPause):
		case <-ctx.Done():
			return Joined{}, cut(ctx, last)
		}
	}
}

// cut is the error of a join that ctx ended: with what had gone wrong until then.
func cut(ctx context.Context, last error) error {
	if errors.Is(last, ctx.Err()) {
		return last
	}
	return fmt.Errorf("%w: %w", last, ctx.Err())
}

// A newcomer is a VR on its way into a federation.
type newcomer struct {
	Joining
	identity  ed25519.PrivateKey
	static    secure.StaticKey
	token     *tables.Token
	store     *tables.Store
	request   *tables.Document
	applied   bool
	links     *transport.Links
	datagrams chan arrival
	told      joinState

	conn   transport.Conn
	stream transport.Stream
	in     []byte
	out    []byte
	got    [][]byte // documents given
	result error    // set when the conversation is over
	over   bool
	todo   []transport.Action // see do
	doing  bool
}

// ErrSilentAuthority is wrapped by the error of Join when no authority vouches for our enrolment: its
// key has ended, or its last head has.
var ErrSilentAuthority = errors.New("the federation's authority has not signed lately; ask its administrator")

var errPin = errors.New("the seed belongs to another federation")

// prepare makes or finds the keys.
func (n *newcomer) prepare() error {
	identity, err := MakeKey(n.State, "identity", n.Rand)
	if err != nil {
		return err
	}
	link, err := MakeKey(n.State, "link", n.Rand)
	if err != nil {
		return err
	}
	n.identity = ed25519.NewKeyFromSeed(identity[:])
	n.static = secure.NewStaticKey(link)
	if n.Token != "" {
		token, err := tables.ParseToken(n.Token)
		if err != nil {
			return fmt.Errorf("invite: %w", err)
		}
		n.token = &token
	}
	return nil
}

// MakeKey returns the secret called name from a state directory, making it when there is none.
func MakeKey(dir *state.Dir, name string, random io.Reader) ([32]byte, error) {
	key, ok, err := dir.Key(name)
	if ok || err != nil {
		return key, err
	}
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return key, fmt.Errorf("make key: %w", err)
	}
	return key, dir.SetKey(name, key)
}

// read moves datagrams from the socket to the conversation until ctx ends. A full queue drops
// them: they are sent again.
func (n *newcomer) read(ctx context.Context, socket underlay.Socket) {
	if socket == n.Socket {
		stop := context.AfterFunc(ctx, func() { interruptRead(socket) })
		defer stop()
	}
	batch := newDatagrams(laneBatch, packetMax)
	for ctx.Err() == nil {
		count, err := socket.ReadBatch(batch)
		if err != nil {
			return
		}
		for i := range batch[:count] {
			dg := &batch[i]
			select {
			case n.datagrams <- arrival{time.Now(), dg.Addr, append([]byte(nil), dg.Buf[:dg.N]...)}:
			default:
			}
		}
	}
}

// interruptRead unblocks ReadBatch without closing the socket, by a datagram to ourselves: it
// carries nothing and is dropped.
func interruptRead(s underlay.Socket) {
	at := s.LocalAddr()
	if at.Addr().IsUnspecified() {
		loop := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if !at.Addr().Is4() {
			loop = netip.IPv6Loopback()
		}
		at = netip.AddrPortFrom(loop, at.Port())
	}
	s.WriteBatch([]underlay.Datagram{{Buf: []byte{0}, N: 1, Addr: at}})
}

// meet holds a conversation with the member at seed: by datagrams, and if it does not answer, over a stream
// connection.
func (n *newcomer) meet(ctx context.Context, seed netip.AddrPort) error {
	if n.Streams == nil {
		return n.converse(ctx, seed, seedPatience)
	}
	err := n.converse(ctx, seed, datagramPatience)
	if !errors.Is(err, ErrNoAnswer) {
		return err
	}
	n.Progress(fmt.Sprintf("no answer from %v by UDP, trying TLS and TCP", seed))
	at, target, err := dialStreams(ctx, n.Streams, streamTargets([]tables.StreamEndpoint{
		{Protocol: "tls", Endpoint: netip.AddrPortFrom(seed.Addr(), tlsPort)}, {Protocol: "tcp", Endpoint: seed},
	}, n.Proxy))
	if err != nil {
		return fmt.Errorf("%w by UDP, and none otherwise: %w", ErrNoAnswer, err)
	}
	defer n.Streams.Hangup(at)
	through := ""
	if target.Proxy != nil {
		through = " through the proxy " + target.Proxy.Host
	}
	n.Progress(fmt.Sprintf("connected to %v by %v%s", target.Endpoint, target.Protocol, through))
	return n.converse(ctx, at, seedPatience)
}

// converse holds one join conversation with the member at a path. A nil error means that we are
// enrolled and have what we need.
func (n *newcomer) converse(ctx context.Context, seed netip.AddrPort, wait time.Duration) error {
	now := time.Now()
	n.links = transport.NewLinks(transport.Config{
		Static: n.static, Rand: n.Rand, FastAES: fastAES(),
		Hello:    func() []byte { return nil },
		Accept:   func(tables.LinkKey, []byte) (tables.RouterID, error) { return 0, errStranger },
		Peer:     func(tables.RouterID) (transport.Peer, bool) { return transport.Peer{}, false },
		Joinable: func() bool { return false },
	})
	n.conn, n.stream, n.in, n.out, n.got, n.over, n.result = 0, 0, nil, nil, nil, false, nil
	conn, actions := n.links.DialJoin(now, seed)
	if conn == 0 {
		return errNoLink
	}
	n.conn = conn
	if path.KindOf(seed) == path.Direct {
		n.Progress(fmt.Sprintf("asking %s", seed))
	}
	n.do(now, actions)
	patience := time.NewTimer(wait)
	defer patience.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !n.over {
		select {
		case a := <-n.datagrams:
			if a.from == seed {
				now = time.Now()
				n.do(now, n.links.Handle(now, a.from, a.datagram))
			}
		case <-timer.C:
		case <-patience.C:
			if n.stream == 0 {
				return ErrNoAnswer
			}
		case <-ctx.Done():
			if n.stream == 0 {
				return fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
			}
			return ctx.Err()
		}
		now = time.Now()
		n.do(now, n.links.Advance(now))
		if next := n.links.Next(); !next.IsZero() {
			timer.Reset(max(0, time.Until(next)))
		}
	}
	n.do(now, n.links.CloseConn(now, n.conn, transport.ReasonLeaving))
	return n.result
}

func (n *newcomer) end(err error) { n.over, n.result = true, err }

// do does what the links decided, in the order in which they did: see loop.do.
func (n *newcomer) do(now time.Time, actions []transport.Action) {
	n.todo = append(n.todo, actions...)
	if n.doing {
		return
	}
	n.doing = true
	for len(n.todo) > 0 {
		next := n.todo[0]
		n.todo = n.todo[1:]
		switch a := next.(type) {
		case transport.Send:
			if path.KindOf(a.To) == path.Streamed {
				_, _ = n.Streams.WriteBatch(datagrams(a.To, a.Datagram))
				continue
			}
			_, _ = n.Socket.WriteBatch(datagrams(a.To, a.Datagram))
		case transport.JoinUp:
			st, more := n.links.OpenStream(now, a.Conn, streamJoin)
			n.stream = st
			n.do(now, more)
		case transport.StreamReadable:
			n.hear(now)
		case transport.StreamWritable:
			n.write(now)
		case transport.StreamClosed:
			if !n.over {
				n.end(errors.Join(errors.New("the member ended the conversation"), a.Err))
			}
		case transport.Down:
			switch {
			case n.over:
			case n.stream == 0:
				n.end(fmt.Errorf("%w: %s", ErrNoAnswer, a.Reason))
			default:
				n.end(fmt.Errorf("the conversation ended: %s", a.Reason))
			}
		}
	}
	n.doing = false
}

// hear takes what the member said.
func (n *newcomer) hear(now time.Time) {
	var buf [16 << 10]byte
	for {
		count, _, actions := n.links.ReadStream(now, n.stream, buf[:])
		n.do(now, actions)
		if count == 0 {
			break
		}
		n.in = append(n.in, buf[:count]...)
	}
	for !n.over {
		t, body, rest, ok, err := parseJoin(n.in)
		if err != nil {
			n.end(err)
			return
		}
		if !ok {
			return
		}
		n.in = rest
		if err := n.message(now, t, body); err != nil {
			n.end(err)
		}
	}
}

func (n *newcomer) message(now time.Time, t joinType, body []byte) error {
	switch t {
	case joinOffer:
		var o offer
		if err := tables.DecodeArgs(body, &o); err != nil {
			return err
		}
		return n.offered(now, o)
	case joinStatus:
		var s joinState
		if err := tables.DecodeArgs(body, &s); err != nil {
			return err
		}
		if s.State == tables.StateRefused {
			return fmt.Errorf("%w: %s", ErrRefused, s.Reason)
		}
		if s != n.told && s.State == tables.StatePending {
			text := "the request is on its way to the authority"
			if s.Reason != "" {
				text = s.Reason
			}
			n.Progress(text)
		}
		n.told = s
	case joinDocument:
		if len(n.got) < 4096 {
			n.got = append(n.got, append([]byte(nil), body...))
		}
	case joinDone:
		n.end(nil)
	default:
		return errJoinMessage
	}
	return nil
}

// offered checks which federation this is, and applies.
func (n *newcomer) offered(now time.Time, o offer) error {
	for _, b := range o.Roots {
		if _, _, err := n.store.PutBytes(now, b, tables.FromNetwork); err != nil {
			return fmt.Errorf("the seed's root documents do not hold: %w", err)
		}
	}
	root, ok := n.store.Root()
	if !ok {
		return errors.New("the seed named no federation")
	}
	id := n.store.FederationID()
	if n.Pin != "" && !tables.MatchFingerprint(n.Pin, id) {
		return fmt.Errorf("%w: it is %s, not %s", errPin, id, n.Pin)
	}
	n.Progress(fmt.Sprintf("the seed belongs to the federation %q, fingerprint %s", root.Federation, id))
	if n.request == nil || now.Unix() > n.request.Body().(tables.Request).Issued+int64(requestRenewal/time.Second) {
		args := policy.JoinArgs{Name: n.Name, Site: n.Site, With: n.With, Link: n.static.Public()}
		if n.token != nil {
			args.Invite = n.token.Document().Bytes()
			args.Proof = n.token.Prove(id, tables.PublicOf(n.identity))
		}
		request, err := policy.NewRequest(now, n.Rand, n.identity, policy.OpJoin, args)
		if err != nil {
			return err
		}
		n.request = request
	}
	n.applied = true
	n.out = appendJoin(n.out, joinApply, n.request.Bytes())
	n.write(now)
	return nil
}

func (n *newcomer) write(now time.Time) {
	count, actions := n.links.WriteStream(now, n.stream, n.out)
	n.out = n.out[count:]
	n.do(now, actions)
}

// requestRenewal is the age at which a newcomer that still waits asks anew: nobody keeps a join
// request for longer than tables.JoinLife.
const requestRenewal = tables.JoinLife - time.Hour

// finish verifies what we were given, as everything from the network is, and stores it.
func (n *newcomer) finish() (Joined, error) {
	now := time.Now()
	var list []*tables.Document
	for _, b := range n.got {
		d, err := tables.ParseDocument(b)
		if err != nil {
			return Joined{}, fmt.Errorf("the seed gave a bad document: %w", err)
		}
		list = append(list, d)
	}
	if errs := n.store.Load(now, list, tables.FromNetwork); len(errs) > 0 {
		n.Log.Debug("some documents of the seed were not accepted", "first", errs[0])
	}
	e, ok := n.store.EnrolmentByIdentity(tables.PublicOf(n.identity))
	if !ok {
		return Joined{}, n.notEnrolled(now, list)
	}
	if err := appendDocuments(n.State, slices.Collect(n.store.Documents())); err != nil {
		return Joined{}, err
	}
	root, _ := n.store.Root()
	return Joined{root.Federation, n.store.FederationID(), e.Name, e.Router, e.Blocks}, nil
}

// notEnrolled says why none of the documents that we were given enrols us.
func (n *newcomer) notEnrolled(now time.Time, given []*tables.Document) error {
	for _, d := range given {
		e, ok := d.Body().(tables.Enrolment)
		if !ok || e.Identity != tables.PublicOf(n.identity) {
			continue
		}
		_, err := n.store.Put(now, d, tables.FromNetwork)
		if errors.Is(err, tables.ErrStale) || errors.Is(err, tables.ErrExpired) {
			return fmt.Errorf("%w (the clock of this machine says %s): %w", ErrSilentAuthority, now.UTC().Format(time.RFC3339), err)
		}
		return fmt.Errorf("the enrolment that the seed gave us does not hold: %w", err)
	}
	return errors.New("the seed says that we are enrolled and shows no enrolment")
}
