package transport

import (
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
)

// A Config says who we are and whom to believe. It must not be modified after NewLinks.
type Config struct {
	Self       tables.RouterID // zero while we are a newcomer: then only DialJoin works
	Static     secure.StaticKey
	Federation tables.Hash // bound into every handshake; zero for a newcomer that has no pin
	Boot       uint64      // boot count from disk, grows with every start: orders handshakes
	FastAES    bool        // the processor has AES instructions
	Rand       io.Reader   // keys, nonces, indexes, jitter
	// Hello returns the payload of our handshakes: own enrolment and link record, at most
	// helloBytesMax bytes. A longer one is left out.
	Hello func() []byte
	// Accept says which router a handshake's static key and hello payload belong to, or refuses.
	// It is called after the static key was proved.
	Accept func(static tables.LinkKey, hello []byte) (tables.RouterID, error)
	// Peer returns where to dial a router and the static key it must prove.
	Peer func(tables.RouterID) (Peer, bool)
	// Allowed reports whether a router is still enrolled. It is asked when a session that Accept
	// let in is about to be used, up to pendLife later; nil: always.
	Allowed func(tables.RouterID) bool
	// Joinable reports whether join hellos are answered now; nil: never.
	Joinable func() bool
	// Leads reports whether we choose the way of the link with a router, and not it. Of two routers
	// one must say yes. nil: the lower router ID leads.
	Leads func(tables.RouterID) bool
	// Candidates returns what a router is told of where else we may be found: our endpoints, and relays
	// that we have links with; at most 8 of each. nil: nothing.
	Candidates func(to tables.RouterID) ([]netip.AddrPort, []tables.RouterID)
	// Punchable reports whether an endpoint that a peer told of itself may be asked; nil: every one.
	Punchable func(netip.AddrPort) bool
	// Origin returns the endpoint that bounds per network go by: of a stream connection its other side. nil: the
	// path itself.
	Origin func(netip.AddrPort) netip.AddrPort
	// Largest returns the length of the largest datagram that may be sent over a path, as the configuration has it; what of
	// it passes is searched for. Zero, or nil: there is no such limit, and no search.
	Largest func(netip.AddrPort) int
	// Draining reports whether a relay asks to be left; nil: none does.
	Draining func(tables.RouterID) bool
}

// A Peer is what is known of a router before a link with it, from its link record.
type Peer struct {
	Link      tables.LinkKey
	Endpoints []netip.AddrPort // paths of any kind, best first
	Regular   bool             // it may be a relay itself: for that our link with it must not be relayed
	Reachable bool             // it says that it can be reached directly: relays wait until it has not answered
}

// Links holds all links of one VR. Its methods may be called from one goroutine only (the
// control loop) and never block. Actions must be carried out in order.
type Links struct {
	cfg    Config
	secure secure.Config

	links   map[tables.RouterID]*link
	joins   map[Conn]*join
	conns   map[Conn]*conn // established ones, of links and joins
	streams map[Stream]*stream
	index   map[uint32]owner
	answers map[tables.Hash]*session // by the hash of the first message answered
	hellos  map[tables.Hash]*join    // by the hash of the join hello answered
	heap    dueHeap

	dials      int // first messages of ours under way
	pending    int // sessions of peers that are not confirmed
	lastConn   Conn
	lastStream Stream
	lastOrder  uint64
	lastInit   uint64
	counters   Counters

	// Of the call under way.
	now      time.Time
	arrived  time.Time // when the datagram came that is being handled
	actions  []Action
	touched  []*link
	touchedJ []*join

	// Only tests set these: each takes one defence out, to show that its attack then succeeds.
	believeSources bool // an authentic packet's source becomes the endpoint without a challenge
	believeInits   bool // a peer's session is sent with before the peer proved to be alive
	acceptReplays  bool // first messages need no rising order
	crowdedJoins   bool // join conversations of one network are not bounded, silent ones are kept
	answersAll     bool // a way that has proved nothing gets as many answers as questions came over it
	asksAll        bool // whatever a peer names is asked, as often as it likes
	trustsPongs    bool // a way that answers is a good one, whatever becomes of data
	strayPaths     bool // a packet of one router may come by a path that names another
}

// An owner is what an index that we issued stands for. The zero owner is a channel index, which
// only the lanes look up.
type owner struct {
	session *session
	dial    *link
	join    *join
}

// NewLinks returns the state of a VR without links.
func NewLinks(cfg Config) *Links {
	return &Links{
		cfg:     cfg,
		secure:  secure.Config{Static: cfg.Static, Federation: cfg.Federation, FastAES: cfg.FastAES, Rand: cfg.Rand},
		links:   make(map[tables.RouterID]*link),
		joins:   make(map[Conn]*join),
		conns:   make(map[Conn]*conn),
		streams: make(map[Stream]*stream),
		index:   make(map[uint32]owner),
		answers: make(map[tables.Hash]*session),
		hellos:  make(map[tables.Hash]*join),
	}
}

