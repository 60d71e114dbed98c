package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// publish compiles the tables that are installed into what the lanes read, and lets the links
// know which VNs we accept from whom. On an error the lanes keep what they have.
func (l *loop) publish(now time.Time) error {
	view := l.backlog.believed()
	l.closeMerged(now)
	installed, problems := l.tables.Update(view)
	l.noteMerged(now, installed)
	for _, p := range problems {
		l.n.log.Debug("version not installed yet", "vn", p.VN.String(), "version", p.Version, "reason", p.Reason)
	}
	compiled, err := l.compile(now, view, installed)
	if err != nil {
		return err
	}
	l.installed, l.compiled = installed, compiled
	l.keepInstalled(now)
	l.publishPeers()
	l.publishDirectory()
	l.tellDelivers(view)
	l.gossip.members(now)
	l.shareChannels(now)
	return nil
}

// compile makes a forward.Snapshot. A VN that cannot be carried beside the others is left out,
// loudly, so that one wrong VN does not stop the rest.
func (l *loop) compile(now time.Time, view *tables.View, installed []tables.Installed) (*forward.Snapshot, error) {
	root, ok := view.Root()
	if !ok {
		return nil, ErrNotEnrolled
	}
	in := forward.Input{
		Self: l.n.self.Router, Space: root.Space, Own: ownAddresses(view, l.n.self.Router),
	}
	for _, a := range l.n.options.Attachments {
		at := forward.Attachment{}
		for _, name := range a.VNs {
			if vn, ok := view.VNByName(name); ok {
				at.VNs = append(at.VNs, vn.ID)
			} else {
				at.VNs = append(at.VNs, 0) // a name that no VN has yet must not mean "every VN"
			}
		}
		in.Attachments = append(in.Attachments, at)
	}
	for _, vn := range installed {
		input := l.vnInput(view, vn, in.Attachments)
		if input.Closing = vn.Closing; vn.Closing && now.Sub(l.closing[vn.VN.ID]) >= mergedSends {
			input.Members = nil // nothing more goes in it
		}
		in.VNs = append(in.VNs, input)
	}
	compiled, err := forward.NewSnapshot(in)
	for err != nil {
		var refused *forward.InputError
		if !errors.As(err, &refused) || refused.VN == 0 {
			return nil, fmt.Errorf("compile tables: %w", err)
		}
		l.n.log.Error("VN left out", "vn", refused.VN.String(), "err", err)
		in.VNs = slices.DeleteFunc(in.VNs, func(v forward.VNInput) bool { return v.ID == refused.VN })
		compiled, err = forward.NewSnapshot(in)
	}
	return compiled, nil
}

// A VN that was merged into another goes on for a while: the other VRs install the merge at other moments, and a packet in
// flight, or to one that knows only the old VN, would be lost.
const (
	// mergedSends is how long packets between members of the old VN are sent in it: news reaches everybody in a second or two.
	mergedSends = 10 * time.Second
	// mergedAccepts is how long they are accepted: from VRs that installed the merge so much later than we did.
	mergedAccepts = time.Minute
)

// noteMerged notes which VNs have begun to close, and makes due what follows.
func (l *loop) noteMerged(now time.Time, installed []tables.Installed) {
	closing := map[tables.VNID]time.Time{}
	for _, vn := range installed {
		if !vn.Closing {
			continue
		}
		since, known := l.closing[vn.VN.ID]
		if !known {
			since = now
			l.n.log.Info("VN merged into another", "vn", vn.VN.Name)
		}
		closing[vn.VN.ID] = since
		for _, end := range []time.Duration{mergedSends, mergedAccepts} {
			if wait := since.Add(end).Sub(now); wait > 0 {
				l.due(now, chorePublish, wait)
				break
			}
		}
	}
	l.closing = closing
}

