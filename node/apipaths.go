package node

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/path"
)

// describePath says how a link's packets travel, in words and figures for people.
func (l *loop) describePath(now time.Time, link *control.Link, at netip.AddrPort) {
	link.Path, link.Via, link.Transport = l.wordsOf(link.Router, at)
	ways, _, leads := l.links.Ways(now, link.Router)
	link.Leads = leads
	for _, w := range ways {
		if !w.InUse {
			continue
		}
		m := w.Measure
		link.Loss, link.Used = m.Loss, m.Used
		if m.Rate.Kind != path.RateUnknown {
			link.Rate, link.RateKind, link.RateBy = m.Rate.Bits, m.Rate.Kind.String(), m.Rate.By.String()
			link.RateAge = now.Sub(m.Rate.At).Seconds()
		}
	}
}

// wordsOf names a path: its kind, the relay, and the transport of its first hop.
func (l *loop) wordsOf(router tables.RouterID, at netip.AddrPort) (kind, via, transport string) {
	transport = "udp"
	switch path.KindOf(at) {
	case path.Relayed:
		relay, _ := path.RelayOf(at)
		kind, via = "relayed", l.name(relay)
		if hop, up := l.links.Endpoint(relay); up {
			transport = l.transportOf(hop)
		}
	case path.Streamed:
		kind, transport = "stream", l.transportOf(at)
	default:
		kind = "direct"
		if r, ok := l.store.LinkRecord(router); ok && at.IsValid() && l.limited() && r.VRKind == "limited" {
			kind = "punched"
		}
	}
	return kind, via, transport
}

// transportOf names what carries the datagrams of a first hop.
func (l *loop) transportOf(at netip.AddrPort) string {
	if path.KindOf(at) != path.Streamed || l.n.streams == nil {
		return "udp"
	}
	for _, s := range l.n.streams.Status() {
		if s.At == at {
			return s.Protocol.String()
		}
	}
	return "stream"
}
