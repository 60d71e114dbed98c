//go:build linux

package raw

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	// neighbourSets and neighbourWays bound how many hosts are known: those of a block of 256 addresses hardly ever meet in one
	// set. A host that is crowded out gets its packets by way of the kernel.
	neighbourSets = 1024
	neighbourWays = 4

	// neighbourLife is how long a host is believed to be where it was last heard from: as long as Linux believes it of a
	// reachable neighbour (base_reachable_time).
	neighbourLife = 30 * time.Second

	// learnEvery is how many packets on end from one host go unlooked at.
	learnEvery = 64
)

// A neighbour is a host on a LAN.
type neighbour struct {
	host netip.Addr
	mac  [6]byte
	port int // of the Injector
	seen time.Time
}

// neighbours are the hosts that have been heard from. The zero value is not ready: see newNeighbours. All methods may be
// called concurrently. They do not allocate.
type neighbours struct {
	seed maphash.Seed
	mu   sync.Mutex // guards the rest
	sets [][neighbourWays]neighbour
	last neighbour // learnt last
	skip int       // packets until it is looked at again
}

func newNeighbours() *neighbours {
	return &neighbours{seed: maphash.MakeSeed(), sets: make([][neighbourWays]neighbour, neighbourSets)}
}

func (n *neighbours) set(host netip.Addr) *[neighbourWays]neighbour {
	b := host.As16()
	return &n.sets[maphash.Bytes(n.seed, b[:])%neighbourSets]
}

// learn notes where a host is. It is called for each packet that comes from one.
func (n *neighbours) learn(host netip.Addr, mac [6]byte, port int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := &n.last; l.host == host && l.mac == mac && l.port == port && n.skip > 0 {
		n.skip--
		return
	}
	if mac[0]&1 != 0 || mac == [6]byte{} {
		return // no station has a group's address, or none
	}
	n.last, n.skip = neighbour{host, mac, port, time.Now()}, learnEvery
	set := n.set(host)
	at := &set[0]
	for i := range set {
		if set[i].host == host {
			at = &set[i]
			break
		}
		if set[i].seen.Before(at.seen) {
			at = &set[i]
		}
	}
	*at = n.last
}

// find returns where a host is.
func (n *neighbours) find(now time.Time, host netip.Addr) (mac [6]byte, port int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, set := 0, n.set(host); i < neighbourWays; i++ {
		if e := &set[i]; e.host == host && now.Sub(e.seen) < neighbourLife {
			return e.mac, e.port, true
		}
	}
	return mac, 0, false
}
