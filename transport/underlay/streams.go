package underlay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/transport/path"
)

// The limits of Streams. docs/wire.md, "Stream connections".
const (
	// StreamDatagramMax is the longest datagram a stream connection carries: what its length field can say. It has room for
	// most super-packets.
	StreamDatagramMax = 1<<16 - 1

	// strangerDatagramMax is the longest that one takes before the other side has proved itself, and the longest in the same
	// buffer: a data datagram around the largest packet of a 9,000-byte underlay, with room for a relay's header and tag.
	strangerDatagramMax = 9216

	// streamsMax bounds the connections of one VR, those that are still being made included. A router has one
	// or two per site it cannot reach by UDP, and each costs at most 450 KiB.
	streamsMax = 1024

	// strangersMax bounds the accepted connections whose other side has not proved itself, so that strangers
	// never use up the connections of members. One more closes the oldest: a member needs about one round
	// trip to prove itself, so of a flood the youngest are the likeliest to be members.
	strangersMax = 256

	// strangersPerNet bounds them for one IPv4 /24 or IPv6 /48, which is what one customer of a provider can
	// have. Eight let a few VRs behind one NAT address start at the same moment.
	strangersPerNet = 8

	// strangerTimeMax is how long an accepted connection may live unproved, handshakes included: three round
	// trips of TCP, TLS and WebSocket and two of ours at 600 ms, a geostationary satellite, take 3 s.
	strangerTimeMax = 5 * time.Second

	// dialTimeMax bounds a Dial whose context does not end before, for the same reason.
	dialTimeMax = 5 * time.Second

	// endedMax is how many notices of ended connections wait to be read: enough for a whole pause of a reader
	// while an attacker fills strangersPerNet times a few networks.
	endedMax = 256

	// acceptPause is how long a listener waits after an error, such as no descriptor being left, so that the
	// error does not become a busy loop.
	acceptPause = 100 * time.Millisecond
)

// A Protocol is what a stream connection speaks.
type Protocol uint8

// The protocols.
const (
	TCP Protocol = iota + 1 // datagrams with their lengths over plain TCP
	TLS                     // the same in WebSocket messages over TLS 1.3, which looks like a visit to a web server
)

// String returns the word that configuration and status output use.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case TLS:
		return "tls"
	}
	return "unknown"
}

// A StreamTarget says where to dial and how.
type StreamTarget struct {
	Protocol Protocol
	Endpoint netip.AddrPort
	// Proxy leads the way; nil goes straight. Its scheme is http or https (CONNECT) or socks5, its user and
	// password are used if it has them.
	Proxy *url.URL
	// ServerName is sent as SNI and Host by TLS. Empty: no SNI, and the endpoint as Host.
	ServerName string
}

// StreamsConfig is what NewStreams needs. The zero value will do.
type StreamsConfig struct {
	Rand       io.Reader      // for the certificate and TLS; nil: crypto/rand
	Log        *slog.Logger   // nil: no log
	ProxyRoots *x509.CertPool // who may vouch for an https proxy; nil: the system's
}

// StreamStatus describes an open connection.
type StreamStatus struct {
	At       netip.AddrPort // path.Stream(n)
	Remote   netip.AddrPort // the other side; beyond a proxy, the endpoint that was asked for
	Protocol Protocol
	Proxy    string // host and port of the proxy, never its password; empty: none
	Dialled  bool   // by us; otherwise accepted
	Kept     bool   // Keep was called
	Since    time.Time

	Sent, Received uint64 // datagrams
	Dropped        uint64 // datagrams that the send queue dropped: it was full, or they had grown old
	QueuedBytes    int    // in the send queue now
}

