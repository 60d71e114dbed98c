package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/hosts"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// A hostBook is this VR's list of the hosts on its LAN. One change at a time is made: the new list goes to disk
// before it counts and before anybody is told, so that what was answered outlives a crash, and what failed has
// changed nothing. The control loop owns it; others read what it has published.
type hostBook struct {
	l      *loop
	broken error    // the list on disk cannot be read; nothing is changed until somebody has looked
	queue  []change // that wait their turn
	busy   bool     // one is with the clerk
}

// A change makes a new list of the present one, and is told what came of it.
type change struct {
	of   func(now time.Time, l hosts.Ledger) (hosts.Ledger, error)
	done func(now time.Time, err error)
}

const (
	// hostsNote is the name of the note in the state directory.
	hostsNote = "hosts"
	// changesMax bounds the changes that wait: a disk that does not answer must not fill the memory.
	changesMax = 64
	// tendAfter gathers the documents of one change before requests of hosts are looked at: they look at whole VNs.
	tendAfter = 200 * time.Millisecond
)

// errHostsBusy is what a change gets that finds no room to wait.
var errHostsBusy = fmt.Errorf("%w: too many changes of the list of hosts wait for the disk: try again", control.ErrRefused)

func newHostBook(l *loop) *hostBook {
	b := &hostBook{l: l}
	text, err := l.n.options.State.Note(hostsNote)
	ledger := hosts.Ledger{}
	if err == nil {
		ledger, err = hosts.Parse(text)
	}
	if err != nil {
		b.broken = fmt.Errorf("the list of hosts (the file %s in the state directory) cannot be read: %w", hostsNote, err)
		l.n.log.Error("hosts cannot be added or removed", "err", b.broken)
	}
	l.n.ledger.Store(&ledger)
	return b
}

// put has a change made. done is called in the control loop when the change is on disk, or has failed.
func (b *hostBook) put(now time.Time, c change) {
	switch {
	case b.broken != nil:
		c.done(now, fmt.Errorf("%w: repair it, or move it away to begin a new one, and start vine again", b.broken))
	case len(b.queue) >= changesMax:
		c.done(now, errHostsBusy)
	default:
		b.queue = append(b.queue, c)
		b.next(now)
	}
}

// next makes the first change that waits, unless one is being written.
func (b *hostBook) next(now time.Time) {
	for !b.busy && len(b.queue) > 0 {
		c := b.queue[0]
		b.queue = b.queue[1:]
		old := b.l.n.ledger.Load()
		made, err := c.of(now, *old)
		text := made.Encode()
		switch {
		case err != nil:
			c.done(now, err)
			continue
		case text == old.Encode():
			c.done(now, nil)
			continue
		}
		dir := b.l.clerk.dir
		b.busy = b.l.clerk.put(func() func(time.Time, *loop) {
			err := dir.SetNote(hostsNote, text)
			return func(now time.Time, l *loop) {
				b.busy = false
				if err == nil {
					l.n.ledger.Store(&made)
				} else {
					err = fmt.Errorf("the disk of this VR cannot be written: %w", err)
				}
				c.done(now, err)
				b.next(now)
			}
		})
		if !b.busy {
			c.done(now, errHostsBusy)
		}
	}
}

// pool is where this VR's hosts get their addresses. own are the addresses of this machine.
func (n *Node) pool(own []netip.Addr) hosts.Pool {
	v := n.directory.Load().view
	e, _ := v.Enrolment(n.self.Router)
	members := membersOf(v, e.Site)
	own = append(ownAddresses(v, n.self.Router), own...)
	return hosts.Pool{
		Blocks: e.Blocks,
		Own:    func(a netip.Addr) bool { return slices.Contains(own, a) },
		Member: func(a netip.Addr) bool { return len(members[a]) > 0 },
	}
}

