package node

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vine-mesh/vine/mesh/gossip"
	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
)

// A record is what decides our link record, beside the settings.
type record struct {
	count  uint32    // link records made since the boot
	tokens float64   // records that may be made at once, at most recordBurst
	filled time.Time // when tokens was right

	tags   map[string]string // as gossip was last told
	tagged time.Time         // when
}

const (
	// recordEvery: a VR makes at most one link record in this time on average, for each travels to all, but
	// recordBurst at once: after a start it learns in quick succession where it is seen, what it is, and
	// which queue-VRs it has.
	recordEvery = 10 * time.Second
	recordBurst = 4
	// recordAfter gathers what is learnt in quick succession into one record.
	recordAfter = 300 * time.Millisecond
)

// observe takes what a peer says of where we are. It is a hint that lives as long as the link with
// that peer; a stranger's counts for nothing.
func (l *loop) observe(now time.Time, a transport.Observed) {
	if a.Router == 0 || l.observed[a.Router] == a.Endpoint {
		return
	}
	l.observed[a.Router] = a.Endpoint
	l.self.handle(now, vr.Observed{By: a.Router, Endpoint: a.Endpoint})
}

// refreshRecord makes a new link record when what it says is no longer so.
func (l *loop) refreshRecord(now time.Time) {
	l.due(now, choreRecord, time.Minute)
	want := l.desiredRecord()
	have, ok := l.store.LinkRecord(l.n.self.Router)
	if ok && l.record.count > 0 && sameRecord(want, have) {
		if wait := l.record.tagged.Add(recordEvery).Sub(now); wait > 0 {
			l.due(now, choreRecord, wait) // what only tags say is in no hurry
		} else {
			l.tellTags(now)
		}
		return
	}
	if wait := l.record.take(now); wait > 0 {
		l.due(now, choreRecord, wait)
		return
	}
	l.record.count++
	want.Version = l.n.self.boot<<32 | uint64(l.record.count)
	d, err := tables.Sign(want, l.n.self.identity)
	if err != nil {
		l.n.log.Error("link record not signed", "err", err)
		return
	}
	if err := l.keepOwn(now, []*tables.Document{d}); err != nil {
		l.n.log.Error("link record not kept", "err", err)
	}
	l.tellTags(now)
}

// tellTags gives gossip our tags if they have changed.
func (l *loop) tellTags(now time.Time) {
	tags := boundTags(l.tags())
	if maps.Equal(tags, l.record.tags) {
		return
	}
	if err := l.n.gossip.SetTags(tags); err != nil {
		l.n.log.Error("tags not told", "err", err)
		return
	}
	l.record.tags, l.record.tagged = tags, now
}

// expendableTags may be left out when the tags are too long, the first first: other documents say the same.
var expendableTags = []string{"queues", "version", "endpoint", "site", "nat"}

// boundTags keeps tags within what gossip takes, whatever the names in them are: the list of queue-VRs loses
// its end, then whole tags go.
func boundTags(tags map[string]string) map[string]string {
	for gossip.TagBytes(tags) > gossip.TagBytesMax {
		if list := tags["queues"]; strings.Contains(list, ",") {
			tags["queues"] = list[:strings.LastIndexByte(list, ',')]
			continue
		}
		i := slices.IndexFunc(expendableTags, func(name string) bool { return tags[name] != "" })
		if i < 0 {
			return map[string]string{"id": tags["id"]}
		}
		delete(tags, expendableTags[i])
	}
	return tags
}

// take takes a token, or says how long until there is one.
func (r *record) take(now time.Time) (wait time.Duration) {
	if r.filled.IsZero() {
		r.tokens = recordBurst
	} else {
		r.tokens = min(recordBurst, r.tokens+now.Sub(r.filled).Seconds()/recordEvery.Seconds())
	}
	r.filled = now
	if r.tokens < 1 {
		return time.Duration((1-r.tokens)*float64(recordEvery)).Round(time.Millisecond) + time.Millisecond
	}
	r.tokens--
	return 0
}