// Handle takes one datagram, of any type except data and gossip, that has passed the Gate. It does
// not keep the slice.
func (l *Links) Handle(now time.Time, from netip.AddrPort, datagram []byte) []Action {
	return l.HandleArrived(now, now, from, datagram)
}

// HandleArrived is Handle for a datagram that came somewhat earlier: trains are measured by that.
func (l *Links) HandleArrived(now, arrived time.Time, from netip.AddrPort, datagram []byte) []Action {
	l.begin(now)
	l.arrived = arrived
	switch frame.TypeOf(datagram) {
	case frame.TypeInit:
		l.onInit(now, from, datagram)
	case frame.TypeResponse:
		l.onResponse(now, from, datagram)
	case frame.TypeCookie:
		l.onCookie(now, from, datagram)
	case frame.TypeJoinHello:
		l.onJoinHello(now, from, datagram)
	case frame.TypeJoinCookie:
		l.onJoinCookie(now, from, datagram)
	case frame.TypeJoinReply:
		l.onJoinReply(now, from, datagram)
	case frame.TypeJoinFinish:
		l.onJoinFinish(now, from, datagram)
	case frame.TypeControl:
		l.onControl(now, from, datagram)
	default:
		l.counters.Malformed++
	}
	return l.end()
}

// Advance fires every deadline at or before now.
func (l *Links) Advance(now time.Time) []Action {
	l.begin(now)
	for len(l.heap) > 0 && !l.heap[0].due.After(now) {
		t := l.heap[0]
		l.unschedule(t)
		if t.link != nil {
			l.advanceLink(now, t.link)
			l.touch(t.link)
		} else {
			l.advanceJoin(now, t.join)
			l.touchJoin(t.join)
		}
	}
	return l.end()
}

// Next returns the time of the next deadline, or the zero Time if there is none.
func (l *Links) Next() time.Time {
	if len(l.heap) == 0 {
		return time.Time{}
	}
	return l.heap[0].due
}

// Dial makes sure that there is a link with a router, or a handshake under way, and renews our
// interest in it: without a pin, data or streams interest fades after dialInterest.
func (l *Links) Dial(now time.Time, to tables.RouterID) []Action {
	l.begin(now)
	if k := l.enrolled(to); k != nil {
		k.interest, k.wanted = now.Add(dialInterest), now
		l.want(now, k)
	}
	return l.end()
}

// Pin says whether the link with a router is kept (and dialled again) with nothing to carry.
func (l *Links) Pin(now time.Time, router tables.RouterID, keep bool) []Action {
	l.begin(now)
	if k := l.enrolled(router); k != nil {
		if k.pinned && !keep {
			k.used = now
		}
		k.pinned = keep
		l.want(now, k)
	}
	return l.end()
}

// enrolled returns the link with another router than ourselves.
func (l *Links) enrolled(router tables.RouterID) *link {
	if router == 0 || router == l.cfg.Self || l.cfg.Self == 0 {
		return nil
	}
	return l.lookup(router)
}

// want dials an idle link that is wanted.
func (l *Links) want(now time.Time, k *link) {
	if k.state == StateIdle && k.wants(now) {
		k.transition(StateDialling)
		k.tries = 0
		l.startDial(now, k)
	}
	l.touch(k)
}

// SetChannels says which VNs we accept data of from a router, at most channelsMax. It may be
// called before there is a link and holds until changed. A VN that is left out is refused at once,
// under old keys too.
func (l *Links) SetChannels(now time.Time, to tables.RouterID, vns []tables.VNID) []Action {
	l.begin(now)
	k := l.enrolled(to)
	if k == nil {
		return l.end()
	}
	vns = slices.Clone(vns)
	slices.Sort(vns)
	vns = slices.Compact(vns)
	vns = slices.DeleteFunc(vns, func(vn tables.VNID) bool { return vn == 0 })
	if len(vns) > channelsMax {
		l.counters.Limited++
		vns = vns[:channelsMax]
	}
	k.vns = vns
	if k.conn != nil {
		for _, s := range k.sessions {
			if s.confirmed {
				s.grant(now, l, k.vns)
			}
		}
	}
	l.touch(k)
	return l.end()
}

