package gossip

import (
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// rumoursPerPacket bounds our messages in one packet: a compound holds 255 in all, and
// memberlist counts them in one byte.
const rumoursPerPacket = 64

// A delegate is memberlist's delegate, around serf's. memberlist reads the delegate from its
// configuration each time, so it can be put in place beneath serf.
type delegate struct {
	memberlist.Delegate // serf's
	g                   *Gossip
}

// NodeMeta returns the tags. serf's own SetTags writes them without a lock, so ours do not
// go through serf.
func (d *delegate) NodeMeta(int) []byte { return *d.g.meta.Load() }

// NotifyMsg gives serf its messages. Our own never come this way: the police takes them
// out of the packet, where it is known who sent it.
func (d *delegate) NotifyMsg(b []byte) {
	if len(b) > 0 && b[0] == typeRumour {
		return
	}
	d.Delegate.NotifyMsg(b)
}

// GetBroadcasts returns serf's messages and, in what room they leave, ours.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	messages := slices.DeleteFunc(d.Delegate.GetBroadcasts(overhead, limit), d.hearsay)
	if d.g.config.Rumours == nil {
		return messages
	}
	for _, m := range messages {
		limit -= overhead + len(m)
	}
	const typeLen = 1
	if limit <= overhead+typeLen {
		return messages
	}
	members := 1
	if s := d.g.serf.Load(); s != nil {
		members = s.NumNodes()
	}
	ours := d.g.config.Rumours.Take(members, limit, overhead+typeLen)
	// What does not fit beside serf's own in one compound is lost; Rumours sends a message
	// more than once, and anti-entropy repairs the rest.
	for _, m := range ours[:min(len(ours), rumoursPerPacket)] {
		messages = append(messages, append([]byte{typeRumour}, m...))
	}
	return messages
}

// hearsay reports whether serf passes on another's intent, which nobody would believe.
func (d *delegate) hearsay(m []byte) bool {
	if len(m) == 0 || m[0] != serfJoin && m[0] != serfLeave {
		return false
	}
	i, err := parseIntent(m[1:])
	return err == nil && string(i.node) != d.g.config.Self.Name
}

// LocalState returns serf's part of a state exchange, without what every member's policing
// would take out again.
func (d *delegate) LocalState(join bool) []byte {
	b := d.Delegate.LocalState(join)
	m, err := parsePushPull(b, d.g.config.Self.Name)
	if err != nil {
		return b
	}
	return appendPushPull(nil, m, d.g.config.Self.Name)
}

// A pinger is memberlist's ping delegate, around serf's: acks carry serf's coordinate and
// behind it our root hash.
type pinger struct {
	memberlist.PingDelegate // serf's
	g                       *Gossip
}

// AckPayload returns serf's payload and our root hash.
func (p *pinger) AckPayload() []byte {
	b := p.PingDelegate.AckPayload()
	root := p.g.root.Load()
	return append(slices.Clip(b), root[:]...)
}

// NotifyPingComplete gives serf its part of an ack and reports the root hash. The police has
// made sure that other itself sent the payload.
func (p *pinger) NotifyPingComplete(other *memberlist.Node, rtt time.Duration, payload []byte) {
	if len(payload) < RootLen {
		return
	}
	n := len(payload) - RootLen
	p.PingDelegate.NotifyPingComplete(other, rtt, payload[:n])
	if f := p.g.config.Events.Root; f != nil {
		if id, ok := p.g.config.Directory.ByName(other.Name); ok {
			f(id, [RootLen]byte(payload[n:]))
		}
	}
}

// A gate is memberlist's alive and merge delegate: a second line behind the police, at the
// place where names are bound to addresses.
//
// memberlist calls it with its lock held.
type gate struct{ police inspector }

var (
	_ memberlist.AliveDelegate = (*gate)(nil)
	_ memberlist.MergeDelegate = (*gate)(nil)
)

// NotifyAlive refuses a member that is not enrolled or not at its address.
func (a *gate) NotifyAlive(n *memberlist.Node) error {
	if !a.police.binding(n.Name, n.Addr, n.Port) {
		return fmt.Errorf("%q is not enrolled with that address", n.Name)
	}
	return nil
}

// NotifyMerge refuses to join members among which is one that NotifyAlive refuses.
func (a *gate) NotifyMerge(peers []*memberlist.Node) error {
	for _, n := range peers {
		if err := a.NotifyAlive(n); err != nil {
			return err
		}
	}
	return nil
}
