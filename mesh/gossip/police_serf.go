package gossip

import (
	"strings"
	"time"
)

// The message types of serf that the policing knows. All others are dropped: user events
// (3), conflict votes (6), keys (7, 8) and relayed messages (9).
const (
	serfLeave         = 0
	serfJoin          = 1
	serfPushPull      = 2
	serfQuery         = 4
	serfQueryResponse = 5
)

const (
	// querySizeMax is serf's limit of a query and of an answer.
	querySizeMax = 1024
	// queryNameMax bounds a query's name.
	queryNameMax = 128
	// queryFiltersMax bounds the filters of a query; each is a regular expression that
	// every member runs.
	queryFiltersMax = 8
	// queryTimeoutMax bounds how long a query keeps resources.
	queryTimeoutMax = time.Minute
	// queryBurst and queryRate bound the queries of all members together, since each costs
	// every member an answer.
	queryBurst, queryRate = 20, 2
	// querySeenMax is how many queries are remembered, so that copies of one query cost
	// nothing. serf remembers 512.
	querySeenMax = 256

	// timeJumpMax bounds how far one message may advance a Lamport clock, so that nobody
	// drives it to its end, where it wraps.
	timeJumpMax = 1 << 16
	// timeIntroMax bounds the first time that is heard.
	timeIntroMax = 1 << 48
	// userStateMax bounds serf's part of a push/pull: 24 bytes and a name for each of
	// 10,000 members.
	userStateMax = 1 << 20
)

// internalPing is the one internal query that passes: "serf reachability" sends it, and
// a member does nothing but acknowledge it.
const (
	internalPrefix = "_serf_"
	internalPing   = internalPrefix + "ping"
)

// A queryID tells queries apart, as serf does.
type queryID struct {
	time uint64
	id   uint32
}

// serf returns one message for serf as serf may see it.
func (p *police) serf(now time.Time, from speaker, b []byte) ([]byte, Drop) {
	if len(b) == 0 {
		return nil, DropMalformed
	}
	switch typ, body := b[0], b[1:]; typ {
	case serfLeave, serfJoin:
		m, err := parseIntent(body)
		if err != nil {
			return nil, DropMalformed
		}
		// Only a VR itself says that it comes or goes. Another's intent would show a healthy
		// VR as leaving, and with prune would make all forget it.
		if string(m.node) != from.name {
			return nil, DropHearsay
		}
		if m.prune {
			return nil, DropImpersonation
		}
		if !advance(&p.intents, m.time) {
			return nil, DropIncarnation
		}
		return appendIntent(nil, typ, m), dropNone
	case serfQuery:
		if len(body) > querySizeMax {
			return nil, DropMalformed
		}
		m, err := parseQuery(body)
		if err != nil {
			return nil, DropMalformed
		}
		if d := p.query(now, m); d != dropNone {
			return nil, d
		}
		return appendQuery(nil, m), dropNone
	case serfQueryResponse:
		if len(body) > querySizeMax {
			return nil, DropMalformed
		}
		m, err := parseResponse(body)
		if err != nil {
			return nil, DropMalformed
		}
		// Answers come straight from who answers: nobody else's, and none relayed.
		if string(m.from) != from.name {
			return nil, DropImpersonation
		}
		return appendResponse(nil, m), dropNone
	default:
		return nil, DropInternal
	}
}

// advance reports whether a message may carry the Lamport time, and remembers it.
func advance(clock *uint64, time uint64) bool {
	limit := *clock + timeJumpMax
	if *clock == 0 {
		limit = timeIntroMax
	}
	if time > limit {
		return false
	}
	*clock = max(*clock, time)
	return true
}

// query reports whether a query may be seen and passed on.
func (p *police) query(now time.Time, m query) Drop {
	if strings.HasPrefix(string(m.name), internalPrefix) && string(m.name) != internalPing {
		return DropInternal
	}
	// Every member answers to this address.
	id, ok := p.dir.ByName(string(m.sourceNode))
	if !ok {
		return DropStranger
	}
	if !isAddrOf(m.addr, id) || m.port != Port {
		return DropAddress
	}
	q := queryID{m.time, m.id}
	for _, s := range p.seen {
		if s == q {
			return DropRepeated
		}
	}
	if !p.flood.take(now, 1, queryBurst, queryRate) {
		return DropRate
	}
	if !advance(&p.queries, m.time) {
		return DropIncarnation
	}
	p.seen[p.seenN] = q
	p.seenN = (p.seenN + 1) % querySeenMax
	return dropNone
}

// userState returns serf's part of a push/pull as serf may see it. Of the other members'
// status times, left members and past user events nothing is believed: only the clocks and
// the speaker's own status time remain.
func (p *police) userState(from speaker, b []byte) ([]byte, error) {
	m, err := parsePushPull(b, from.name)
	if err != nil {
		return nil, err
	}
	// A clock that is far ahead is followed a step at a time, so that a member that was
	// away for weeks catches up.
	m.time = follow(&p.intents, m.time)
	m.queryTime = follow(&p.queries, m.queryTime)
	m.status = min(m.status, m.time)
	return appendPushPull(nil, m, from.name), nil
}

func follow(clock *uint64, time uint64) uint64 {
	if *clock == 0 {
		time = min(time, timeIntroMax)
	} else {
		time = min(time, *clock+timeJumpMax)
	}
	*clock = max(*clock, time)
	return time
}
