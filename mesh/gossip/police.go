package gossip

import (
	"net"
	"sync"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// An inspector stands between the links and memberlist. Gossip always has the police for
// one; only tests in this package put in another.
type inspector interface {
	// packet returns what memberlist may see of a packet that from sent (nil: nothing) and
	// the rumours it carried. It does not keep or change b.
	packet(now time.Time, from tables.RouterID, b []byte) (clean []byte, rumours [][]byte)
	// sent tells of a packet that memberlist sends, whose answers may then come in.
	sent(now time.Time, to tables.RouterID, b []byte)
	// admit reports whether from may open one more stream.
	admit(now time.Time, from tables.RouterID) bool
	// wrap returns conn as memberlist may see it.
	wrap(conn net.Conn, peer tables.RouterID, direction direction) net.Conn
	// binding reports whether a member may have the name and address.
	binding(name string, addr []byte, port uint16) bool
	// gone tells that a member is not there since now, or (zero) that it is there.
	gone(name string, now time.Time)
	// incarnation returns what is known of our own incarnation.
	incarnation() uint32
}

// The police decides what gossip may say. Its rules, for a message that the authenticated VR
// S sent and that speaks of the VR X:
//
//   - S and X are enrolled, and so is whoever else is named. X's address is Addr(X).
//   - Only S itself may speak of S leaving. Any other "X is dead" becomes "X is suspected",
//     so that X always has the time to answer and every member's own clock decides. "X has
//     left" from another is dropped.
//   - Incarnations stay below incarnationMax and, unless S is X, grow only in small steps.
//   - Acks count only from the VR that was asked.
//   - Of serf's messages pass: join and leave intents of S itself, queries, answers to
//     queries. No internal query but the harmless ping, no key message, no user event.
//   - Everything is counted against S, and above S's rates dropped.
//
// Everything that passes is encoded afresh. Unknown types are dropped.
//
// All methods may be called at the same time.
type police struct {
	self tables.RouterID
	name string
	dir  Directory

	mu sync.Mutex // guards what follows; never held while waiting or calling out
	// known is the highest incarnation that was let through, by name. Names are enrolled,
	// which bounds it.
	known   map[string]record
	sources map[tables.RouterID]*source
	asked   map[question]bool // value: it is the target itself that was asked
	askedAt [askedMax]question
	askedN  int
	intents uint64 // highest Lamport time of intents that was let through
	queries uint64 // likewise of queries
	seen    [querySeenMax]queryID
	seenN   int
	flood   bucket // queries of everybody
	drops   [dropCount]uint64
}

// A record is what is known of a member.
type record struct {
	incarnation uint32
	goneAt      time.Time // zero: it is there
}

// A question is a probe that a member may answer.
type question struct {
	seq uint32
	to  tables.RouterID
}

// A source is what one VR has used up.
type source struct {
	messages, accusations, raises, streams bucket

	froms      map[string][]string // victim: accusers named
	fromsSince time.Time
}

func newPolice(self Self, dir Directory, incarnation uint32) *police {
	p := &police{
		self:    self.Router,
		name:    self.Name,
		dir:     dir,
		known:   make(map[string]record),
		sources: make(map[tables.RouterID]*source),
		asked:   make(map[question]bool),
	}
	p.known[p.name] = record{incarnation: max(incarnation, 1)}
	return p
}

func (p *police) source(id tables.RouterID) *source {
	s := p.sources[id]
	if s == nil {
		s = new(source)
		p.sources[id] = s
	}
	return s
}

// drop counts a message that is not let through.
func (p *police) drop(d Drop) { p.drops[d]++ }

func (p *police) packet(now time.Time, from tables.RouterID, b []byte) (clean []byte, rumours [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, ok := p.dir.Name(from)
	if !ok || from == p.self {
		p.drop(DropStranger)
		return nil, nil
	}
	if len(b) > packetInMax {
		p.drop(DropMalformed)
		return nil, nil
	}
	s := p.source(from)
	var kept [][]byte
	err := splitPacket(b, func(m []byte) {
		if !s.messages.take(now, 1, messageBurst, messageRate) {
			p.drop(DropRate)
			return
		}
		if m[0] == typeUser && len(m) > 1 && m[1] == typeRumour {
			rumours = append(rumours, append([]byte(nil), m[2:]...))
			return
		}
		clean, d := p.message(now, s, speaker{from, name}, m)
		if d != dropNone {
			p.drop(d)
			return
		}
		kept = append(kept, clean)
	})
	if err != nil {
		p.drop(DropMalformed)
	}
	return joinPacket(kept), rumours
}

// A speaker is the VR that a message came from.
type speaker struct {
	id   tables.RouterID
	name string
}

// message returns one message of a packet as memberlist may see it.
func (p *police) message(now time.Time, s *source, from speaker, b []byte) ([]byte, Drop) {
	switch typ, body := b[0], b[1:]; typ {
	case typePing, typeIndirectPing:
		return p.ping(from, body, typ == typeIndirectPing)
	case typeAck, typeNack:
		return p.answer(from, body, typ == typeNack)
	case typeSuspect, typeDead:
		m, err := parseAccusation(body)
		if err != nil {
			return nil, DropMalformed
		}
		if typ == typeDead && string(m.node) == string(m.from) {
			return p.leave(from, m)
		}
		if d := p.accuse(now, s, from, m); d != dropNone {
			return nil, d
		}
		// A death is passed on as a suspicion. memberlist does the same with what it learns
		// in a state exchange.
		return appendAccusation(nil, typeSuspect, m), dropNone
	case typeAlive:
		m, err := parseAlive(body)
		if err != nil {
			return nil, DropMalformed
		}
		if d := p.alive(now, s, from, m); d != dropNone {
			return nil, d
		}
		return appendAlive(nil, m), dropNone
	case typeUser:
		clean, d := p.serf(now, from, body)
		if d != dropNone {
			return nil, d
		}
		return append([]byte{typeUser}, clean...), dropNone
	default:
		return nil, DropUnknownType
	}
}

// ping lets through a ping for us whose answer goes back to who sent it, and an indirect
// ping for an enrolled VR at its address.
func (p *police) ping(from speaker, b []byte, indirect bool) ([]byte, Drop) {
	m, err := parsePing(b)
	if err != nil {
		return nil, DropMalformed
	}
	// Otherwise our ack, or the ping we send for another, hits whom the sender likes.
	if string(m.sourceNode) != from.name || !isAddrOf(m.sourceAddr, from.id) || m.sourcePort != Port {
		return nil, DropImpersonation
	}
	if !indirect {
		if string(m.node) != p.name {
			return nil, DropImpersonation
		}
		return appendPing(nil, m, false), dropNone
	}
	id, ok := p.dir.ByName(string(m.node))
	if !ok || !isAddrOf(m.target, id) || m.port != Port {
		return nil, DropAddress
	}
	return appendPing(nil, m, true), dropNone
}

// answer lets through an ack or nack of a VR that was asked. An ack at second hand says only
// that the target answered: its payload, if any, is the helper's and not the target's.
func (p *police) answer(from speaker, b []byte, negative bool) ([]byte, Drop) {
	m, err := parseAck(b)
	if err != nil {
		return nil, DropMalformed
	}
	q := question{m.seq, from.id}
	direct, ok := p.asked[q]
	if !ok || negative && direct {
		return nil, DropUnasked
	}
	if negative {
		return appendNack(nil, m.seq), dropNone
	}
	delete(p.asked, q)
	if !direct {
		m.payload = nil
	}
	return appendAck(nil, m), dropNone
}

// leave lets through the good-bye of the VR that is leaving.
func (p *police) leave(from speaker, m accusation) ([]byte, Drop) {
	if string(m.node) != from.name {
		return nil, DropHearsay
	}
	if m.incarnation >= incarnationMax {
		return nil, DropIncarnation
	}
	return appendAccusation(nil, typeDead, m), dropNone
}

// accuse reports whether m may make a member suspected.
func (p *police) accuse(now time.Time, s *source, from speaker, m accusation) Drop {
	victim := string(m.node)
	if _, ok := p.dir.ByName(victim); !ok {
		return DropStranger
	}
	if accuser := string(m.from); accuser != from.name {
		id, ok := p.dir.ByName(accuser)
		if !ok {
			return DropStranger
		}
		// We know best whom we accuse, and nobody accuses himself.
		if id == p.self || accuser == victim || !s.names(now, victim, accuser) {
			return DropImpersonation
		}
	} else if accuser == victim {
		return DropImpersonation
	}
	if !s.accusations.take(now, 1, accuseBurst, accuseRate) {
		return DropRate
	}
	if _, ok := p.known[victim]; !ok {
		return DropIncarnation // memberlist has not heard of it either
	}
	return p.raise(now, s, from, victim, m.incarnation)
}

// names reports whether one more accuser may be named for the victim.
func (s *source) names(now time.Time, victim, accuser string) bool {
	if s.froms == nil || now.Sub(s.fromsSince) > fromsLife {
		s.froms, s.fromsSince = make(map[string][]string), now
	}
	named := s.froms[victim]
	for _, n := range named {
		if n == accuser {
			return true
		}
	}
	if len(named) >= fromsMax || named == nil && len(s.froms) >= victimsMax {
		return false
	}
	s.froms[victim] = append(named, accuser)
	return true
}

// alive reports whether m may introduce or refresh a member.
func (p *police) alive(now time.Time, s *source, from speaker, m claim) Drop {
	name := string(m.node)
	id, ok := p.dir.ByName(name)
	if !ok {
		return DropStranger
	}
	if !isAddrOf(m.addr, id) || m.port != Port {
		return DropAddress
	}
	v := m.vsn
	if len(v) != 6 || v[0] == 0 || v[0] > vsnMemberlist || v[1] < vsnMemberlist || v[2] != vsnMemberlist ||
		v[3] > vsnSerf || v[4] < vsnSerf || v[5] != vsnSerf {
		return DropVersion
	}
	return p.raise(now, s, from, name, m.incarnation)
}

// raise reports whether a message may carry the incarnation, and remembers it.
func (p *police) raise(now time.Time, s *source, from speaker, name string, incarnation uint32) Drop {
	if incarnation >= incarnationMax {
		return DropIncarnation
	}
	r, ok := p.known[name]
	if ok && !r.goneAt.IsZero() && now.Sub(r.goneAt) > forgetAfter && name != p.name {
		ok = false
	}
	switch {
	case from.name == name:
		// A VR knows its own count. It can only hurt itself.
	case !ok:
		if incarnation > introMax {
			return DropIncarnation
		}
	case incarnation > r.incarnation:
		step := incarnation - r.incarnation
		if step > jumpMax {
			return DropIncarnation
		}
		if !s.raises.take(now, float64(step), raiseBurst, raiseRate) {
			return DropRate
		}
	}
	if !ok {
		p.known[name] = record{incarnation: incarnation}
	} else if incarnation > r.incarnation {
		r.incarnation = incarnation
		p.known[name] = r
	}
	return dropNone
}

func (p *police) sent(now time.Time, to tables.RouterID, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A packet of our own is well formed.
	_ = splitPacket(b, func(m []byte) {
		switch m[0] {
		case typePing, typeIndirectPing:
			if ping, err := parsePing(m[1:]); err == nil {
				p.ask(question{ping.seq, to}, m[0] == typePing)
			}
		case typeAlive:
			if a, err := parseAlive(m[1:]); err == nil && string(a.node) == p.name {
				// Older ones may still be in memberlist's queue.
				p.known[p.name] = record{incarnation: max(a.incarnation, p.known[p.name].incarnation)}
			}
		}
	})
}

// ask remembers a question, and forgets the oldest when there are too many.
func (p *police) ask(q question, direct bool) {
	delete(p.asked, p.askedAt[p.askedN])
	p.askedAt[p.askedN] = q
	p.askedN = (p.askedN + 1) % askedMax
	p.asked[q] = direct
}

func (p *police) admit(now time.Time, from tables.RouterID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.dir.Name(from); !ok || from == p.self {
		p.drop(DropStranger)
		return false
	}
	if !p.source(from).streams.take(now, 1, streamBurst, streamRate) {
		p.drop(DropRate)
		return false
	}
	return true
}

func (p *police) binding(name string, addr []byte, port uint16) bool {
	id, ok := p.dir.ByName(name)
	return ok && isAddrOf(addr, id) && port == Port
}

func (p *police) gone(name string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.known[name]; ok {
		r.goneAt = now
		p.known[name] = r
	}
}

func (p *police) incarnation() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[p.name].incarnation
}
