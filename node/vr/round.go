package vr

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// arrivalWait is how long a dial-back may take: two long paths, one of them to a satellite.
	arrivalWait = 1500 * time.Millisecond
	// triesMax ends a round: two silences are enough if they have no VR in common, the third is for
	// when they have.
	triesMax = 3
	// asksRoundMax ends a round too: requests that nobody could serve, or that proved nothing.
	asksRoundMax = 6
	// asksMinuteMax bounds the requests of any minute, whatever happens: two whole rounds.
	asksMinuteMax = 12
	// settle is how long after a change a round begins: changes come in groups, one from each peer.
	settle = time.Second
	// retryMin is the first pause after a round that did not find the VR regular; each is twice the last.
	retryMin = 5 * time.Second
	// retryShut is the least pause after a confirmed "limited", which is unlikely to be wrong.
	retryShut = time.Minute
	// recheck is the longest pause, and the pause of a regular VR, give or take a fifth: somebody may have
	// put a firewall before it.
	recheck = 10 * time.Minute
	// doubtsMax is how many rounds of silence that one liar could have made a regular VR bears.
	doubtsMax = 3
	// reachedHold is how long what reached us may come before the first word of where we are.
	reachedHold = 10 * time.Second
)

// An outcome is the result of a round.
type outcome uint8

const (
	unasked   outcome = iota
	open              // a stranger reached us
	shut              // strangers do not reach us
	undecided         // nobody could be asked, or what came proves nothing
)

// A face is how one address family shows us to others: see Self.
type face struct {
	sight sight
	seen  bool // some witness sees us

	result    outcome
	confirmed bool
	filtering Finding
	reason    string
	doubts    int           // rounds of silence in a row that one liar could have made
	retry     time.Duration // the last pause
	reached   arrival       // what reached us before anybody saw us
	due       time.Time     // when the next round begins; zero if none is wanted

	asking   bool
	deadline time.Time // of the try, or when there may be another
	tries    []try     // of this round, or of the last one
}

// A try is one request for a dial-back. At most one is pending, the last.
type try struct {
	via, named, helper tables.RouterID
	token              Token
	endpoint           netip.AddrPort // where the via sees us
	end                ending
	early              []arrival // arrivals before the via named the helper, at most earlyMax
}

const earlyMax = 2

type arrival struct {
	from   netip.AddrPort
	helper tables.RouterID
	at     time.Time
	reach  reach
}

type ending uint8

const (
	pending ending = iota
	mute           // the via did not answer
	barren         // the via has nobody
	silent         // the helper's datagram did not come
	void           // it came, and says nothing: from near by, or from where we had sent to
	loose          // it came, by a filter that we had opened half
	proof          // it came
)

// stir has a round begin soon.
func (f *face) stir(now time.Time) {
	f.retry = 0
	if at := now.Add(settle); !f.asking && (f.due.IsZero() || f.due.After(at)) {
		f.due = at
	}
}

func (f *face) stop() { f.asking, f.deadline, f.tries = false, time.Time{}, nil }

// forget is for another endpoint: nothing is known of it.
func (f *face) forget() {
	f.stop()
	f.result, f.confirmed, f.filtering, f.doubts, f.reason = unasked, false, Finding{}, 0, ""
	f.reached, f.due, f.retry = arrival{}, time.Time{}, 0
}

// proven returns the endpoint at which we were reached, zero if there is none.
func (f *face) proven() netip.AddrPort {
	if f.result != open {
		return netip.AddrPort{}
	}
	return f.sight.endpoint
}

func (f *face) judge() (Kind, bool, string) {
	switch f.result {
	case open:
		return Regular, f.confirmed, f.reason
	case shut, undecided:
		return Limited, f.confirmed, f.reason
	}
	switch f.sight.class {
	case classNone:
		return Regular, false, "nobody has seen us yet"
	case classOwn:
		return Regular, false, "seen at an address of our own, not dialled yet"
	}
	return Limited, false, "seen at an address that is not ours, not dialled yet"
}

// advance does what is due for a face.
func (s *Self) advance(fam int) {
	f := &s.faces[fam]
	if f.asking && !s.now.Before(f.deadline) {
		if t := f.last(); t != nil && t.end == pending {
			t.end = mute
			if t.helper != 0 {
				t.end = silent
			}
		}
		s.goOn(fam)
	}
	if !f.asking && f.seen && !f.due.IsZero() && !s.now.Before(f.due) {
		f.asking, f.tries, f.due = true, nil, time.Time{}
		s.goOn(fam)
	}
}

func (f *face) last() *try {
	if len(f.tries) == 0 {
		return nil
	}
	return &f.tries[len(f.tries)-1]
}

func (f *face) count(e ending) int {
	n := 0
	for _, t := range f.tries {
		if t.end == e {
			n++
		}
	}
	return n
}