// closeMerged takes off the VNs that have been closing for long enough.
func (l *loop) closeMerged(now time.Time) {
	for id, since := range l.closing {
		if now.Sub(since) >= mergedAccepts {
			l.tables.Close(id)
		}
	}
}

// pathMTUs returns the largest inner packet that reaches each router of an installed VN whole, by what is known of the path
// in use, or else by the configuration and the path that its link record names first.
func (l *loop) pathMTUs(view *tables.View) map[tables.RouterID]int {
	mtus := map[tables.RouterID]int{}
	for _, vn := range l.installed {
		for _, set := range vn.Sets {
			for _, id := range set.Routers {
				if _, done := mtus[id]; !done {
					mtus[id] = l.pathMTU(view, id)
				}
			}
		}
	}
	return mtus
}

func (l *loop) pathMTU(view *tables.View, id tables.RouterID) int {
	at := netip.AddrPort{}
	if p := l.peers[id]; p != nil {
		if p.largest > 0 {
			return p.largest - frame.DataHeaderLen - frame.TagLen
		}
		at = p.endpoint
	}
	if !at.IsValid() {
		r, ok := view.LinkRecord(id)
		switch {
		case ok && len(r.Endpoints) > 0:
			at = r.Endpoints[0]
		case ok && r.VRKind == "limited":
			at = path.Relay(id, id) // until we know better
		}
	}
	return l.settings.PathMTU - headers - l.headersOver(at) - frame.DataHeaderLen - frame.TagLen
}

// headers is what UDP adds to a datagram.
const headers = 8

// headersOver returns the bytes of IP header, and relay datagram if need be, around what goes over a path.
func (l *loop) headersOver(at netip.AddrPort) (n int) {
	if relay, _ := path.RelayOf(at); relay != 0 {
		n = frame.RelayOverhead
		at = netip.AddrPort{}
		if p := l.peers[relay]; p != nil {
			at = p.endpoint
		}
	}
	if at.Addr().Is6() && !path.Reserved(at.Addr()) {
		return n + 40
	}
	return n + 20
}

// largest returns the length of the largest datagram that the configuration allows over a path; zero for a stream
// connection, which has no such limit.
func (l *loop) largest(at netip.AddrPort) int {
	if path.KindOf(at) == path.Streamed {
		return 0
	}
	return l.settings.PathMTU - headers - l.headersOver(at)
}

// vnInput gives each local host of a VN its attachment: the first that serves the VN.
func (l *loop) vnInput(view *tables.View, vn tables.Installed, attachments []forward.Attachment) forward.VNInput {
	in := forward.VNInput{ID: vn.VN.ID, Seal: vn.VN.Seal}
	for _, set := range vn.Sets {
		in.Sets = append(in.Sets, forward.Set{Routers: set.Routers, Prefixes: set.Prefixes})
	}
	for _, d := range vn.Documents {
		manifest, ok := d.Body().(tables.Manifest)
		if !ok {
			continue
		}
		for _, leaf := range manifest.Rosters {
			roster, _ := view.Roster(vn.VN.ID, leaf.Site)
			in.Members = append(in.Members, roster.Hosts...)
		}
	}
	at := slices.IndexFunc(attachments, func(a forward.Attachment) bool {
		return len(a.VNs) == 0 || slices.Contains(a.VNs, vn.VN.ID)
	})
	if at < 0 {
		return in
	}
	for _, host := range vn.Local {
		in.Local = append(in.Local, forward.LocalHost{Addr: host, Attachment: at})
	}
	return in
}

