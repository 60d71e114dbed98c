package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/tables"
)

const (
	// sampleMax is how many members the View of a VR knows. A View chooses among all that it knows with
	// the same chance, so a random sample gives it the same partners as all would, at 256 bytes a VR
	// instead of 4 bytes a pair.
	sampleMax = 64
	// extrasMax is how many more a View comes to know because their roots differ.
	extrasMax = 16
)

// epoch is the time that the state machines of production are told for 0.
var epoch = time.Unix(1_700_000_000, 0).UTC()

func (e *Engine) time() time.Time { return epoch.Add(time.Duration(e.now)) }

// routerOf is the router ID of a VR, and vrOf the way back.
func routerOf(v int32) tables.RouterID  { return tables.RouterID(v + 1) }
func vrOf(id tables.RouterID) (v int32) { return int32(id) - 1 }

// startView gives a VR that starts the View of package mesh.
func (e *Engine) startView(v int32) {
	r := &e.vrs[v]
	r.view = mesh.NewView(e.time(), routerOf(v), rand.New(portable{&e.rnd}))
	r.viewAt = 0
	e.viewRoot(v)
	r.sample, r.extras = r.sample[:0], r.extras[:0]
	n := len(e.vrs)
	if n <= sampleMax {
		for s := range n {
			r.sample = append(r.sample, int32(s))
		}
	} else {
		for len(r.sample) < sampleMax {
			s := int32(e.rnd.below(int64(n)))
			if i, found := slices.BinarySearch(r.sample, s); !found {
				r.sample = slices.Insert(r.sample, i, s)
			}
		}
	}
	for _, s := range r.sample {
		if s == v {
			continue
		}
		e.tellView(v, s, e.look(v, s).state)
	}
	e.planView(v)
}

// knows reports whether the View of v was told of s.
func (r *vr) knows(s int32) bool {
	_, found := slices.BinarySearch(r.sample, s)
	return found || slices.Contains(r.extras, s)
}

// tellView tells the View of v what v believes of s.
func (e *Engine) tellView(v, s int32, state uint8) {
	r := &e.vrs[v]
	if r.view == nil || !r.knows(s) {
		return
	}
	switch {
	case state <= suspect:
		e.view(v, mesh.MemberUp{Peer: routerOf(s)})
	case state == left || e.revokedBy(v, s):
		e.view(v, mesh.MemberRemoved{Peer: routerOf(s)})
	default:
		e.view(v, mesh.MemberDown{Peer: routerOf(s)})
	}
}

// rootOf is the root of what a VR holds.
func (r *vr) rootOf() (root [16]byte) {
	binary.BigEndian.PutUint64(root[:8], r.root[0])
	binary.BigEndian.PutUint64(root[8:], r.root[1])
	return root
}

func (e *Engine) viewRoot(v int32) { e.view(v, mesh.OwnRoot{Root: e.vrs[v].rootOf()}) }

// hearRoot takes the root that came with an ack. One that is equal says nothing new to a View that knows of no difference.
func (e *Engine) hearRoot(v, from int32) {
	r := &e.vrs[v]
	if r.view == nil {
		return
	}
	if e.vrs[from].root == r.root {
		if e.now < r.differs && r.knows(from) {
			e.view(v, mesh.RootHeard{Peer: routerOf(from), Root: e.vrs[from].rootOf()})
		}
		return
	}
	r.differs = e.now + differsFor
	if !r.knows(from) {
		if len(r.extras) == extrasMax {
			e.view(v, mesh.MemberRemoved{Peer: routerOf(r.extras[0])})
			r.extras = slices.Delete(r.extras, 0, 1)
		}
		r.extras = append(r.extras, from)
		e.view(v, mesh.MemberUp{Peer: routerOf(from)})
	}
	e.view(v, mesh.RootHeard{Peer: routerOf(from), Root: e.vrs[from].rootOf()})
}

// differsFor is how long after the last differing root a View is told of equal ones too.
const differsFor = int64(2 * time.Minute)

// view tells the View of v something and does what it says.
func (e *Engine) view(v int32, ev mesh.Event) {
	e.act(v, e.vrs[v].view.Handle(e.time(), ev))
	e.planView(v)
}

func (e *Engine) viewDue(v int32) {
	r := &e.vrs[v]
	if r.view == nil || r.viewAt != e.now {
		return
	}
	r.viewAt = 0
	if r.paused {
		r.viewAt = e.now + int64(time.Second)
		e.q.add(r.viewAt, evView, v, r.life, 0)
		return
	}
	e.act(v, r.view.Advance(e.time()))
	e.planView(v)
}

// planView has the View called again when it wants to be.
func (e *Engine) planView(v int32) {
	r := &e.vrs[v]
	at := max(int64(r.view.Next().Sub(epoch)), e.now+int64(time.Millisecond))
	if r.viewAt != 0 && r.viewAt <= at {
		return
	}
	r.viewAt = at
	e.q.add(at, evView, v, r.life, 0)
}

func (e *Engine) act(v int32, actions []mesh.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case mesh.StartExchange:
			e.startExchange(v, vrOf(a.Peer))
		case mesh.Pull:
			e.startPull(v, vrOf(a.Peer), a.Keys)
		case mesh.Rejoin:
			e.startPushPull(v, vrOf(a.Peer))
		}
	}
}

// linkUp tells the Views of two VRs that a link between them has come up, where gossip does not believe the other alive: one of
// them has just started, or a split has ended.
func (e *Engine) linkUp(a, b int32) {
	for _, side := range [2][2]int32{{a, b}, {b, a}} {
		v, peer := side[0], side[1]
		if r := &e.vrs[v]; r.view != nil && e.look(v, peer).state > suspect && !e.revokedBy(v, peer) {
			e.view(v, mesh.PeerLinked{Peer: routerOf(peer)})
		}
	}
}

// wantPull tells the View that a document has to be fetched.
func (e *Engine) wantPull(v, holder, doc int32, version uint32) {
	if e.vrs[v].view != nil {
		e.view(v, mesh.PullWanted{Holder: routerOf(holder), Key: e.docs[doc].key, Version: uint64(version)})
	}
}

func exchangeEnded(peer int32, ok bool, moved int) mesh.Event {
	return mesh.ExchangeEnded{Peer: routerOf(peer), OK: ok, Moved: moved}
}

func pullEnded(peer int32, ok bool) mesh.Event { return mesh.PullEnded{Peer: routerOf(peer), OK: ok} }
