package hostnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Plan is what a virtual router needs of its machine. It is checked by Apply.
type Plan struct {
	// Device is the name of the TUN or TAP device, which must exist: open it first. Empty: packets are taken off the LAN
	// interfaces, by packet sockets or by netfilter queues. Then the kernel forwards nothing for the ViNe space that comes in by
	// a LAN interface, and no host on one can reach an address of the machine inside it.
	Device string

	// MTU is set on every TUN or TAP device of the plan, in bytes; 0 leaves the MTUs alone.
	MTU int

	// Space is the ViNe space: what is routed into Device. Prefixes must not overlap.
	Space []netip.Prefix

	// Attachments are the LAN interfaces. A router without any only relays.
	Attachments []Attachment
}

// An Attachment is one LAN interface and the hosts on it.
type Attachment struct {
	// Interface is the LAN interface. It must exist and be up.
	Interface string

	// Blocks are the addresses of hosts on the interface, inside the ViNe space. Without Device,
	// no two attachments may have blocks that overlap.
	Blocks []netip.Prefix

	// Subnets are networks of the LAN itself that lie inside the ViNe space, since its hosts are members by the
	// addresses that they have anyway. The machine may have routes to them on Interface.
	Subnets []netip.Prefix

	// Gateways are addresses, inside Blocks, that the router itself has on the interface, for hosts
	// that have no other network in common with it. Usually empty.
	Gateways []netip.Addr

	// Device is the attachment's own TUN device, and Table its own routing table, 1 to 252 or from
	// 256. Both are set or neither. With them, packets that come in by Interface or Device see only
	// this attachment's blocks and the ViNe space. Where the plan has no Device, attachments have none either, and the table is
	// for packets that leave by Interface.
	Device string
	Table  int

	// Queue is the netfilter queue into which TCP packets from Interface to the ViNe space go; others go into the next one.
	// Zero: none do. Only where the plan has no Device.
	Queue uint16
}

const (
	// protocol marks our routes (rtm_protocol), so that we never take another's for ours. No
	// routing daemon is assigned it. `ip route show proto 84` lists them.
	protocol = 84

	// metricRoute is that of routes in use. It is unusual, so that adding never collides with
	// a route made by hand.
	metricRoute = 84

	// metricGuard is worse than any metric in use, and still fits a signed 32-bit integer.
	metricGuard = 2_000_000_000

	// rulePriority lies between those of the local table (0) and the main table (32,766).
	rulePriority = 8463

	// tableTaken holds what becomes of packets that come in by a LAN interface where they are taken off it: nothing.
	tableTaken = 8462

	tableMain    = 254
	tableDefault = 253
	tableLocal   = 255
)

// A route is one route of ours. Invariant: Interface is empty exactly if Unreachable or Blackhole.
type route struct {
	Prefix      netip.Prefix `json:"prefix"`
	Interface   string       `json:"interface,omitempty"`
	Unreachable bool         `json:"unreachable,omitempty"`
	Blackhole   bool         `json:"blackhole,omitempty"` // unreachable, without a word
	Table       int          `json:"table"`
	Metric      int          `json:"metric"`
}

// A rule sends packets to a table that came in by an interface, or that the machine sends and that are to leave by one.
type rule struct {
	Incoming string `json:"incoming,omitempty"`
	Outgoing string `json:"outgoing,omitempty"`
	Table    int    `json:"table"`
	IPv6     bool   `json:"ipv6,omitempty"`
}

// A queueing puts packets of one family that come in by an interface for the ViNe space into netfilter queues: TCP into
// Queue, others into the next one. It is comparable, so the space is a text.
type queueing struct {
	Interface string `json:"interface"`
	Queue     uint16 `json:"queue"`
	Space     string `json:"space"` // prefixes with commas in between
	IPv6      bool   `json:"ipv6,omitempty"`
}

// An address is one of the router's own on a LAN interface.
type address struct {
	Addr      netip.Addr `json:"addr"`
	Interface string     `json:"interface"`
}