// membersOf returns the VNs of each host of a site, by name, sorted.
func membersOf(v *tables.View, site string) map[netip.Addr][]string {
	members := map[netip.Addr][]string{}
	for _, vn := range v.VNs() {
		m, _ := v.Manifest(vn.ID)
		if vn.State == tables.VNShutdown || !slices.ContainsFunc(m.Rosters, func(r tables.RosterLeaf) bool { return r.Site == site }) {
			continue
		}
		r, _ := v.Roster(vn.ID, site)
		for _, addr := range r.Hosts {
			members[addr] = append(members[addr], vn.Name)
		}
	}
	for _, names := range members {
		slices.Sort(names)
	}
	return members
}

// machineAddresses returns the addresses of this machine.
func machineAddresses() []netip.Addr {
	var list []netip.Addr
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p.Addr().Unmap())
		}
	}
	return list
}

// changeHosts has a change of the list made and waits until it is on disk.
func (n *Node) changeHosts(ctx context.Context, of func(now time.Time, l hosts.Ledger) (hosts.Ledger, error)) error {
	stored := make(chan error, 1)
	checked := func(now time.Time, l hosts.Ledger) (hosts.Ledger, error) {
		l, err := of(now, l)
		return l, hostsError(err)
	}
	if err := n.call(ctx, func(now time.Time, l *loop) {
		l.book.put(now, change{of: checked, done: func(now time.Time, err error) {
			stored <- err
			l.book.tend(now)
		}})
	}); err != nil {
		return err
	}
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		return net.ErrClosed
	}
}

// hostsError makes what the list refuses an error of the management interface.
func hostsError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hosts.ErrUnknown):
		return fmt.Errorf("%w: %w", control.ErrNotFound, err)
	default:
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	}
}

// tend goes through what hosts have asked for: it drops what is fulfilled, clears what the rights of this VR's own
// identity and the site's consent let it clear, and denies what the authority has refused.
func (b *hostBook) tend(now time.Time) {
	l := b.l
	ledger := l.n.ledger.Load()
	if len(ledger.Requests) == 0 || b.broken != nil || b.busy || len(b.queue) > 0 {
		return // it is called again when the last change is on disk
	}
	v := l.store.Snapshot()
	e, ok := v.Enrolment(l.n.self.Router)
	if !ok {
		return
	}
	members := membersOf(v, e.Site)
	in := func(addr netip.Addr, vn string) bool { return slices.Contains(members[addr], vn) }
	if _, dropped := ledger.Prune(now, in); dropped {
		b.put(now, change{
			of: func(now time.Time, l hosts.Ledger) (hosts.Ledger, error) {
				l, _ = l.Prune(now, in)
				return l, nil
			},
			done: b.tended,
		})
		return
	}
	may, keeps := map[string]bool{}, l.n.keepsHosts() == nil
	for _, r := range ledger.Requests {
		if _, known := may[r.VN]; !known && r.State != hosts.Denied {
			may[r.VN] = policy.MayJoin(v, now, tables.PublicOf(l.n.self.identity), r.VN, e.Site)
		}
		switch {
		case r.State == hosts.Waiting && may[r.VN] && keeps:
			b.clear(now, r)
			return
		case r.State == hosts.Approved && r.Signed == "" && may[r.VN]:
			b.sign(now, r)
			return
		case r.State == hosts.Approved && r.Signed != "":
			id, _ := hex.DecodeString(r.Signed)
			receipt, answered := v.Receipt(tables.Hash(id))
			if answered && receipt.State == tables.StateRefused {
				b.put(now, change{
					of: func(now time.Time, l hosts.Ledger) (hosts.Ledger, error) {
						l, _, err := l.Deny(now, r.ID, receipt.Reason)
						return l, err
					},
					done: b.tended,
				})
				return
			}
		}
	}
}

// tended goes on with the next request.
func (b *hostBook) tended(now time.Time, err error) {
	if err != nil {
		b.l.n.log.Warn("request of a host not answered; will try again", "err", err)
		return // forget calls again in some minutes
	}
	b.tend(now)
}

