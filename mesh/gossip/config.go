package gossip

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"

	"github.com/vine-mesh/vine/tables"
)

// Self names the VR that gossips.
type Self struct {
	Router tables.RouterID
	Name   string // the enrolment name; the serf node name
}

// A Directory tells the enrolled VRs. It is asked from many goroutines, on every message,
// so it must answer from memory without waiting: an atomic snapshot of the enrolments.
// A VR that is not in it, or no longer, can neither speak nor be spoken of.
type Directory interface {
	// ByName returns the router with the enrolment name.
	ByName(name string) (tables.RouterID, bool)
	// Name returns the enrolment name of the router.
	Name(id tables.RouterID) (string, bool)
}

// Rumours is the queue of our own messages that ride in gossip packets.
type Rumours interface {
	// Take returns messages to send now. Each costs its length and overhead bytes, and
	// together they cost at most limit. members is the number of known members, from which
	// the queue decides how often a message is sent before it is done.
	//
	// Take is called from memberlist's goroutines, so it must not wait (a short lock is
	// fine). The messages may be kept and must not be changed afterwards.
	Take(members, limit, overhead int) [][]byte
}

// Events are told what gossip hears. All are hints. A nil function is not called.
//
// They are called from memberlist's goroutines or from whoever called Deliver, so they must
// not wait and must not call back: copy, enqueue without blocking, count what is dropped.
type Events struct {
	Up      func(tables.RouterID) // seems to be there
	Failed  func(tables.RouterID) // did not answer
	Left    func(tables.RouterID) // said good-bye
	Updated func(tables.RouterID) // has other tags

	// Root reports the root hash that a member put into its ack.
	Root func(from tables.RouterID, root [RootLen]byte)
	// Rumour reports one message taken from from's Rumours queue. The bytes are not used
	// again and may be kept.
	Rumour func(from tables.RouterID, message []byte)
}

// RootLen is the length of the root hash in acks: half a SHA-256, since a collision only
// delays anti-entropy to its unconditional round.
const RootLen = 16

// A Config says how one VR takes part in gossip.
type Config struct {
	Self Self
	// Tags are shown by "serf members" to every member. At most 512 bytes when encoded.
	// They are hints that any member can forge.
	Tags map[string]string
	// Incarnation is what Gossip.Incarnation returned at the end of the last run, 0 if
	// there was none. Without it a VR that restarts refutes old accusations more slowly.
	Incarnation uint32
	// Send seals packet for to and sends it, or drops it. It never waits: memberlist sends
	// acks from the goroutine that receives. It may keep packet and must not change it.
	Send func(to tables.RouterID, packet []byte)
	// Dial opens a stream to to on an authenticated link. The conn must support deadlines.
	Dial func(ctx context.Context, to tables.RouterID) (net.Conn, error)

	Directory Directory
	Rumours   Rumours // may be nil
	Events    Events
	Log       *slog.Logger // nil: no log
}

const (
	// packetMax is the largest gossip packet we make. 7,900 bytes carry 24 alive messages
	// of 250 bytes a second and member at 10,000 members, 1,400 bytes only 4, and that is
	// the first thing to saturate when many join. The frame layer splits them, in 8 pieces at most.
	packetMax = 7900
	// packetInMax bounds a packet that is let in: packetMax, the 5 bytes of checksum that
	// memberlist adds after counting, and some room for a peer that counts otherwise.
	packetInMax = 9000

	// leaveTimeout bounds each of the two waits of a graceful leave.
	leaveTimeout = 2 * time.Second
)

// serfConfig is the one place where memberlist's and serf's settings are made. Settings not
// named here have the value of DefaultLANConfig and DefaultConfig: LAN timers see a death
// among 10,000 members after 18 s, WAN timers after 130 s.
func serfConfig(c Config, transport memberlist.NodeAwareTransport, events chan<- serf.Event, alive *gate) *serf.Config {
	mc := memberlist.DefaultLANConfig()
	mc.Transport = transport
	// The address is the identity; serf sets the name.
	mc.AdvertiseAddr = Addr(c.Self.Router).String()
	mc.AdvertisePort = Port
	mc.BindAddr = mc.AdvertiseAddr
	mc.BindPort = Port
	// Every address we hand out carries a name; a bare one cannot come from us.
	mc.RequireNodeNames = true
	// LZW costs twice the CPU, hides messages from the policing, and signatures do not
	// compress.
	mc.EnableCompression = false
	// Gossip travels sealed for one peer. A key that all members share would let any of
	// them re-key the others.
	mc.Keyring = nil
	mc.SecretKey = nil
	mc.UDPBufferSize = packetMax
	// A relayed path may have a round trip of some hundred milliseconds.
	mc.ProbeTimeout = 800 * time.Millisecond
	// exchange does this at a period that follows the number of members.
	mc.PushPullInterval = 0
	// Names resolve in the directory, never in the DNS.
	mc.DNSConfigPath = "/dev/null"
	mc.Alive = alive
	mc.Merge = alive

	sc := serf.DefaultConfig()
	sc.MemberlistConfig = mc
	sc.NodeName = c.Self.Name
	sc.Tags = c.Tags
	sc.EventCh = events
	// A vote among members would let two liars shut a VR down. Names cannot conflict: the
	// authority gives them, and the address follows from the router ID.
	sc.EnableNameConflictResolution = false
	sc.ValidateNodeNames = true
	// Room for one intent of every member before serf prunes its queue.
	sc.MinQueueDepth = 4096
	// A VR that is gone for six hours is found again by the caller's own seeds and anchors,
	// not by a list of the dead.
	sc.ReconnectTimeout = 6 * time.Hour
	sc.TombstoneTimeout = 6 * time.Hour
	// A leave waits this long at most, twice, and then one second.
	sc.BroadcastTimeout = leaveTimeout
	sc.LeavePropagateDelay = time.Second
	// serf's own limits, stated because the policing relies on them.
	sc.UserEventSizeLimit = 512
	sc.QuerySizeLimit = querySizeMax
	sc.QueryResponseSizeLimit = querySizeMax
	// No snapshot of peers: the node keeps signed anchors of its own and dials them in
	// parallel, where serf tries its list one by one.
	sc.SnapshotPath = ""

	logger := newLogger(c.Log)
	mc.Logger, mc.LogOutput = logger, nil
	sc.Logger, sc.LogOutput = logger, nil
	return sc
}
