package lease

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vine-mesh/vine/tables"
)

// A lan is some VRs on one LAN, in virtual time. What is said arrives after a millisecond.
type lan struct {
	t     rapid.TB
	rng   *rand.Rand
	now   time.Time
	vrs   []*station
	loss  float64
	half  map[tables.RouterID]bool // the VRs in one half of a LAN that is split
	posts []post
}

type post struct {
	at   time.Time
	from *station
	m    Message
}

type station struct {
	id    tables.RouterID
	lease *Lease // nil: it does not run
	runs  uint64
	// announced is when it told the LAN where the address is, last.
	announced time.Time
	flips     int
}

func newLAN(t rapid.TB, n int) *lan {
	l := &lan{t: t, rng: rand.New(rand.NewPCG(1, 2)), now: time.Unix(1_800_000_000, 0), half: map[tables.RouterID]bool{}}
	for i := range n {
		l.vrs = append(l.vrs, &station{id: tables.RouterID(i + 1)})
	}
	return l
}

func (l *lan) start(s *station) {
	s.runs++
	s.lease = New(l.now, Group{1}, s.id, s.runs<<32|uint64(l.rng.Uint32()))
}

func (l *lan) do(s *station, actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Say:
			l.posts = append(l.posts, post{l.now.Add(time.Millisecond), s, a.Message})
		case Hold:
			s.flips++
		case Announce:
			s.announced = l.now
		}
	}
}

// run lets d pass, and calls each, if it is not nil, every millisecond.
func (l *lan) run(d time.Duration, each func()) {
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(time.Millisecond) {
		for len(l.posts) > 0 && !l.posts[0].at.After(l.now) {
			p := l.posts[0]
			l.posts = l.posts[1:]
			for _, s := range l.vrs {
				if s.lease != nil && s != p.from && l.half[s.id] == l.half[p.from.id] && l.rng.Float64() >= l.loss {
					l.do(s, s.lease.Heard(l.now, p.m))
				}
			}
		}
		for _, s := range l.vrs {
			if s.lease != nil && !l.now.Before(s.lease.Next()) {
				before := s.lease.Next()
				l.do(s, s.lease.Advance(l.now))
				if s.lease.Next().Equal(before) && !before.After(l.now) {
					l.t.Fatal("Advance does not advance")
				}
			}
		}
		if each != nil {
			each()
		}
	}
}

func (l *lan) holders() (list []tables.RouterID) {
	for _, s := range l.vrs {
		if s.lease != nil && s.lease.Holds() {
			list = append(list, s.id)
		}
	}
	return list
}

func (l *lan) want(what string, holders ...tables.RouterID) {
	l.t.Helper()
	if got := l.holders(); !slices.Equal(got, holders) {
		l.t.Fatalf("%s: held by %v, not %v", what, got, holders)
	}
}

// until runs until f holds, and returns how long that took.
func (l *lan) until(what string, bound time.Duration, f func() bool) time.Duration {
	l.t.Helper()
	began := l.now
	for !f() {
		if l.now.Sub(began) > bound {
			l.t.Fatalf("not within %v: %s", bound, what)
		}
		l.run(time.Millisecond, nil)
	}
	return l.now.Sub(began)
}