// DataSent is a hint from the lanes, batched: data was sealed to the router since the last hint.
func (l *Links) DataSent(now time.Time, to tables.RouterID) []Action {
	l.begin(now)
	if k := l.links[to]; k != nil {
		k.used, k.wanted, k.interest = now, now, now.Add(dialInterest)
		if k.conn != nil {
			k.conn.liveness.sentData(now)
			k.conn.gauge(now)
			if relay, _ := path.RelayOf(k.conn.endpoint); relay != 0 {
				l.relayUsed(now, relay)
			}
			if k.dial == nil && k.conn.session.RekeyDue(now) { // by count
				l.startDial(now, k)
			}
		}
		l.want(now, k)
	}
	return l.end()
}

// DataReceived is a hint from the lanes, batched: data from the router opened since the last hint.
func (l *Links) DataReceived(now time.Time, from tables.RouterID) []Action {
	l.begin(now)
	if k := l.links[from]; k != nil && k.conn != nil {
		k.used = now
		k.conn.heard(now, k, k.conn.endpoint)
		k.conn.liveness.gotData()
		k.conn.gauge(now)
		l.touch(k)
	}
	return l.end()
}

// relayUsed takes note that something was sent through a relay: its link is needed, and the relay
// must show that it lives.
func (l *Links) relayUsed(now time.Time, relay tables.RouterID) {
	if k := l.links[relay]; k != nil && k.conn != nil {
		k.used, k.interest = now, now.Add(dialInterest)
		k.conn.liveness.sentData(now)
		l.touch(k)
	}
}

// dataBytesMin is the least size of a data packet: what Roamed may count as come from an address.
const dataBytesMin = frame.DataHeaderLen + 20 + frame.TagLen

// Roamed is a hint from the lanes: data of a router opened but came from another address than the
// link's. Links asks that address for proof before it uses it.
func (l *Links) Roamed(now time.Time, router tables.RouterID, from netip.AddrPort) []Action {
	l.begin(now)
	if k := l.links[router]; k != nil && k.conn != nil && l.leadsTo(from, router) {
		k.conn.heard(now, k, from)
		k.conn.sawSource(now, from, dataBytesMin, true)
		l.touch(k)
	}
	return l.end()
}

// Conn returns the connection of an established link.
func (l *Links) Conn(router tables.RouterID) (Conn, bool) {
	if k := l.links[router]; k != nil && k.conn != nil {
		return k.conn.id, true
	}
	return 0, false
}

// Routers returns every router of which anything is kept, idle links and sessions that their peer
// has yet to confirm too, sorted.
func (l *Links) Routers() []tables.RouterID {
	return slices.Sorted(maps.Keys(l.links))
}

// Close ends the link with a router (a handshake under way and a session that the peer has yet to
// confirm too), its pin and our interest in it, and tells the peer why. A later Dial or first message of the peer may bring it up again.
func (l *Links) Close(now time.Time, router tables.RouterID, reason Reason) []Action {
	l.begin(now)
	if k := l.links[router]; k != nil {
		l.closeLink(now, k, reason)
	}
	return l.end()
}

// CloseConn ends a link or a join conversation by its number.
func (l *Links) CloseConn(now time.Time, id Conn, reason Reason) []Action {
	l.begin(now)
	if j := l.joins[id]; j != nil {
		l.closeJoin(now, j, reason, ErrLinkDown, true)
	} else if c := l.conns[id]; c != nil {
		l.closeLink(now, l.links[c.router], reason)
	}
	return l.end()
}

func (l *Links) closeLink(now time.Time, k *link, reason Reason) {
	k.pinned, k.interest, k.wanted = false, time.Time{}, time.Time{}
	switch {
	case k.conn != nil:
		l.sayClose(k.conn, reason)
		l.down(now, k, reason)
	case k.dial != nil:
		l.endDial(k)
		k.transition(StateIdle)
	}
	if k.pend != nil {
		l.dropSession(k, k.pend)
	}
	l.touch(k)
}

// Status describes every link that is not idle, by router ID.
func (l *Links) Status(now time.Time) []LinkStatus {
	var all []LinkStatus
	for _, k := range l.links {
		if k.state == StateIdle {
			continue
		}
		s := LinkStatus{Router: k.router, State: k.state.String(), Path: "direct", Sessions: len(k.sessions), Pinned: k.pinned}
		if c := k.conn; c != nil {
			s.Conn, s.Endpoint, s.RTT = c.id, c.endpoint, c.rtt.srtt
			s.HandshakeAge, s.Streams = now.Sub(k.since), len(c.streams)
			s.ControlSent, s.ControlRecv, s.LastRecv = c.sent, c.received, c.lastRecv
			s.PeerReport = c.peerRx
		} else if k.dial != nil {
			s.Endpoint = k.dial.last
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b LinkStatus) int { return int(int64(a.Router) - int64(b.Router)) })
	return all
}

// Counters returns what was dropped so far.
func (l *Links) Counters() Counters { return l.counters }