// A state is everything we have on a machine, each list in the order of making it. Undoing goes
// backwards. The lists themselves are made in the order guards, sysctls, addresses, routes, queueings, rules.
type state struct {
	Guards    []route    `json:"guards,omitempty"`
	Sysctls   []sysctl   `json:"sysctls,omitempty"`
	Addresses []address  `json:"addresses,omitempty"`
	Routes    []route    `json:"routes,omitempty"`
	Queueings []queueing `json:"queueings,omitempty"`
	Rules     []rule     `json:"rules,omitempty"`
}

// desired returns what the plan makes, but for sysctls, which depend on the machine.
func (p Plan) desired() state {
	var s state
	for _, space := range p.Space {
		s.Guards = append(s.Guards, route{Prefix: space, Unreachable: true, Table: tableMain, Metric: metricGuard})
	}
	if slices.Contains(p.families(), false) {
		for _, d := range p.devices() {
			s.Addresses = append(s.Addresses, address{Addr: unnumbered, Interface: d})
		}
	}
	if p.Device == "" {
		p.take(&s)
	}
	for _, space := range p.Space {
		if p.Device != "" {
			s.Routes = append(s.Routes, route{Prefix: space, Interface: p.Device, Table: tableMain, Metric: metricRoute})
		}
	}
	for i, a := range p.Attachments {
		table := tableMain
		if a.Table != 0 {
			table = a.Table
		}
		if a.Device != "" {
			// The table's own guard: what is not routed here must not fall through to the main table.
			for _, space := range p.Space {
				s.Routes = append(s.Routes,
					route{Prefix: space, Unreachable: true, Table: table, Metric: metricGuard},
					route{Prefix: space, Interface: a.Device, Table: table, Metric: metricRoute})
			}
			for _, ipv6 := range p.families() {
				s.Rules = append(s.Rules,
					rule{Incoming: a.Interface, Table: table, IPv6: ipv6},
					rule{Incoming: a.Device, Table: table, IPv6: ipv6})
			}
		}
		for _, b := range a.Blocks {
			s.Routes = append(s.Routes, route{Prefix: b, Interface: a.Interface, Table: table, Metric: metricRoute})
			if p.Device == "" && table != tableMain {
				// With reverse-path filtering the kernel looks into the main table whether anybody is at a host's address before
				// it answers its ARP. Who exactly does not matter where it is loose, nor which of several blocks is found.
				s.Routes = append(s.Routes, route{Prefix: b, Interface: a.Interface, Table: tableMain, Metric: metricRoute + 1 + i})
			}
		}
		for _, g := range a.Gateways {
			s.Addresses = append(s.Addresses, address{Addr: g, Interface: a.Interface})
		}
	}
	return s
}

// take adds what keeps the machine from doing anything with packets that are taken off the LAN interfaces.
func (p Plan) take(s *state) {
	for _, space := range p.Space {
		s.Routes = append(s.Routes, route{Prefix: space, Blackhole: true, Table: tableTaken, Metric: metricRoute})
	}
	for _, ipv6 := range p.families() {
		for _, name := range p.interfaces() {
			s.Rules = append(s.Rules, rule{Incoming: name, Table: tableTaken, IPv6: ipv6})
		}
		for _, a := range p.Attachments {
			if a.Table != 0 {
				s.Rules = append(s.Rules, rule{Outgoing: a.Interface, Table: a.Table, IPv6: ipv6})
			}
			if a.Queue != 0 {
				s.Queueings = append(s.Queueings, queueing{Interface: a.Interface, Queue: a.Queue, Space: p.spaceText(ipv6), IPv6: ipv6})
			}
		}
	}
}

// spaceText returns the ViNe space's prefixes of one family.
func (p Plan) spaceText(ipv6 bool) string {
	var list []string
	for _, s := range p.Space {
		if s.Addr().Is6() == ipv6 {
			list = append(list, s.String())
		}
	}
	return strings.Join(list, ",")
}

// unnumbered is the IPv4 address of TUN devices. Nobody talks to it: it has the scope of the machine
// itself. Without any address Linux takes loose reverse-path filtering for strict
// (__fib_validate_source: no_addr), and drops the ICMP errors that the router itself sends to its
// hosts: their source is in a block, which is routed to the LAN. It is link-local (RFC 3927) so that
// whoever looks for addresses at which this machine can be reached passes it over.
var unnumbered = netip.AddrFrom4([4]byte{169, 254, 84, 63})