// goOn ends the round if it has shown enough, else asks again.
func (s *Self) goOn(fam int) {
	f := &s.faces[fam]
	silences, excluded := s.silences(f)
	enough := silences >= 2 && excluded && (f.sight.class != classTranslated || f.filterKnown(s))
	if enough || silences+f.count(mute) >= triesMax || len(f.tries) >= asksRoundMax || !s.ask(fam) {
		s.finish(fam)
	}
}

// silences returns how many dial-backs did not come, and whether no single VR, as via or helper,
// had a part in all of them: then no single liar has made them.
func (s *Self) silences(f *face) (n int, excluded bool) {
	return f.count(silent), len(s.suspects(f)) == 0
}

// suspects returns the VRs that had a part in every silence of this round.
func (s *Self) suspects(f *face) map[tables.RouterID]bool {
	parts := map[tables.RouterID]int{}
	for _, t := range f.tries {
		if t.end == silent {
			parts[t.via]++
			parts[t.helper]++
		}
	}
	n := f.count(silent)
	all := map[tables.RouterID]bool{}
	for id, k := range parts {
		if k == n && !s.off.pairs {
			all[id] = true
		}
	}
	return all
}

// filterKnown reports whether the tries of this round tell address-dependent filtering from the
// stricter kind: a VR that we had sent to must have tried.
func (f *face) filterKnown(s *Self) bool {
	return slices.ContainsFunc(f.tries, func(t try) bool {
		return t.end == loose || t.end == silent && s.witnesses[t.helper] != nil && s.witnesses[t.helper].at.IsValid()
	}) || !s.canName(f)
}

// finish makes the result of a round that has had no proof.
func (s *Self) finish(fam int) {
	f := &s.faces[fam]
	silences, excluded := s.silences(f)
	loosely := f.count(loose)
	was := f.result
	f.asking, f.deadline = false, time.Time{}
	switch {
	case was == open && silences+loosely == 0:
		// Nobody could be asked: what was proven stands.
	case was == open && silences == 0:
		// What came is what comes when the way is open, too.
	case was == open && !(silences >= 2 && excluded) && f.doubts+1 < doubtsMax:
		f.doubts++
		f.confirmed = false
		f.reason = "was dialled, but the last dial-backs did not come"
	case silences >= 2 || loosely > 0 && silences > 0:
		f.confirmed = silences >= 2 && excluded || was == shut && f.confirmed
		f.result, f.doubts = shut, 0
		f.filtering = f.filter(s, loosely).after(f.filtering, was)
		f.reason = "dial-backs do not come"
		if !f.confirmed {
			f.reason = "dial-backs do not come, by the word of too few VRs"
		}
	case loosely > 0:
		f.result, f.confirmed = undecided, false
		f.filtering = Finding{AddressDependent, false}.after(f.filtering, was)
		f.reason = "dialled only by VRs that we had sent to"
	case was == shut:
		// As before.
	case silences > 0:
		f.result, f.confirmed, f.reason = undecided, false, "one dial-back did not come, and nobody else can be asked"
	default:
		f.result, f.confirmed, f.reason = undecided, false, "no VR could be asked to dial us"
	}
	s.pause(f)
}

// filter returns the filtering behaviour (RFC 4787, Section 5) that a round without proof shows.
func (f *face) filter(s *Self, loosely int) Finding {
	_, excluded := s.silences(f)
	if loosely > 0 {
		return Finding{AddressDependent, excluded && f.count(silent) >= 2}
	}
	for _, t := range f.tries {
		if w := s.witnesses[t.helper]; t.end == silent && w != nil && w.at.IsValid() {
			return Finding{AddressAndPortDependent, excluded && f.count(silent) >= 2}
		}
	}
	return Finding{}
}

// after returns what to believe of a filter after two rounds: the last one counts, unless it has shown less.
func (n Finding) after(before Finding, was outcome) Finding {
	switch {
	case was == open || n.Confirmed:
	case n.Behaviour == Unknown, before.Confirmed:
		return before
	}
	return n
}

// pause sets when the next round begins.
func (s *Self) pause(f *face) {
	if !f.seen {
		return
	}
	f.retry = min(max(2*f.retry, retryMin), recheck)
	wait := f.retry
	switch {
	case f.result == open && f.doubts == 0:
		f.retry, wait = 0, s.jitter(recheck)
	case f.result == shut && f.confirmed:
		wait = s.jitter(max(wait, retryShut))
	default:
		wait = s.jitter(wait)
	}
	f.due = s.now.Add(wait)
}

// jitter spreads a pause by a fifth each way, so that VRs that started together do not ask together.
func (s *Self) jitter(d time.Duration) time.Duration {
	return d - d/5 + d*2/5*time.Duration(s.draw(256))/256
}

// draw returns a random number below n, at most 256.
func (s *Self) draw(n int) int {
	var b [1]byte
	s.config.Random(b[:])
	return int(b[0]) * n / 256
}