// Streams is a Socket whose datagrams travel over stream connections: plain TCP, or WebSocket over TLS,
// straight or through a proxy. Datagram.Addr is path.Stream(n), and n numbers the connections of this
// Streams, never twice. The network may cut a connection at any time; then its address is dead for good and
// the caller dials again.
//
// It proves nothing about the other side: the TLS certificates are made up on the spot and not checked, for
// the Noise handshake in the datagrams authenticates both sides, whatever carries it. TLS is there to get
// through firewalls. So an accepted connection is a stranger until Keep is called for it, and has
// strangerTimeMax to get there; nothing is said to it but the handshakes of TLS and WebSocket and the
// datagrams that the caller sends.
//
// WriteBatch never waits. Each connection has a send queue of at most queueBytesMax; one that is full drops
// its oldest datagrams, and what has waited for more than queueTimeMax is dropped too, so that a slow
// connection delays nothing for long. Nothing is dropped on the way in: of each connection one buffer waits
// to be read, round robin, and TCP holds back its sender until it has been.
//
// NewStreams makes it, Listen opens ports, Run does the work. All methods may be called from several goroutines at once.
type Streams struct {
	cfg     StreamsConfig
	ready   chan *stream // those with datagrams to read, each at most once
	ended   chan netip.AddrPort
	started chan struct{} // closed when Run has begun
	closing chan struct{} // closed when no more calls are served
	done    chan struct{} // closed when Run has ended
	wg      sync.WaitGroup

	limits streamLimits

	readMu sync.Mutex
	// current is the stream whose buffer a ReadBatch has begun and not finished; guarded by readMu.
	current *stream

	mu sync.RWMutex
	// All below is guarded by mu.
	running, closed bool
	listeners       []streamListener
	last            uint64             // number of the newest stream
	streams         map[uint64]*stream // all, also those that are still being made
	strangers       map[netip.Prefix]int
	strangersAll    int
	cert            *tls.Config // of the TLS listeners

	refused atomic.Uint64 // accepted connections that a limit closed at once
}

// streamLimits are the limits that tests change, to see what happens without them.
type streamLimits struct {
	streams, strangers, perNet, queueBytes int
	queueTime, strangerTime                time.Duration
}

type streamListener struct {
	net.Listener
	protocol Protocol
}

// NewStreams returns a Streams without a listener. It starts nothing.
func NewStreams(cfg StreamsConfig) *Streams {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Streams{
		cfg:       cfg,
		ready:     make(chan *stream, streamsMax),
		ended:     make(chan netip.AddrPort, endedMax),
		started:   make(chan struct{}),
		closing:   make(chan struct{}),
		done:      make(chan struct{}),
		streams:   make(map[uint64]*stream),
		strangers: make(map[netip.Prefix]int),
		limits: streamLimits{
			streams: streamsMax, strangers: strangersMax, perNet: strangersPerNet, strangerTime: strangerTimeMax,
			queueBytes: queueBytesMax, queueTime: queueTimeMax,
		},
	}
}

// Listen opens a port, before Run is called, and returns the bound address: the port may be 0, and addresses
// mean what they mean to ListenUDP. Connections are accepted once Run runs.
func (s *Streams) Listen(p Protocol, at netip.AddrPort) (netip.AddrPort, error) {
	if p != TCP && p != TLS {
		return netip.AddrPort{}, fmt.Errorf("listen on %v: no such protocol", at)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running || s.closed {
		return netip.AddrPort{}, fmt.Errorf("listen on %s %v: the streams run already", p, at)
	}
	if p == TLS && s.cert == nil {
		cfg, err := serverTLS(s.cfg.Rand)
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("listen on %s %v: %w", p, at, err)
		}
		s.cert = cfg
	}
	l, err := listenTCP(at)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen on %s %v: %w", p, at, err)
	}
	s.listeners = append(s.listeners, streamListener{l, p})
	return remoteOf(l.Addr()), nil
}

func listenTCP(at netip.AddrPort) (net.Listener, error) {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	network := "tcp6"
	switch {
	case !at.IsValid():
		return nil, errors.New("invalid address")
	case at.Addr().Is4():
		network = "tcp4"
	case at.Addr() == netip.IPv6Unspecified():
		network = "tcp"
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // its sockets lack some of the options of setStreamOptions
	return lc.Listen(context.Background(), network, at.String())
}

// Run accepts connections and serves all until ctx ends or Close is called. It returns when every goroutine
// has ended and every connection and listener is closed. It can be called once: a second call returns
// net.ErrClosed. After Close it has nothing to do.
func (s *Streams) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running || s.closed {
		defer s.mu.Unlock()
		if s.running {
			return net.ErrClosed
		}
		return nil
	}
	s.running = true
	close(s.started)
	for _, l := range s.listeners {
		s.wg.Go(func() { s.accept(l) })
	}
	s.mu.Unlock()

	defer close(s.done)
	select {
	case <-ctx.Done():
	case <-s.closing:
	}
	s.shut()
	s.wg.Wait()
	return nil
}

// shut refuses all further use and closes listeners and connections.
func (s *Streams) shut() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
	list := make([]*stream, 0, len(s.streams))
	for _, c := range s.streams {
		list = append(list, c)
	}
	s.mu.Unlock()
	for _, c := range list {
		c.end(net.ErrClosed)
	}
}

// Close implements Socket: it ends Run and waits for it.
func (s *Streams) Close() error {
	s.shut()
	s.readMu.Lock() // no ReadBatch is under way any more
	defer s.readMu.Unlock()
	s.mu.Lock()
	running := s.running
	s.mu.Unlock()
	if running {
		<-s.done
	}
	return nil
}