// families returns which of IPv4 (false) and IPv6 (true) the space has.
func (p Plan) families() []bool {
	var f []bool
	for _, ipv6 := range []bool{false, true} {
		if slices.ContainsFunc(p.Space, func(s netip.Prefix) bool { return s.Addr().Is6() == ipv6 }) {
			f = append(f, ipv6)
		}
	}
	return f
}

// devices returns the plan's TUN devices.
func (p Plan) devices() []string {
	var d []string
	if p.Device != "" {
		d = append(d, p.Device)
	}
	for _, a := range p.Attachments {
		if a.Device != "" {
			d = append(d, a.Device)
		}
	}
	return d
}

// interfaces returns the plan's LAN interfaces, each once.
func (p Plan) interfaces() []string {
	var names []string
	for _, a := range p.Attachments {
		if !slices.Contains(names, a.Interface) {
			names = append(names, a.Interface)
		}
	}
	return names
}

// check returns every way in which the plan contradicts itself.
func (p Plan) check() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if p.Device == "" && len(p.Attachments) == 0 {
		problem("the plan names neither a TUN device nor a LAN interface to take packets off")
	}
	if len(p.Space) == 0 {
		problem("the plan has no ViNe space")
	}
	for i, s := range p.Space {
		if !s.IsValid() || s != s.Masked() || s.Bits() == 0 || s.Addr().Is4In6() {
			problem("ViNe space %v is not a prefix such as 10.192.0.0/10", s)
		}
		for _, other := range p.Space[:i] {
			if s.Overlaps(other) {
				problem("ViNe space %v overlaps %v", s, other)
			}
		}
	}
	seen := map[string]bool{p.Device: true}
	tables := make(map[int]bool)
	for i, a := range p.Attachments {
		if a.Interface == "" || slices.Contains(p.devices(), a.Interface) {
			problem("attachment %d: %q is no LAN interface", i+1, a.Interface)
		}
		switch {
		case p.Device == "" && a.Device != "":
			problem("attachment %s: it has a TUN device, %s, but packets are to be taken off the LAN interface", a.Interface, a.Device)
		case p.Device != "" && (a.Device == "") != (a.Table == 0):
			problem("attachment %s: a TUN device of its own needs a routing table of its own, and the other way round", a.Interface)
		case p.Device != "" && a.Queue != 0:
			problem("attachment %s: packets go into a TUN device or into a netfilter queue, not both", a.Interface)
		}
		if a.Table != 0 {
			if a.Device != "" && seen[a.Device] {
				problem("attachment %s: TUN device %s is another's", a.Interface, a.Device)
			}
			if a.Table < 1 || a.Table == tableMain || a.Table == tableLocal || a.Table == tableDefault || a.Table == tableTaken || tables[a.Table] {
				problem("attachment %s: table %d is reserved or another's", a.Interface, a.Table)
			}
			seen[a.Device], tables[a.Table] = a.Device != "", true
		}
		for _, b := range a.Blocks {
			if !b.IsValid() || b != b.Masked() || !p.inSpace(b) {
				problem("attachment %s: block %v is not inside the ViNe space %v", a.Interface, b, p.Space)
			}
			for _, other := range p.Attachments[:i] {
				if overlap(b, other.Blocks) && (a.Table == 0 && other.Table == 0 || a.Interface == other.Interface) {
					problem("attachments %s and %s: block %v is on both: give one its own TUN device and table", other.Interface, a.Interface, b)
				}
			}
		}
		for _, g := range a.Gateways {
			if !overlap(netip.PrefixFrom(g, g.BitLen()), a.Blocks) {
				problem("attachment %s: gateway %v is in none of its blocks", a.Interface, g)
			}
		}
		for _, other := range p.Attachments[:i] {
			if other.Interface == a.Interface && (a.Table != 0 || other.Table != 0) {
				problem("attachment %s: an interface with a table of its own can be one attachment only", a.Interface)
			}
		}
	}
	return errors.Join(errs...)
}

func (p Plan) inSpace(b netip.Prefix) bool {
	return slices.ContainsFunc(p.Space, func(s netip.Prefix) bool {
		return s.Overlaps(b) && s.Bits() <= b.Bits()
	})
}

func overlap(b netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, b.Overlaps)
}