func TestTakeover(t *testing.T) {
	l := newLAN(t, 3)
	for _, s := range l.vrs {
		l.start(s)
	}
	l.until("somebody holds the lease", 1200*time.Millisecond, func() bool { return len(l.holders()) > 0 })
	l.run(10*time.Second, func() { l.want("three are there", 1) })

	var longest time.Duration
	for i := range 50 {
		l.run(time.Duration(i*13)*time.Millisecond, nil)
		first := l.vrs[0]
		first.lease = nil // kill -9
		took := l.until("another one holds it", time.Second, func() bool { return len(l.holders()) == 1 })
		longest = max(longest, took)
		l.want("the first one died", 2)
		if !l.vrs[1].announced.Equal(l.now.Add(-time.Millisecond)) {
			t.Fatal("not announced at once")
		}
		l.start(first)
		l.run(5*time.Second, func() { l.want("it came back", 2) }) // it takes nothing from who holds it
		l.vrs[1].lease = nil
		took = l.until("another one holds it", time.Second, func() bool { return len(l.holders()) == 1 })
		longest = max(longest, took)
		l.want("the second died too", 1)
		l.start(l.vrs[1])
		l.run(2*time.Second, nil)
	}
	t.Logf("longest of 100 takeovers: %v", longest)
	if longest > DeadAfter+10*time.Millisecond {
		t.Errorf("a takeover took %v", longest)
	}
}

func TestLeave(t *testing.T) {
	l := newLAN(t, 2)
	l.start(l.vrs[0])
	l.start(l.vrs[1])
	l.run(3*time.Second, nil)
	l.do(l.vrs[0], l.vrs[0].lease.Leave(l.now))
	if took := l.until("the other one holds it", time.Second, func() bool { return slices.Equal(l.holders(), []tables.RouterID{2}) }); took > 5*time.Millisecond {
		t.Errorf("took over %v after the goodbye", took)
	}
	if got := l.vrs[0].lease.Advance(l.now.Add(time.Minute)); len(got) > 0 {
		t.Errorf("who has left does %v", got)
	}
}

// TestSplitLAN: two VRs that do not hear each other hold the lease both, each for its half. When they hear each other again one
// is left, and tells the LAN so after the other has fallen silent.
func TestSplitLAN(t *testing.T) {
	for _, first := range []tables.RouterID{1, 2} { // who held it before
		l := newLAN(t, 2)
		l.start(l.vrs[first-1])
		l.run(2*time.Second, nil)
		l.start(l.vrs[2-first])
		l.run(3*time.Second, nil)
		l.want("both are there", first)
		l.half[2] = true
		took := l.until("both hold it", time.Second, func() bool { return len(l.holders()) == 2 })
		l.run(20*time.Second, func() { l.want("the LAN is split", 1, 2) })
		l.half[2] = false
		healed := l.until("one holds it", time.Second, func() bool { return len(l.holders()) == 1 })
		l.want("the LAN is whole", 1)
		ended := l.now
		l.run(5*time.Second, func() { l.want("the LAN stays whole", 1) })
		t.Logf("both after %v, one %v after the heal", took, healed)
		if l.vrs[0].announced.Before(ended) || healed > 2*BeatEvery+10*time.Millisecond {
			t.Errorf("healed after %v; announced %v after that", healed, l.vrs[0].announced.Sub(ended))
		}
	}
}

// TestUnfit: who gets no packets out of the site leaves the lease to one who does, if there is one, within a moment.
func TestUnfit(t *testing.T) {
	l := newLAN(t, 3)
	for _, s := range l.vrs {
		l.start(s)
	}
	l.run(3*time.Second, nil)
	l.do(l.vrs[0], l.vrs[0].lease.SetFit(l.now, false))
	if took := l.until("the next one holds it", time.Second, func() bool { return slices.Equal(l.holders(), []tables.RouterID{2}) }); took > 20*time.Millisecond {
		t.Errorf("handed over after %v", took)
	}
	l.do(l.vrs[1], l.vrs[1].lease.SetFit(l.now, false))
	l.do(l.vrs[2], l.vrs[2].lease.SetFit(l.now, false))
	l.run(3*time.Second, func() {
		if len(l.holders()) > 1 {
			t.Fatal("two hold it")
		}
	})
	if len(l.holders()) != 1 {
		t.Fatal("nobody is fit, and nobody holds it")
	}
	l.do(l.vrs[0], l.vrs[0].lease.SetFit(l.now, true))
	l.run(time.Second, nil)
	l.want("the first one is fit again", 1)
}

