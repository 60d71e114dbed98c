package node

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// A LAN with two VRs may be split, with both alive: each answers for the gateway in its half, and reaches no host in the other.
// They tell the VRs that they have links with. Those send what goes to a host of such a site to the VR that the host's own packets
// came from last, and not where the draw among flows says.

const (
	// apartEvery is how often a VR looks whether its LAN is split, and says so again while it is.
	apartEvery = 700 * time.Millisecond
	// apartLooks is how many looks in a row must say so: a VR that starts has its link before it speaks on the LAN.
	apartLooks = 3
	// apartLasts is how long the word of a peer counts: six are lost before that.
	apartLasts = 4500 * time.Millisecond
)

// An apart is what this VR says and hears of split LANs. The control loop owns it.
type apart struct {
	l      *loop
	looks  int                           // in a row that found the LAN split
	told   bool                          // that it is
	pinned []tables.RouterID             // sharers with whom a link is kept
	peers  map[tables.RouterID]time.Time // until when their word counts
}

// look asks whether a VR that shares our blocks is alive, by its link, and not heard on the LAN.
func (a *apart) look(now time.Time) {
	l := a.l
	if l.n.options.Hears == nil {
		return
	}
	hears, split := l.n.options.Hears(), false
	sharers := slices.DeleteFunc(l.store.Snapshot().Sharers(l.n.self.Router), func(id tables.RouterID) bool { return id == l.n.self.Router })
	a.keepLinks(now, sharers)
	for _, id := range sharers {
		p := l.peers[id]
		if p == nil || !p.endpoint.IsValid() || p.silent || slices.Contains(hears, id) {
			continue
		}
		split = true
		l.do(now, l.links.Tell(now, id, frame.Apart{Apart: a.told}.Append(nil))) // if it is dead we know within a second
	}
	if a.looks++; !split {
		a.looks = 0
	}
	is := a.looks >= apartLooks
	if is != a.told {
		l.n.log.Warn("LAN split: another VR of this site is alive, and not heard on the LAN", "split", is)
	}
	if is || a.told {
		text := frame.Apart{Apart: is}.Append(nil)
		for _, id := range l.links.Established() {
			l.do(now, l.links.Reply(now, id, text))
		}
	}
	a.told = is
	l.n.lanSplit.Store(is)
}

// keepLinks keeps links with the VRs that share our blocks, with nothing to carry: how else would we know that they live.
func (a *apart) keepLinks(now time.Time, sharers []tables.RouterID) {
	l := a.l
	for _, id := range a.pinned {
		if !slices.Contains(sharers, id) {
			l.do(now, l.links.Pin(now, id, false))
		}
	}
	for _, id := range sharers { // again and again: others pin and unpin too
		l.do(now, l.links.Pin(now, id, true))
	}
	a.pinned = sharers
}

// heard takes the word of a peer.
func (a *apart) heard(now time.Time, id tables.RouterID, is bool) {
	_, was := a.peers[id]
	if !is {
		delete(a.peers, id)
	} else if was || a.l.sharesSet(id) {
		a.peers[id] = now.Add(apartLasts)
	}
	if _, now := a.peers[id]; now != was {
		a.l.publishPeers()
	}
}

// expire forgets what was said too long ago.
func (a *apart) expire(now time.Time) {
	for id, until := range a.peers {
		if !now.Before(until) {
			a.heard(now, id, false)
		}
	}
}

// list returns the peers whose LAN is split, as it is now; nil: none.
func (a *apart) list() map[tables.RouterID]struct{} {
	if len(a.peers) == 0 {
		return nil
	}
	list := map[tables.RouterID]struct{}{}
	for id := range a.peers {
		list[id] = struct{}{}
	}
	return list
}

// senders remembers by way of which router a host's packets came last, of sites with several VRs. Receive lanes write it, send
// lanes read it. Each place has the upper half of a host's number and a router ID; what one host displaces of another costs that
// one the draw among flows.
type senders [1 << senderBits]atomic.Uint64

const senderBits = 12 // 32 KiB

// number mixes a VN and the address of a host, source or destination of the packet b.
func number(vn tables.VNID, b []byte, source bool) uint64 {
	h := uint64(vn) * 0x9e3779b97f4a7c15
	add := func(word uint64) { h = (h ^ word) * 0xbf58476d1ce4e5b9; h ^= h >> 29 }
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && source:
		add(uint64(binary.BigEndian.Uint32(b[12:])))
	case len(b) >= 20 && b[0]>>4 == 4:
		add(uint64(binary.BigEndian.Uint32(b[16:])))
	case len(b) >= 40 && source:
		add(binary.BigEndian.Uint64(b[8:]))
		add(binary.BigEndian.Uint64(b[16:]))
	case len(b) >= 40:
		add(binary.BigEndian.Uint64(b[24:]))
		add(binary.BigEndian.Uint64(b[32:]))
	}
	return h
}

// note takes note that the source of a packet sends by way of a router.
func (s *senders) note(vn tables.VNID, router tables.RouterID, b []byte) {
	h := number(vn, b, true)
	at, value := &s[h>>(64-senderBits)], h&0xffffffff<<32|uint64(router)
	if at.Load() != value {
		at.Store(value)
	}
}

// of returns by way of which router the destination of a packet sends; zero: that is not known.
func (s *senders) of(vn tables.VNID, b []byte) tables.RouterID {
	h := number(vn, b, false)
	value := s[h>>(64-senderBits)].Load()
	if value>>32 != h&0xffffffff {
		return 0
	}
	return tables.RouterID(value)
}

// preferring returns what has a lane's flows to sites with a split LAN go where their hosts are: forward.Cache.Prefer. nil: none has.
func (n *Node) preferring(split map[tables.RouterID]struct{}) func(vn tables.VNID, b []byte) tables.RouterID {
	if len(split) == 0 {
		return nil
	}
	return func(vn tables.VNID, b []byte) tables.RouterID {
		id := n.senders.of(vn, b)
		if _, is := split[id]; !is {
			return 0
		}
		return id
	}
}
