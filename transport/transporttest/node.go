package transporttest

import (
	"fmt"
	"net/netip"
	"time"
)

// A Node is a *Host or a *NAT.
type Node interface {
	// Name returns the name the node was made with.
	Name() string
	base() *node
}

// A node is the outer side of a host or NAT box: its attachment to a realm.
//
// All fields are guarded by Internet.mu.
type node struct {
	in    *Internet
	id    uint32
	name  string
	realm *realm
	up    pipe
	down  pipe
	wall  wall
	group int // of Partition; 0 is "that of the box it is behind"

	host *Host // one of these two is set
	nat  *NAT
}

func (n *node) base() *node { return n }

// Name implements Node.
func (n *node) Name() string { return n.name }

// SetLink sets the access line of the node: what it sends passes up, what it gets passes down. A new
// node has a line that delays nothing and loses nothing.
func (n *node) SetLink(up, down Path) {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	n.up, n.down = pipe{Path: up}, pipe{Path: down}
}

// SetFirewall puts a firewall between the node and its network, in place of the one before, whose
// flows are forgotten.
func (n *node) SetFirewall(f Firewall) {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	n.wall = newWall(f)
}

// A realm is one address space: the core, or the inside of a NAT box.
type realm struct {
	gateway *NAT // whose inside this is; nil for the core
	addrs   map[netip.Addr]*node
	usual   Path
	pairs   map[pair]*pipe
}

// A pair is two nodes, in order. The gateway of a realm stands in it as itself.
type pair struct{ from, to uint32 }

func newRealm(gateway *NAT, usual Path) *realm {
	return &realm{gateway: gateway, addrs: make(map[netip.Addr]*node), usual: usual, pairs: make(map[pair]*pipe)}
}

// between returns the pipe from one node to another. A usual Path without memory needs no pipe of its
// own, which keeps 1,000 hosts from making 1,000,000 pipes.
func (r *realm) between(from, to *node, scratch *pipe) *pipe {
	p := pair{from.id, to.id}
	if l := r.pairs[p]; l != nil {
		return l
	}
	if !r.usual.remembers() {
		*scratch = pipe{Path: r.usual}
		return scratch
	}
	l := &pipe{Path: r.usual}
	r.pairs[p] = l
	return l
}

// setUsual changes the Path of the pairs that have none of their own.
func (r *realm) setUsual(p Path) {
	for k, l := range r.pairs {
		if l.Path == r.usual {
			delete(r.pairs, k)
		}
	}
	r.usual = p
}

// claim makes n the owner of addr in its realm and, for an IPv6 address, makes the boxes around
// it the way there, for they do not translate it.
func (n *node) claim(addr netip.Addr) {
	owner := n
	for r := n.realm; ; r = owner.realm {
		if r.addrs[addr] != nil {
			panic(fmt.Sprintf("transporttest: address %v of %s belongs to %s", addr, n.name, r.addrs[addr].name))
		}
		r.addrs[addr] = owner
		if r.gateway == nil || addr.Is4() {
			return
		}
		owner = r.gateway.node
	}
}

// release undoes claim.
func (n *node) release(addr netip.Addr) {
	for r := n.realm; ; r = r.gateway.realm {
		delete(r.addrs, addr)
		if r.gateway == nil || addr.Is4() {
			return
		}
	}
}

// parent returns the NAT box that n is behind, or nil.
func (n *node) parent() *node {
	if n.realm.gateway == nil {
		return nil
	}
	return n.realm.gateway.node
}

// effectiveGroup is the partition group of n: its own, or else that of the box it is behind.
func (n *node) effectiveGroup() int {
	for ; n != nil; n = n.parent() {
		if n.group != 0 {
			return n.group
		}
	}
	return 0
}

// meet returns the realm in which packets from a to b pass directly from one box to another, and
// the two boxes.
func meet(a, b *node) (r *realm, from, to *node) {
	for x := a; x != nil; x = x.parent() {
		for y := b; y != nil; y = y.parent() {
			switch {
			case x.realm == y.realm && x != y:
				return x.realm, x, y
			case y.parent() == x:
				return y.realm, x, y
			case x.parent() == y:
				return x.realm, x, y
			}
		}
	}
	panic("transporttest: no path from " + a.name + " to " + b.name)
}

// A NAT is a box with one public IPv4 address and a network of its own behind it. Hosts behind it may
// also have IPv6 addresses, which it does not translate but filters.
type NAT struct {
	*node
	inner *realm
	table *natTable
}

// Host adds a host behind the NAT box. Addresses are unique behind one box, IPv6 addresses everywhere.
func (n *NAT) Host(name string, addrs ...netip.Addr) *Host { return n.in.newHost(n.inner, name, addrs) }

// NAT adds a NAT box behind this one, as behind a carrier's; public is an address behind this one.
func (n *NAT) NAT(name string, public netip.Addr, kind NATKind) *NAT {
	return n.in.newNAT(n.inner, name, public, kind)
}

// SetInnerPath sets the path between any two nodes behind the box, and between them and the box. It
// is the zero Path at first.
func (n *NAT) SetInnerPath(p Path) {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	n.inner.setUsual(p)
}

// Forward maps a public port for good to a port of a host behind the box, and lets everybody in.
func (n *NAT) Forward(public uint16, h *Host, port uint16) {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	addr, ok := h.source(n.table.public)
	if !ok {
		panic("transporttest: host " + h.name + " has no IPv4 address to forward to")
	}
	n.table.forward(public, netip.AddrPortFrom(addr, port))
}

// Reset forgets all mappings, forwards too, as a reboot does.
func (n *NAT) Reset() {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	n.table.reset()
}

// SetPublic gives the box another public address, and forgets all mappings.
func (n *NAT) SetPublic(public netip.Addr) {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	n.release(n.table.public)
	n.table.public = public
	n.claim(public)
	n.table.reset()
}

// Mappings returns how many mappings have not been removed; expired ones may be among them.
func (n *NAT) Mappings() int {
	n.in.mu.Lock()
	defer n.in.mu.Unlock()
	return len(n.table.byOuter)
}

// outbound is what the box does to a packet from inside. It returns the realm and node from which the
// packet goes on: the box's own outside, or its inside when the packet comes back by hairpinning.
func (n *NAT) outbound(now time.Duration, p *packet) Drop {
	to := p.to
	back := n.realm.addrs[to.Addr()] == n.node
	if back && !n.table.kind.Hairpin {
		return DropHairpin
	}
	from, drop := n.table.out(now, p.from, to)
	if drop != 0 {
		return drop
	}
	if !back {
		p.from, p.stage, p.at = from, stageLeave, n.node
		return 0
	}
	inner, drop := n.table.in(now, from, to)
	if drop != 0 {
		return drop
	}
	p.from, p.to = from, inner
	p.stage, p.at, p.realm = stageCross, n.node, n.inner
	return 0
}

// inbound is what the box does to a packet from outside.
func (n *NAT) inbound(now time.Duration, p *packet) Drop {
	inner, drop := n.table.in(now, p.from, p.to)
	if drop != 0 {
		return drop
	}
	p.to = inner
	p.stage, p.at, p.realm = stageCross, n.node, n.inner
	return 0
}
