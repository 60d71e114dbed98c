package node

import (
	"context"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

// Watch implements control.Router.
func (a api) Watch(ctx context.Context, after string, f func(control.Event) error) error {
	return a.n.events.Watch(ctx, after, f)
}

// tellChanges publishes what has changed in the tables: everything that is on disk now.
func (l *loop) tellChanges(now time.Time, changes []tables.Change) {
	for _, c := range changes {
		ev := control.Event{Kind: control.EventDocument, Time: now.UTC(), Subject: c.Key.String(), State: "removed"}
		if c.Doc != nil {
			ev.State, ev.Version = "stored", c.Doc.Version()
		}
		l.n.events.Publish(ev)
		if c.Doc == nil || c.Key.Kind != tables.KindReceipt {
			continue
		}
		r := c.Doc.Body().(tables.Receipt)
		l.n.events.Publish(control.Event{
			Kind: control.EventRequest, Time: now.UTC(), Subject: hex.EncodeToString(r.Request[:]), State: r.State, Reason: r.Reason,
		})
	}
}

// tellLinks publishes how the links of after differ from those of before.
func (n *Node) tellLinks(before, after *directory) {
	tell := func(id tables.RouterID, state string) {
		name := id.String()
		if e, ok := after.view.Enrolment(id); ok {
			name = e.Name
		}
		n.events.Publish(control.Event{Kind: control.EventLink, Time: time.Now().UTC(), Subject: name, State: state})
	}
	var old map[tables.RouterID]netip.AddrPort
	if before != nil {
		old = before.links
	}
	for id, at := range after.links {
		if was, ok := old[id]; !ok {
			tell(id, "up")
		} else if was != at {
			tell(id, "moved")
		}
	}
	for id := range old {
		if _, ok := after.links[id]; !ok {
			tell(id, "down")
		}
	}
}

// tellMember publishes what gossip says of a VR. It may be called from any goroutine and does not wait.
func (n *Node) tellMember(id tables.RouterID, state string) {
	n.silent.hear(id, state == "failed")
	name := id.String()
	if d := n.directory.Load(); d != nil {
		if e, ok := d.view.Enrolment(id); ok {
			name = e.Name
		}
	}
	n.events.Publish(control.Event{Kind: control.EventMember, Time: time.Now().UTC(), Subject: name, State: state})
}
