package lease

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// BeatEvery is how often a VR speaks: some 140 bytes on the LAN.
	BeatEvery = 100 * time.Millisecond
	// DeadAfter is how long a VR may be silent: four beats in a row lost, and something for a machine that is busy.
	DeadAfter = 450 * time.Millisecond
	// listenFor is how long a VR listens before it takes a lease of which it hears nothing.
	listenFor = DeadAfter + BeatEvery
	// replyAfter is the least time between two messages: a VR that is new is answered before the next beat.
	replyAfter = 50 * time.Millisecond
	// announceEvery is how often the holder tells the LAN again where the address is, for who has missed it.
	announceEvery = time.Minute
)

// announcePauses are the pauses between the announcements of who has just taken the lease: frames get lost, and a switch may be
// busy learning just then.
var announcePauses = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, 2 * time.Second}

// An Action is something to do: Say, Hold or Announce.
type Action interface{ action() }

// Say sends a Message to the LAN.
type Say struct{ Message Message }

// Hold says that the VR holds the lease from now on, or does not, and why in words for people.
type Hold struct {
	On     bool
	Reason string
}

// Announce tells the LAN that the address is here: gratuitous ARP, unsolicited neighbour advertisements.
type Announce struct{}

func (Say) action()      {}
func (Hold) action()     {}
func (Announce) action() {}

// A Lease is one VR's part in a lease. It belongs to one goroutine. Every method that returns Actions wants them done in order.
type Lease struct {
	group   Group
	self    Peer
	count   uint64
	begun   time.Time
	holds   bool
	fit     bool
	left    bool
	peers   map[tables.RouterID]*peer
	rivals  bool // another one that holds it was heard
	judged  time.Time
	said    time.Time
	next    time.Time // of the next message
	told    time.Time // of the next announcement; zero: none
	telling int       // announcements since the lease was taken
}

// A peer is another VR of the set.
//
// A message counts only if it says that its sender hears us in this run of ours. So what was recorded in another run of either
// side, and is played again, says nothing, whatever clocks there are. What was recorded in this run has a count that was.
type peer struct {
	epoch, count uint64
	noted        time.Time // of the last message of this epoch
	heard        time.Time // of the last message that counts; zero: none
	holds, fit   bool
}

// New returns the Lease of a VR that begins to listen. epoch must be greater than in every earlier run of the VR.
func New(now time.Time, group Group, self tables.RouterID, epoch uint64) *Lease {
	return &Lease{group: group, self: Peer{self, epoch}, begun: now, fit: true, peers: map[tables.RouterID]*peer{}, next: now}
}

// Holds reports whether the VR holds the lease.
func (l *Lease) Holds() bool { return l.holds }

// Hears returns the other VRs that are heard, sorted.
func (l *Lease) Hears(now time.Time) []tables.RouterID { return l.alive(now) }

// Next returns when Advance has something to do.
func (l *Lease) Next() time.Time {
	next := l.next
	if !l.told.IsZero() {
		next = earlier(next, l.told)
	}
	for _, p := range l.peers {
		if dies := p.heard.Add(DeadAfter); !p.heard.IsZero() && dies.After(l.judged) {
			next = earlier(next, dies)
		}
	}
	return next
}

// Heard takes a Message whose signature holds.
func (l *Lease) Heard(now time.Time, m Message) []Action {
	if m.Router == l.self.Router || m.Group != l.group || l.left {
		return nil
	}
	p := l.peers[m.Router]
	if p == nil {
		if len(l.peers) >= PeersMax {
			return nil
		}
		p = &peer{}
		l.peers[m.Router] = p
	}
	switch {
	case m.Epoch < p.epoch, m.Epoch == p.epoch && m.Count <= p.count:
		return nil // older than what we have heard
	case m.Epoch > p.epoch:
		*p = peer{epoch: m.Epoch}
	}
	p.count, p.noted = m.Count, now
	if !slices.Contains(m.Hears, l.self) {
		l.next = earlier(l.next, l.said.Add(replyAfter)) // it has to hear that we hear it
		return l.Advance(now)
	}
	back := p.heard.IsZero() || now.Sub(p.heard) >= DeadAfter
	p.heard, p.holds, p.fit = now, m.Holds, m.Fit
	if m.Leaves {
		p.heard, p.holds = time.Time{}, false
	}
	actions := l.judge(now)
	if back && l.holds && !m.Leaves && len(actions) == 0 {
		actions = append(actions, l.take(now)) // it may have held the lease where we were not heard
	}
	return actions
}