// tellDelivers says which prefixes each attachment delivers: our blocks, on the attachments that
// serve every VN, and what our delivery sets hold in the VNs that an attachment serves.
func (l *loop) tellDelivers(view *tables.View) {
	if l.n.options.Delivers == nil {
		return
	}
	e, _ := view.Enrolment(l.n.self.Router)
	list := make([][]netip.Prefix, len(l.n.options.Attachments))
	for at, a := range l.n.options.Attachments {
		if len(a.VNs) == 0 {
			list[at] = slices.Clone(e.Blocks)
		}
		for _, vn := range l.installed {
			if len(a.VNs) > 0 && !slices.Contains(a.VNs, vn.VN.Name) {
				continue
			}
			for _, set := range vn.Sets {
				if slices.Contains(set.Routers, l.n.self.Router) {
					list[at] = append(list[at], set.Prefixes...)
				}
			}
		}
		slices.SortFunc(list[at], tables.ComparePrefixes)
		list[at] = slices.Compact(list[at])
	}
	if slices.EqualFunc(list, l.delivers, slices.Equal) {
		return
	}
	l.delivers = list
	l.n.options.Delivers(list)
}

// ownAddresses returns a router's own ViNe addresses: the first of each of its blocks.
func ownAddresses(view *tables.View, id tables.RouterID) []netip.Addr {
	e, _ := view.Enrolment(id)
	var list []netip.Addr
	for _, block := range e.Blocks {
		list = append(list, block.Addr().Next())
	}
	return list
}

// keepInstalled has the documents of each installed version kept together on disk, and removes the
// sets of VNs that are no more. What does not work is tried again, and no bundle is written before: see backlog.owes.
func (l *loop) keepInstalled(now time.Time) {
	present := map[tables.VNID]bool{}
	for _, vn := range l.installed {
		present[vn.VN.ID] = true
		if l.onDisk[vn.VN.ID] != vn.VN.Version {
			l.backlog.keepSet(now, vn)
		}
	}
	for id := range l.onDisk {
		if !present[id] {
			l.clerk.install(id, nil, func(now time.Time, l *loop, err error) {
				if err != nil {
					return
				}
				delete(l.onDisk, id)
				if i := slices.IndexFunc(l.installed, func(vn tables.Installed) bool { return vn.VN.ID == id }); i >= 0 {
					l.backlog.keepSet(now, l.installed[i]) // it has come back meanwhile
				}
			})
		}
	}
}

// restore installs the VN versions that were installed before the restart, so that a newer one
// that has only half arrived does not leave the VR without any.
func (l *loop) restore() error {
	sets, err := l.n.options.State.Sets()
	if err != nil {
		return err
	}
	for _, set := range sets {
		var documents []*tables.Document
		for _, b := range set {
			d, err := tables.ParseDocument(b)
			if err != nil {
				l.n.log.Warn("installed version on disk is not readable", "err", err)
				break
			}
			documents = append(documents, d)
		}
		if err := l.tables.Restore(l.store.Snapshot(), documents); err != nil {
			l.n.log.Warn("installed version on disk not used", "err", err)
		}
		for _, d := range documents {
			if vn, ok := d.Body().(tables.VN); ok {
				l.onDisk[vn.ID] = vn.Version
			}
		}
	}
	return nil
}

// serves reports whether a router delivers packets of a VN.
func serves(vn tables.Installed, id tables.RouterID) bool {
	return slices.ContainsFunc(vn.Sets, func(s tables.DeliverySet) bool { return slices.Contains(s.Routers, id) })
}

// shareChannels tells the links which VNs we accept from each router: those that both serve.
// A VR's right to send in a VN ends here, before its next packet.
func (l *loop) shareChannels(now time.Time) {
	want := map[tables.RouterID][]tables.VNID{}
	for _, vn := range l.installed {
		if !serves(vn, l.n.self.Router) {
			continue
		}
		for _, set := range vn.Sets {
			for _, id := range set.Routers {
				if id != l.n.self.Router {
					want[id] = append(want[id], vn.VN.ID)
				}
			}
		}
	}
	for id := range want {
		l.peerOf(id)
	}
	for id, p := range l.peers {
		if vns := want[id]; !slices.Equal(vns, p.vns) {
			p.vns = vns
			l.do(now, l.links.SetChannels(now, id, vns))
		}
	}
}