// Offload implements Socket: a stream moves many datagrams at once as it is.
func (s *Streams) Offload() (Offloads, error) { return Offloads{}, nil }

// LocalAddr implements Socket. As there is no one address for all connections, it is path.Stream(0), which
// names none of them.
func (s *Streams) LocalAddr() netip.AddrPort { return path.Stream(0) }

// Ended returns where the addresses of connections are told that have ended, whatever the reason. At most
// endedMax wait there; further notices are dropped, so that a reader that may have been slow looks at Status
// too.
func (s *Streams) Ended() <-chan netip.AddrPort { return s.ended }

// Refused returns how many accepted connections were closed at once because of streamsMax or strangersPerNet.
func (s *Streams) Refused() uint64 { return s.refused.Load() }

// Keep says that the other side of a connection has proved itself, so that the connection may stay. It is
// cheap enough to be called for every authenticated datagram.
func (s *Streams) Keep(at netip.AddrPort) {
	c := s.find(at)
	if c == nil || c.kept.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[c.n] == c && !c.kept.Load() {
		s.noStranger(c)
		c.kept.Store(true)
		_ = c.raw.SetReadDeadline(time.Time{})
	}
}

// Remote returns the other side of a connection, false if there is none of that name. Beyond a proxy it is
// the endpoint that was asked for.
func (s *Streams) Remote(at netip.AddrPort) (netip.AddrPort, bool) {
	c := s.find(at)
	if c == nil {
		return netip.AddrPort{}, false
	}
	return c.remote, true
}

// Hangup closes a connection. What its send queue holds is lost.
func (s *Streams) Hangup(at netip.AddrPort) {
	if c := s.find(at); c != nil {
		c.end(errHangup)
	}
}

// Status describes the open connections, in the order of their numbers.
func (s *Streams) Status() []StreamStatus {
	s.mu.RLock()
	list := make([]*stream, 0, len(s.streams))
	for _, c := range s.streams {
		if c.up {
			list = append(list, c)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b *stream) int {
		if a.n < b.n {
			return -1
		}
		return 1
	})
	status := make([]StreamStatus, len(list))
	for i, c := range list {
		status[i] = c.status()
	}
	return status
}

// find returns the open connection that at names, nil if there is none.
func (s *Streams) find(at netip.AddrPort) *stream {
	n, ok := path.StreamOf(at)
	if !ok {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.streams[n]; c != nil && c.up {
		return c
	}
	return nil
}

// ReadBatch implements Socket. It allocates nothing.
func (s *Streams) ReadBatch(dgs []Datagram) (int, error) {
	if len(dgs) == 0 {
		return 0, nil
	}
	s.readMu.Lock()
	defer s.readMu.Unlock()
	return s.read(dgs, true)
}

// TryReadBatch implements Socket. It allocates nothing.
func (s *Streams) TryReadBatch(dgs []Datagram) (int, error) {
	if !s.readMu.TryLock() {
		return 0, nil // somebody waits for what is not there
	}
	defer s.readMu.Unlock()
	return s.read(dgs, false)
}

// read is called with readMu held.
func (s *Streams) read(dgs []Datagram, wait bool) (int, error) {
	n, limit := 0, min(len(dgs), BatchMax)
	for n < limit {
		select {
		case <-s.closing:
			return 0, net.ErrClosed
		default:
		}
		if s.current == nil && (n > 0 || !wait) {
			select {
			case s.current = <-s.ready:
			default:
				return n, nil
			}
		}
		if s.current == nil {
			select {
			case s.current = <-s.ready:
			case <-s.closing:
				return 0, net.ErrClosed
			}
		}
		var more bool
		n, more = s.current.deliver(dgs[:limit], n)
		if !more {
			s.current.taken <- struct{}{} // has room, for the stream was ready once
			s.current = nil
		}
	}
	return n, nil
}

// WriteBatch implements Socket. It never waits, and itself allocates nothing once the send queue has grown to what
// the connection needs. What it returns are the datagrams that a queue took; what is too long, or for a
// connection that is no more, is lost.
func (s *Streams) WriteBatch(dgs []Datagram) (int, error) {
	select {
	case <-s.closing:
		return 0, net.ErrClosed
	default:
	}
	took := 0
	for len(dgs) > 0 {
		n := 1
		for n < len(dgs) && dgs[n].Addr == dgs[0].Addr {
			n++
		}
		if c := s.find(dgs[0].Addr); c != nil {
			took += c.enqueue(dgs[:n])
		}
		dgs = dgs[n:]
	}
	return took, nil
}