// TestLossyLAN: with a tenth of all messages lost the lease stays where it is.
func TestLossyLAN(t *testing.T) {
	l := newLAN(t, 2)
	l.loss = 0.1
	l.start(l.vrs[0])
	l.start(l.vrs[1])
	l.run(2*time.Second, nil)
	flips := l.vrs[0].flips + l.vrs[1].flips
	none := 0
	l.run(10*time.Minute, func() {
		if len(l.holders()) == 0 {
			none++
		}
	})
	t.Logf("%d changes in ten minutes, %d ms without a holder", l.vrs[0].flips+l.vrs[1].flips-flips, none)
	if none > 0 || l.vrs[0].flips+l.vrs[1].flips-flips > 20 {
		t.Error("the lease is not where it should be")
	}
}

// TestReplay: what was said before, by whomever, changes nothing when it is said again: in this run, after a restart of the
// listener, and after one of the speaker.
func TestReplay(t *testing.T) {
	l := newLAN(t, 2)
	var said []post
	record := func() {
		for _, p := range l.posts {
			if p.from == l.vrs[0] {
				said = append(said, p)
			}
		}
	}
	l.start(l.vrs[0])
	l.start(l.vrs[1])
	l.run(15*time.Second, record)
	l.want("both are there", 1)
	replay := func(what string) {
		t.Helper()
		now := l.now
		l.run(5*time.Second, func() {
			if since := l.now.Sub(now); since%(BeatEvery/2) == 0 {
				l.do(l.vrs[1], l.vrs[1].lease.Heard(l.now, said[int(since/(BeatEvery/2))].m))
			}
			if l.now.Sub(now) > listenFor+BeatEvery {
				l.want(what, 2)
			}
		})
	}
	l.vrs[0].lease = nil
	replay("the holder is dead, and its messages are played again")
	l.start(l.vrs[1])
	replay("the listener has restarted")
	l.start(l.vrs[0])
	l.run(3*time.Second, nil)
	l.want("both are there again", 2)
	l.run(5*time.Second, func() {
		for _, p := range said[:min(3, len(said))] {
			l.do(l.vrs[1], l.vrs[1].lease.Heard(l.now, p.m))
		}
		l.want("the speaker has restarted", 2)
	})
}

// TestAnyHistory: VRs die, come back, lose their way out, and the LAN splits and heals, at random. Wherever VRs hear each other
// one of them holds the lease, and only one, but for the second after something has happened.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLAN(t, rapid.IntRange(1, 4).Draw(t, "VRs"))
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			s := rapid.SampledFrom(l.vrs).Draw(t, "who")
			switch what := rapid.IntRange(0, 4).Draw(t, "what"); {
			case s.lease == nil:
				l.start(s)
			case what == 0:
				s.lease = nil
			case what == 1:
				l.half[s.id] = !l.half[s.id]
			case what == 2:
				l.do(s, s.lease.SetFit(l.now, !s.lease.fit))
			case what == 3:
				l.do(s, s.lease.Leave(l.now))
				s.lease = nil
			}
			l.run(time.Duration(rapid.IntRange(0, 1500).Draw(t, "pause"))*time.Millisecond, nil)
		}
		l.run(2*time.Second, nil)
		l.run(time.Second, func() {
			for _, half := range []bool{false, true} {
				alive, fit, holders := 0, 0, []*station{}
				for _, s := range l.vrs {
					if s.lease == nil || l.half[s.id] != half {
						continue
					}
					alive++
					if s.lease.fit {
						fit++
					}
					if s.lease.Holds() {
						holders = append(holders, s)
					}
				}
				if want := min(alive, 1); len(holders) != want {
					t.Fatalf("%d VRs hear each other, and %d hold the lease", alive, len(holders))
				}
				if len(holders) == 1 && fit > 0 && !holders[0].lease.fit {
					t.Fatal("one that gets nothing out holds it, though another one does")
				}
			}
		})
	})
}
