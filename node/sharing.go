package node

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

// What a VR needs to share a gateway address with the other VRs of its site (package gateway), and a list of hosts.

// Federation returns the ID of the VR's federation.
func (n *Node) Federation() tables.Hash { return n.self.Federation }

// Boot returns the count of this VR's starts, with this one.
func (n *Node) Boot() uint64 { return n.self.boot }

// SignLAN signs with the VR's identity what it says to the other VRs of its LAN. The message must begin with words that no other
// thing that an identity signs begins with.
func (n *Node) SignLAN(message []byte) []byte { return ed25519.Sign(n.self.identity, message) }

// Sharer returns the identity of another VR that shares blocks with this one, and false for all others. It may be called from any
// goroutine.
func (n *Node) Sharer(id tables.RouterID) (tables.PublicKey, bool) {
	v := n.directory.Load().view
	if id == n.self.Router || !v.Admitted(id, time.Now()) || !slices.Contains(v.Sharers(n.self.Router), id) {
		return tables.PublicKey{}, false
	}
	e, ok := v.Enrolment(id)
	return e.Identity, ok
}

// Fit reports whether packets of hosts get out of the site by way of this VR: its rows are used, and it has a link with a VR of
// another site. It may be called from any goroutine.
func (n *Node) Fit() bool {
	d := n.directory.Load()
	own, ok := d.view.Enrolment(n.self.Router)
	if !ok || own.Disabled {
		return false
	}
	for id := range d.links {
		if e, ok := d.view.Enrolment(id); ok && e.Site != own.Site {
			return true
		}
	}
	return false
}

// LANSplit reports whether another VR that shares blocks with this one is alive, by its link, and not heard on the LAN. It may be
// called from any goroutine.
func (n *Node) LANSplit() bool { return n.lanSplit.Load() }

// Load returns how many packets this VR has sent to other VRs and got from them since it was started.
func (n *Node) Load() uint64 { return n.sent() + n.received() }

// keepsHosts returns why addresses of the blocks are not given here: of the VRs that share them one keeps the list of hosts, the
// one that was enrolled first, so that none is given twice.
func (n *Node) keepsHosts() error {
	v := n.directory.Load().view
	sharers := v.Sharers(n.self.Router)
	if len(sharers) == 0 || sharers[0] == n.self.Router {
		return nil
	}
	return fmt.Errorf("%w: VR %s shares the blocks of this VR and keeps the list of their hosts: ask there", control.ErrRefused, nameIn(v, sharers[0]))
}