func sameRecord(a, b tables.LinkRecord) bool {
	return a.Link == b.Link && slices.Equal(a.Endpoints, b.Endpoints) && a.VRKind == b.VRKind &&
		slices.Equal(a.Queues, b.Queues) && slices.Equal(a.Streams, b.Streams) && a.Full == b.Full && a.Capacity == b.Capacity &&
		a.Serving == b.Serving && a.Draining == b.Draining && a.Joinable == b.Joinable && a.Software == b.Software
}

func (l *loop) desiredRecord() tables.LinkRecord {
	v := l.self.state.Verdict()
	return tables.LinkRecord{
		Router: l.n.self.Router, Link: l.n.self.static.Public(), Endpoints: v.Endpoints, VRKind: v.Kind.String(),
		Queues: slices.Clone(l.queues.list), Streams: l.streamEndpoints(v.Endpoints), Capacity: uint64(l.settings.Capacity), Draining: l.drains,
		Full:    len(l.queues.clients) >= clientsMax,
		Serving: l.author != nil, Joinable: l.settings.Joinable, Software: l.n.options.Software,
	}
}

// localEndpoints returns the addresses at which a socket can be reached on this machine's
// interfaces, without those that are not its own: an endpoint inside the ViNe space would be inside a VN, and a gateway address
// that VRs share is now here and now there.
func localEndpoints(bound netip.AddrPort, foreign func(netip.Addr) bool) []netip.AddrPort {
	if !bound.Addr().IsUnspecified() {
		return []netip.AddrPort{bound}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var list []netip.AddrPort
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := prefix.Addr().Unmap()
		if !addr.IsGlobalUnicast() || foreign(addr) || addr.Is6() && bound.Addr().Is4() {
			continue
		}
		list = append(list, netip.AddrPortFrom(addr, bound.Port()))
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int { return reach(b.Addr()) - reach(a.Addr()) })
	return list
}

// reach orders addresses by how far they can be reached from: public before private, and IPv4
// before IPv6 since every site has it.
func reach(a netip.Addr) int {
	switch {
	case a.Is4() && !a.IsPrivate():
		return 3
	case !a.IsPrivate():
		return 2
	case a.Is4():
		return 1
	}
	return 0
}

// streamEndpoints returns where others find our stream listeners: at the first address of each family.
func (l *loop) streamEndpoints(endpoints []netip.AddrPort) (list []tables.StreamEndpoint) {
	if v := l.self.state.Verdict(); v.Kind == vr.Limited || v.Translated {
		return nil // a translator that lets everybody in by UDP does not by TCP
	}
	var addrs []netip.Addr
	for _, at := range endpoints {
		if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is4() == at.Addr().Is4() }) {
			addrs = append(addrs, at.Addr())
		}
	}
	for _, listen := range l.settings.Listens {
		for _, a := range addrs {
			bound := listen.Endpoint.Addr()
			if len(list) < 4 && (bound.IsUnspecified() && (bound.Is6() || a.Is4()) || bound == a) {
				list = append(list, tables.StreamEndpoint{Protocol: listen.Protocol, Endpoint: netip.AddrPortFrom(a, listen.Endpoint.Port())})
			}
		}
	}
	return list
}

// tags are what `serf members` shows of this VR.
func (l *loop) tags() map[string]string {
	r := l.desiredRecord()
	e, _ := l.store.Enrolment(l.n.self.Router)
	v := l.self.state.Verdict()
	tags := map[string]string{
		"id": l.n.self.Router.String(), "site": e.Site, "kind": r.VRKind, "version": r.Software,
	}
	if nat := natText(v); nat != "" {
		tags["nat"] = nat
	}
	var queues []string
	for _, id := range r.Queues {
		queues = append(queues, l.name(id))
	}
	if len(queues) > 0 {
		tags["queues"] = strings.Join(queues, ",")
	}
	if l.relays() {
		tags["serves"] = strconv.Itoa(len(l.queues.clients))
	}
	if r.Draining {
		tags["draining"] = "yes"
	}
	if len(r.Endpoints) > 0 {
		tags["endpoint"] = r.Endpoints[0].String()
	}
	return tags
}