// clear approves a request by the rights of the VR itself.
func (b *hostBook) clear(now time.Time, r hosts.Request) {
	p := b.l.n.pool(machineAddresses())
	b.put(now, change{
		of: func(now time.Time, l hosts.Ledger) (hosts.Ledger, error) {
			l, _, host, err := l.Approve(now, p, r.ID, "", netip.Addr{})
			if err != nil {
				// Nothing a machine can do about it: a person has to look.
				l, _, err = l.Deny(now, r.ID, clip(err.Error()))
				return l, err
			}
			b.l.n.log.Info("request of a host cleared by the site", "host", host.Name, "mac", string(r.MAC), "addr", host.Addr.String(), "vn", r.VN)
			return l, nil
		},
		done: b.tended,
	})
}

// sign asks the authority in the name of this VR to let a host in.
func (b *hostBook) sign(now time.Time, r hosts.Request) {
	l := b.l
	d, err := policy.NewRequest(now, l.n.options.Rand, l.n.self.identity, policy.OpVNJoin, policy.VNHostsArgs{VN: r.VN, Hosts: []netip.Addr{r.Addr}})
	if err != nil {
		l.n.log.Error("request of a host not signed", "err", err)
		return
	}
	stored := make(chan error, 1)
	l.submit(now, d, stored)
	// Whether it is on disk or, with a disk that fails, kept for it: it is on its way. Only a refusal is an answer.
	refused := ""
	select {
	case err := <-stored:
		if errors.Is(err, control.ErrRefused) {
			refused = clip(err.Error())
		}
	default:
	}
	hash := d.Hash()
	b.put(now, change{
		of: func(now time.Time, l hosts.Ledger) (hosts.Ledger, error) {
			if refused != "" {
				l, _, err := l.Deny(now, r.ID, refused)
				return l, err
			}
			return l.Sign(r.ID, hex.EncodeToString(hash[:]))
		},
		done: b.tended,
	})
}

// clip makes text fit for a reason.
func clip(text string) string { return text[:min(len(text), 200)] }

// LANHosts implements control.Router.
func (a api) LANHosts(context.Context) ([]control.LANHost, error) {
	members := a.membersHere()
	list := []control.LANHost{}
	for _, h := range a.n.ledger.Load().Hosts {
		list = append(list, lanHost(h, members))
	}
	return list, nil
}

func (a api) membersHere() map[netip.Addr][]string {
	v := a.view()
	e, _ := v.Enrolment(a.n.self.Router)
	return membersOf(v, e.Site)
}

func lanHost(h hosts.Host, members map[netip.Addr][]string) control.LANHost {
	out := control.LANHost{Name: h.Name, Addr: h.Addr, MAC: string(h.MAC), Added: h.Added, VNs: []string{}}
	out.VNs = append(out.VNs, members[h.Addr]...)
	return out
}

// AddHost implements control.Router.
func (a api) AddHost(ctx context.Context, ask control.HostAsk) (control.LANHost, error) {
	wish := hosts.Ask{Name: ask.Name, Addr: ask.Addr.Unmap(), IPv6: ask.IPv6}
	if ask.MAC != "" {
		var err error
		if wish.MAC, err = hosts.ParseMAC(ask.MAC); err != nil {
			return control.LANHost{}, hostsError(err)
		}
	}
	p := a.n.pool(machineAddresses())
	if !wish.Addr.IsValid() && !slices.ContainsFunc(p.Blocks, func(b netip.Prefix) bool { return b.Addr().Is4() }) {
		wish.IPv6 = true
	}
	if err := a.n.keepsHosts(); err != nil {
		return control.LANHost{}, err
	}
	var host hosts.Host
	err := a.n.changeHosts(ctx, func(now time.Time, l hosts.Ledger) (_ hosts.Ledger, err error) {
		l, host, err = l.Add(now, p, wish)
		return l, err
	})
	if err != nil {
		return control.LANHost{}, err
	}
	return lanHost(host, a.membersHere()), nil
}

