package transport

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/transport/frame"
)

// candidatesMax bounds the addresses of one link that are being validated: a peer has one new
// address at a time, and a second keeps a forger from hiding it.
const candidatesMax = 2

// A candidate is an address that the peer may have moved to. Authentic packets came from it, but
// whoever copies packets can send them from anywhere, so it is not believed until an encrypted
// challenge came back from it.
type candidate struct {
	addr  netip.AddrPort
	token frame.Challenge
	in    int // bytes that came from it
	out   int // bytes that we sent to it. Invariant: out <= amplification*in
	tries int
	next  time.Time
	known bool // it was validated before: no amplification limit, it is only asked
}

// pathState validates addresses of one connection.
type pathState struct {
	candidates []candidate
	previous   netip.AddrPort // the endpoint before the last move
}

// sawSource takes note of an authentic packet of n bytes from an address.
func (c *conn) sawSource(now time.Time, from netip.AddrPort, n int) {
	if from == c.endpoint {
		return
	}
	l := c.links
	if l.believeSources {
		c.move(now, from)
		return
	}
	ps := &c.paths
	for i := range ps.candidates {
		if cand := &ps.candidates[i]; cand.addr == from {
			cand.in += n
			if cand.tries >= challengeTries && !now.Before(cand.next) {
				cand.tries, cand.next = 0, now // it still sends: ask again
			}
			c.challenge(now, cand)
			return
		}
	}
	cand := candidate{addr: from, in: n, next: now, known: from == ps.previous}
	l.random(cand.token[:])
	if len(ps.candidates) >= candidatesMax {
		ps.candidates = ps.candidates[:copy(ps.candidates, ps.candidates[1:])]
	}
	ps.candidates = append(ps.candidates, cand)
	c.challenge(now, &ps.candidates[len(ps.candidates)-1])
}

// challengeBytes is the length of the datagram of a path challenge.
const challengeBytes = frame.ControlHeaderLen + frame.FrameOverhead + len(frame.Challenge{}) + frame.TagLen

// challenge sends a challenge to a candidate if it is due and allowed.
func (c *conn) challenge(now time.Time, cand *candidate) {
	if now.Before(cand.next) || cand.tries >= challengeTries {
		return
	}
	if !cand.known && cand.out+challengeBytes > amplification*cand.in {
		return
	}
	cand.tries++
	cand.next = now.Add(challengeRetry)
	if cand.tries == challengeTries {
		cand.next = now.Add(activeDead)
	}
	cand.out += c.emitTo(cand.addr, cand.token.Append(nil))
}

// askPrevious challenges the endpoint before the last move, when the present one is silent: the
// move may have been somebody's mischief.
func (c *conn) askPrevious(now time.Time) {
	ps := &c.paths
	if !ps.previous.IsValid() || ps.previous == c.endpoint {
		return
	}
	for i := range ps.candidates {
		if ps.candidates[i].addr == ps.previous {
			ps.candidates[i].known = true
			c.challenge(now, &ps.candidates[i])
			return
		}
	}
	c.sawSource(now, ps.previous, 0)
}

// onChallenged takes the answer to a challenge. It counts only from the address that was asked.
func (c *conn) onChallenged(now time.Time, from netip.AddrPort, answer frame.Challenged) {
	for _, cand := range c.paths.candidates {
		if cand.addr == from && frame.Challenged(cand.token) == answer {
			c.move(now, from)
			return
		}
	}
}

// move makes an address the endpoint.
func (c *conn) move(now time.Time, to netip.AddrPort) {
	c.emit() // what is queued was meant for the old endpoint
	c.paths = pathState{previous: c.endpoint}
	c.endpoint = to
	if c.router != 0 {
		c.links.emit(Moved{Router: c.router, Endpoint: to})
	}
	c.observe()
}

// observe tells the peer at which endpoint it is, if that is news.
func (c *conn) observe() {
	if c.told != c.endpoint {
		c.told = c.endpoint
		c.put(frame.Observed{Endpoint: c.endpoint}.Append(nil))
	}
}

// due returns when a challenge is to be repeated.
func (ps *pathState) due() time.Time {
	var t time.Time
	for i := range ps.candidates {
		cand := &ps.candidates[i]
		if cand.tries < challengeTries && (cand.known || cand.out+challengeBytes <= amplification*cand.in) {
			t = earliest(t, cand.next)
		}
	}
	return t
}

// advancePaths repeats the challenges that are due.
func (c *conn) advancePaths(now time.Time) {
	for i := range c.paths.candidates {
		c.challenge(now, &c.paths.candidates[i])
	}
}
