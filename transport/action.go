package transport

import (
	"net/netip"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
)

// A Conn names one connection that streams can be opened on: the link with an enrolled router
// from its Up to its Down, or a join conversation from its JoinUp to its Down. Numbers are never
// reused by one Links. Zero names none.
type Conn uint64

// A Stream names one reliable byte stream of a Conn. Numbers are never reused by one Links and
// mean nothing to the peer. Zero names none.
type Stream uint64

// An Action is something the caller of Links must do, in the order given.
type Action interface{ action() }

// Send asks to send one datagram. The caller owns Datagram.
type Send struct {
	To       netip.AddrPort
	Datagram []byte
}

// Up says that a link with an enrolled router is established: it proved that it is alive now.
// Streams may be opened at once; data may be sent when Channels follows.
type Up struct {
	Router    tables.RouterID
	Conn      Conn
	Endpoint  netip.AddrPort
	Initiator bool // we dialled
}

// Rekeyed says that new keys are in use for control packets. Lanes need do nothing: Granted and
// Channels announce the new data keys, and the old ones stay valid until Withdrawn.
type Rekeyed struct {
	Router    tables.RouterID
	Conn      Conn
	Restarted bool // the peer is a new process: the streams of the link were closed
}

// Moved says that the validated endpoint of a link changed: data goes there from now on.
type Moved struct {
	Router   tables.RouterID
	Endpoint netip.AddrPort
}

// Sized says how large a datagram to a router may be, by the path in use: its length without headers of UDP, IP or a
// relay. It holds until the next, or until Moved says that the path is another.
type Sized struct {
	Router tables.RouterID
	Bytes  int
}

// Channels says how data must be sent to a router from now on. It replaces what an earlier
// Channels of the same router said, whole.
type Channels struct {
	Router   tables.RouterID
	Endpoint netip.AddrPort  // as in the last Up or Moved
	Sender   *secure.Sender  // of lane 0
	Session  *secure.Session // gives the senders of the other lanes
	// Index has the peer's channel index for each VN that the peer accepts from us.
	// It is not changed after it is handed out.
	Index map[tables.VNID]uint32
}

// A Grant is one channel index that we issued.
type Grant struct {
	Index    uint32
	VN       tables.VNID
	Receiver *secure.Receiver // of lane 0
	Session  *secure.Session  // gives the receivers of the other lanes
}

// Granted says which data packets to accept from a router from now on, besides those granted
// before: a packet that carries Index must open with Receiver and VN.
type Granted struct {
	Router tables.RouterID
	Grants []Grant
}

// Withdrawn ends grants. Packets that carry these indexes are unknown from now on.
type Withdrawn struct {
	Router  tables.RouterID
	Indexes []uint32
}

// Down says that a link or a join conversation ended. Its streams have been closed and its
// grants withdrawn by the actions before; what Channels said is void. Links dials again by itself while
// there is interest (a pin, data or streams wanted just before).
type Down struct {
	Router tables.RouterID // zero for a join conversation
	Conn   Conn
	Reason Reason
}

// JoinUp says that a join conversation is established. The peer proved that it holds the
// private half of Peer, and nothing else.
type JoinUp struct {
	Conn     Conn
	Peer     tables.LinkKey
	Hello    []byte // the peer's handshake payload
	Endpoint netip.AddrPort
	Dialled  bool // by DialJoin here
}

// StreamOpened says that the peer opened a stream. Kind is the byte that it gave to OpenStream.
type StreamOpened struct {
	Conn   Conn
	Router tables.RouterID // zero on a join conversation
	Stream Stream
	Kind   uint8
}

// StreamReadable says that ReadStream has bytes or the end of the stream to give.
// It is repeated only after a ReadStream found nothing more.
type StreamReadable struct{ Stream Stream }

// StreamWritable says that WriteStream accepts bytes again after it accepted fewer than given.
type StreamWritable struct{ Stream Stream }

// StreamClosed is the last action about a stream. Err is nil when both ends were read and
// written to the end. Otherwise it is ErrStreamReset, ErrStreamAbort (after ResetStream),
// ErrStreamIdle, ErrLinkDown or ErrStreamBudget.
type StreamClosed struct {
	Stream Stream
	Err    error
}

// Observed says at which endpoint a peer sees us. It is a hint: one peer can lie.
type Observed struct {
	Router   tables.RouterID // who says so; zero on a join conversation
	Endpoint netip.AddrPort
}

// Listening says whether datagrams that name an index, as frame.ReceiverOf returns it, mean something to
// us from now on. It comes before the Send that tells a peer of the index, so that the lanes can
// drop all others at once: whoever does not see our datagrams cannot name one.
type Listening struct {
	Index uint32
	On    bool
}

// Hop says how relay datagrams are exchanged with a router from now on: those to it are sealed with
// Sender, in place of an earlier one, or go on with that one if Sender is nil; those that carry Index must open with Receiver.
type Hop struct {
	Router   tables.RouterID
	Index    uint32
	Sender   *secure.HopSender
	Receiver *secure.HopReceiver
}

// HopGone ends what Hop said of an index: relay datagrams that carry it are unknown from now on.
type HopGone struct{ Index uint32 }

// Unanswered says that a router has not answered a few first messages over any path that is known: the
// caller may find others and Offer them.
type Unanswered struct{ Router tables.RouterID }

// Degraded says that the way in use of a link is silent or bad: the caller may Offer others.
type Degraded struct{ Router tables.RouterID }

// Silent says that a router whose answer is needed, since data was sent to it, has left silentProbes questions in a row unanswered
// over the way in use, or (not On) that it was heard again. The link is given up later, and only then is there a Down. It is
// for who has somebody else to send to.
type Silent struct {
	Router tables.RouterID
	On     bool
}

// Relays says which routers a peer names as relays to it. It is a hint.
type Relays struct {
	Router tables.RouterID
	Relays []tables.RouterID
}

// Asked says that an enrolled peer sent a frame that is not about the link itself: attach, attached, poll,
// dial back, dial for, dialled, apart. Body lengths are not checked yet.
type Asked struct {
	Router tables.RouterID
	From   netip.AddrPort
	Frame  frame.Control
}

func (Hop) action()            {}
func (HopGone) action()        {}
func (Unanswered) action()     {}
func (Degraded) action()       {}
func (Silent) action()         {}
func (Relays) action()         {}
func (Asked) action()          {}
func (Send) action()           {}
func (Up) action()             {}
func (Rekeyed) action()        {}
func (Moved) action()          {}
func (Sized) action()          {}
func (Channels) action()       {}
func (Granted) action()        {}
func (Withdrawn) action()      {}
func (Down) action()           {}
func (JoinUp) action()         {}
func (StreamOpened) action()   {}
func (StreamReadable) action() {}
func (StreamWritable) action() {}
func (StreamClosed) action()   {}
func (Observed) action()       {}
func (Listening) action()      {}