// SetFit says whether packets that the VR takes get out of the site. Who is not fit does not keep the lease from one who is.
func (l *Lease) SetFit(now time.Time, fit bool) []Action {
	if l.fit == fit || l.left {
		return nil
	}
	l.fit = fit
	l.next = now
	return l.Advance(now)
}

// Advance does what is due.
func (l *Lease) Advance(now time.Time) []Action {
	if l.left {
		return nil
	}
	actions := l.judge(now)
	if !now.Before(l.next) {
		actions = append(actions, l.say(now))
	}
	if !l.told.IsZero() && !now.Before(l.told) {
		actions = append(actions, l.announce(now))
	}
	return actions
}

// Leave ends the VR's part: another one takes the lease at once.
func (l *Lease) Leave(now time.Time) []Action {
	if l.left {
		return nil
	}
	var actions []Action
	if l.holds {
		actions = l.release("the VR stops")
	}
	say := l.say(now).(Say)
	say.Message.Leaves = true
	l.left, l.told, l.next = true, time.Time{}, now.Add(time.Hour)
	return append(actions, say)
}

// judge takes the lease or gives it up.
func (l *Lease) judge(now time.Time) []Action {
	l.judged = now
	alive := l.alive(now)
	holders := slices.DeleteFunc(slices.Clone(alive), func(id tables.RouterID) bool { return !l.peers[id].holds })
	best := l.self.Router
	for _, id := range alive {
		if l.rank(id, best) < 0 {
			best = id
		}
	}
	switch {
	case l.holds:
		for _, id := range holders {
			if l.rank(id, l.self.Router) < 0 {
				return append(l.release(id.String()+" holds it too, and goes first"), l.say(now))
			}
		}
		if !l.fit && best != l.self.Router && l.peers[best].fit {
			return append(l.release(best.String()+" gets packets out, and this VR does not"), l.say(now))
		}
		if had := l.rivals; had != (len(holders) > 0) {
			l.rivals = !had
			if had {
				return []Action{l.take(now)} // hosts may have learned from the other one last
			}
		}
	case len(holders) == 0 && best == l.self.Router && !now.Before(l.begun.Add(listenFor)):
		l.holds, l.rivals = true, false
		return []Action{Hold{true, "no other VR holds it"}, l.take(now), l.say(now)}
	}
	return nil
}

// rank orders routers by who goes first: who is fit, then the lower ID.
func (l *Lease) rank(a, b tables.RouterID) int {
	unfit := func(id tables.RouterID) int {
		fit := l.fit
		if p := l.peers[id]; p != nil {
			fit = p.fit
		}
		if fit {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(unfit(a), unfit(b)), cmp.Compare(a, b))
}

func (l *Lease) release(reason string) []Action {
	l.holds, l.told = false, time.Time{}
	return []Action{Hold{false, reason}}
}

// take begins the announcements.
func (l *Lease) take(now time.Time) Action {
	l.telling = 0
	return l.announce(now)
}

func (l *Lease) announce(now time.Time) Action {
	pause := announceEvery
	if l.telling < len(announcePauses) {
		pause = announcePauses[l.telling]
	}
	l.telling++
	l.told = now.Add(pause)
	return Announce{}
}

// alive returns the other VRs that are heard.
func (l *Lease) alive(now time.Time) []tables.RouterID {
	var list []tables.RouterID
	for _, id := range slices.Sorted(maps.Keys(l.peers)) {
		if p := l.peers[id]; !p.heard.IsZero() && now.Sub(p.heard) < DeadAfter {
			list = append(list, id)
		}
	}
	return list
}

func (l *Lease) say(now time.Time) Action {
	l.count++
	l.said, l.next = now, now.Add(BeatEvery)
	m := Message{Group: l.group, Router: l.self.Router, Epoch: l.self.Epoch, Count: l.count, Holds: l.holds, Fit: l.fit}
	for _, id := range slices.Sorted(maps.Keys(l.peers)) {
		if p := l.peers[id]; now.Sub(p.noted) < DeadAfter {
			m.Hears = append(m.Hears, Peer{id, p.epoch})
		} else if now.Sub(p.noted) > time.Hour {
			delete(l.peers, id) // it has gone from the set, or for long: but its epoch must not be forgotten at once
		}
	}
	return Say{m}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
