package transport

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
)

// A session is one finished handshake with what belongs to its keys: the channel indexes of both
// sides. A link has at most sessionsMax of them; only the newest confirmed one is sent with.
type session struct {
	*secure.Session
	link *link // one of link and join is set
	join *join

	from      netip.AddrPort // where the peer's handshake message came from
	heard     int            // its length
	peerEpoch uint64
	// confirmed: the peer proved, in this session or by answering our first message, that it is
	// alive. An unconfirmed session (a first message may be a replay) is never sent with, and
	// ends at pendEnds.
	confirmed bool
	proven    bool // a packet came in it: the peer has made its end of the hop too
	pendEnds  time.Time
	retireAt  time.Time // when a replaced session's keys are forgotten; zero while in use

	// The answer to the first message that made an unconfirmed session, for repetitions.
	answer    []byte
	answerTo  tables.Hash // of the first message
	answerTry int

	hop      bool                   // Hop was emitted
	grants   map[tables.VNID]uint32 // what we accept
	announce announcement
	channels channelSet // what the peer accepts
}

// An announcement is the state of telling the peer our grants.
type announcement struct {
	version uint64 // zero: nothing to tell yet
	acked   bool
	tries   uint
	next    time.Time
}

// A channelSet is what the peer announced, and the next version while its parts come in.
type channelSet struct {
	version uint64
	index   map[tables.VNID]uint32
	arrived int
	parts   [][]frame.Grant
	partsOf uint64 // the version of parts
}

// newIndex returns a random number for a session or a channel that nothing else of this Links
// has. Its lane bits are zero, and it is not zero.
func (l *Links) newIndex() uint32 {
	for {
		var b [4]byte
		l.random(b[:])
		i := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		i &^= frame.LanesMax - 1
		if _, taken := l.index[i]; i != 0 && !taken {
			return i
		}
	}
}

// grant allots indexes for the VNs that the link accepts and have none in this session, takes
// back those of others, and announces the set if it changed. The VNs are sorted.
func (s *session) grant(now time.Time, l *Links, vns []tables.VNID) {
	changed := s.announce.version == 0
	var withdrawn []uint32
	for _, vn := range sortedKeys(s.grants) {
		if _, keep := slices.BinarySearch(vns, vn); !keep {
			withdrawn = append(withdrawn, s.grants[vn])
			delete(l.index, s.grants[vn])
			delete(s.grants, vn)
		}
	}
	if len(withdrawn) > 0 {
		changed = true
		l.emit(Withdrawn{Router: s.link.router, Indexes: withdrawn})
	}
	if s != s.link.conn.session {
		return // an old session gets no new grants
	}
	var granted []Grant
	for _, vn := range vns {
		if _, have := s.grants[vn]; have {
			continue
		}
		i := l.newIndex()
		_, receiver := s.Lane(0)
		l.index[i] = owner{}
		s.grants[vn] = i
		granted = append(granted, Grant{Index: i, VN: vn, Receiver: receiver, Session: s.Session})
	}
	if len(granted) > 0 {
		changed = true
		l.emit(Granted{Router: s.link.router, Grants: granted})
	}
	if changed {
		s.announce = announcement{version: s.announce.version + 1, next: now}
	}
}

// announcePart is how many grants go in one frame, so that the datagram keeps to datagramBytesMax.
const announcePart = 120

// tell queues the announcement if it is due.
func (s *session) tell(now time.Time, c *conn) {
	a := &s.announce
	if a.version == 0 || a.acked || now.Before(a.next) {
		return
	}
	var all []frame.Grant
	for _, vn := range sortedKeys(s.grants) {
		all = append(all, frame.Grant{VN: vn, Index: s.grants[vn]})
	}
	parts := max((len(all)+announcePart-1)/announcePart, 1)
	for i := range parts {
		part := all[min(i*announcePart, len(all)):min((i+1)*announcePart, len(all))]
		c.put(frame.AppendChannels(nil, a.version, uint8(i), uint8(parts), part))
	}
	c.liveness.sentData(now) // the acknowledgement shows that the peer is there, or is missed
	a.next = now.Add(min(announceRetry<<min(a.tries, 8), announceRetryMax))
	a.tries++
}

// learn takes one part of the peer's announcement. It reports whether a whole new set is there,
// and which version to acknowledge, zero for none.
func (s *session) learn(c frame.Channels) (fresh bool, ack uint64) {
	set := &s.channels
	if c.Version <= set.version {
		return false, c.Version // our acknowledgement was lost
	}
	if c.Version < set.partsOf || int(c.Parts) > (channelsMax+announcePart-1)/announcePart {
		return false, 0
	}
	if c.Version > set.partsOf || int(c.Parts) != len(set.parts) {
		set.partsOf, set.parts, set.arrived = c.Version, make([][]frame.Grant, c.Parts), 0
	}
	if set.parts[c.Part] == nil {
		set.arrived++
	}
	grants := make([]frame.Grant, 0, c.Len())
	for i := range c.Len() {
		grants = append(grants, c.At(i))
	}
	set.parts[c.Part] = grants
	if set.arrived < len(set.parts) {
		return false, 0
	}
	index := make(map[tables.VNID]uint32)
	for _, part := range set.parts {
		for _, g := range part {
			if g.Index != 0 {
				index[g.VN] = g.Index
			}
		}
	}
	*set = channelSet{version: c.Version, index: index}
	return true, c.Version
}

// forget drops a session: its keys and its indexes.
func (l *Links) forget(s *session) {
	l.disown(s.Local)
	if s.hop {
		l.emit(HopGone{Index: s.Local})
	}
	if s.answer != nil {
		delete(l.answers, s.answerTo)
		s.answer = nil
	}
	if !s.confirmed {
		l.pending--
	}
	var withdrawn []uint32
	for _, vn := range sortedKeys(s.grants) {
		withdrawn = append(withdrawn, s.grants[vn])
		delete(l.index, s.grants[vn])
	}
	s.grants = nil
	if len(withdrawn) > 0 {
		l.emit(Withdrawn{Router: s.link.router, Indexes: withdrawn})
	}
}

func sortedKeys(m map[tables.VNID]uint32) []tables.VNID {
	keys := make([]tables.VNID, 0, len(m))
	for vn := range m {
		keys = append(keys, vn)
	}
	slices.Sort(keys)
	return keys
}