// RemoveHost implements control.Router.
func (a api) RemoveHost(ctx context.Context, name string) (control.LANHost, error) {
	var host hosts.Host
	err := a.n.changeHosts(ctx, func(_ time.Time, l hosts.Ledger) (_ hosts.Ledger, err error) {
		l, host, err = l.Remove(name)
		return l, err
	})
	if err != nil {
		return control.LANHost{}, err
	}
	return lanHost(host, a.membersHere()), nil
}

// HostRequests implements control.Router.
func (a api) HostRequests(context.Context) ([]control.HostRequest, error) {
	members := a.membersHere()
	now := time.Now()
	// What is fulfilled is dropped from disk later; it is not shown any more.
	ledger, _ := a.n.ledger.Load().Prune(now, func(addr netip.Addr, vn string) bool { return slices.Contains(members[addr], vn) })
	list := []control.HostRequest{}
	for _, r := range ledger.Requests {
		list = append(list, hostRequest(r))
	}
	return list, nil
}

func hostRequest(r hosts.Request) control.HostRequest {
	return control.HostRequest{
		ID: r.ID, MAC: string(r.MAC), Seen: r.Seen, Name: r.Name, VN: r.VN, Asked: r.Asked, State: string(r.State), Reason: r.Reason, Addr: r.Addr,
	}
}

// AnswerHost implements control.Router.
func (a api) AnswerHost(ctx context.Context, id uint64, verdict control.HostVerdict) (control.HostRequest, error) {
	if err := a.n.keepsHosts(); err != nil && verdict.Approve {
		return control.HostRequest{}, err
	}
	var answered hosts.Request
	p := a.n.pool(machineAddresses())
	err := a.n.changeHosts(ctx, func(now time.Time, l hosts.Ledger) (_ hosts.Ledger, err error) {
		if verdict.Approve {
			l, answered, _, err = l.Approve(now, p, id, verdict.Name, verdict.Addr.Unmap())
		} else {
			l, answered, err = l.Deny(now, id, verdict.Reason)
		}
		return l, err
	})
	return hostRequest(answered), err
}

// Standing returns what the VR knows of a machine on its LAN.
func (n *Node) Standing(mac hosts.MAC, addr netip.Addr) control.Standing {
	v := n.directory.Load().view
	e, _ := v.Enrolment(n.self.Router)
	root, _ := v.Root()
	s := control.Standing{Space: root.Space, Blocks: e.Blocks, Site: e.Site, VR: n.self.Name}
	ledger, members := n.ledger.Load(), membersOf(v, e.Site)
	for _, h := range ledger.ByMAC(mac) {
		s.Hosts = append(s.Hosts, lanHost(h, members))
	}
	if h, ok := ledger.ByAddr(addr); ok && h.MAC == "" {
		s.Hosts = append(s.Hosts, lanHost(h, members))
	} else if !ok && len(members[addr]) > 0 {
		s.Hosts = append(s.Hosts, control.LANHost{Addr: addr, VNs: members[addr]}) // a member that nobody has named
	}
	pruned, _ := ledger.Prune(time.Now(), func(addr netip.Addr, vn string) bool { return slices.Contains(members[addr], vn) })
	for _, r := range pruned.OfMAC(mac) {
		s.Requests = append(s.Requests, hostRequest(r))
	}
	return s
}

// FileHost notes that a machine on the LAN wants to be in a VN. When it returns without an error the request is on
// this VR's disk; an error that wraps control.ErrRefused says why not.
func (n *Node) FileHost(ctx context.Context, mac hosts.MAC, seen netip.Addr, name, vn string) (control.HostRequest, error) {
	var filed hosts.Request
	fresh := false
	err := n.changeHosts(ctx, func(now time.Time, l hosts.Ledger) (_ hosts.Ledger, err error) {
		last := l.LastID
		l, filed, err = l.File(now, mac, seen, name, vn)
		fresh = l.LastID != last
		return l, err
	})
	if err == nil && fresh {
		n.log.Info("a host asks to be in a VN", "request", filed.ID, "mac", string(mac), "from", seen.String(), "vn", vn)
	}
	return hostRequest(filed), err
}
