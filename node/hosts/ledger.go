package hosts

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// ErrUnknown is wrapped by errors about a host or a request that the ledger does not have.
var ErrUnknown = errors.New("not in this VR's list of hosts")

// A Host is a machine that has an address of this VR's blocks.
type Host struct {
	Name  string     `json:"name"` // [a-z0-9-]{1,63}, unique here
	Addr  netip.Addr `json:"addr"`
	MAC   MAC        `json:"mac,omitempty"`
	Added time.Time  `json:"added"`
}

// A Ledger is the hosts of one VR and what they ask for. It is immutable: operations return a new one, or on an
// error what it was.
type Ledger struct {
	Hosts []Host `json:"hosts"` // sorted by name
	// Released are addresses that were given back, the one that has rested longest first; at most releasedMax.
	Released []netip.Addr `json:"released"`
	Requests []Request    `json:"requests"` // by ID
	LastID   uint64       `json:"last_id"`  // of a request
}

const (
	// hostsMax bounds the ledger, which is written whole with each change: some 400 KB.
	hostsMax = 4096
	// releasedMax is more than a block of IPv4 has. Of a larger block the addresses that have rested longest are
	// forgotten, and so are the first to be given again, as they would be anyway.
	releasedMax = 1024
)

// A Pool is where addresses come from.
type Pool struct {
	Blocks []netip.Prefix        // of the VR
	Own    func(netip.Addr) bool // an address of the VR's machine
	Member func(netip.Addr) bool // of some VN, whether or not the ledger knows the host
}

// An Ask is what is wished for a host.
type Ask struct {
	Name string
	MAC  MAC        // may be empty
	Addr netip.Addr // invalid: the next free one
	IPv6 bool       // of a block of IPv6; used without Addr
}

// Add enters a host. What is there already with the same name, and with the address and the MAC that are asked for, is
// returned as it is: to ask twice is to ask once.
func (l Ledger) Add(now time.Time, p Pool, a Ask) (Ledger, Host, error) {
	if !tables.ValidName(a.Name) {
		return l, Host{}, fmt.Errorf("%.70q is not a name of a host: use 1 to 63 of a-z, 0-9 and -", a.Name)
	}
	if h, ok := l.ByName(a.Name); ok {
		if (!a.Addr.IsValid() || a.Addr == h.Addr) && (a.MAC == "" || a.MAC == h.MAC) {
			return l, h, nil
		}
		return l, Host{}, fmt.Errorf("host %s exists already, with the address %v%s: choose another name, or remove it first", h.Name, h.Addr, h.MAC.with())
	}
	if len(l.Hosts) >= hostsMax {
		return l, Host{}, fmt.Errorf("this VR has %d hosts, the most that it keeps: remove some", len(l.Hosts))
	}
	addr, err := a.Addr, error(nil)
	if addr.IsValid() {
		err = l.fit(p, addr)
	} else {
		addr, err = l.free(p, a.IPv6)
	}
	if err != nil {
		return l, Host{}, err
	}
	if a.MAC != "" {
		for _, h := range l.Hosts {
			if h.MAC == a.MAC && h.Addr.Is4() == addr.Is4() {
				return l, Host{}, fmt.Errorf("the machine %s is host %s already, with the address %v", a.MAC, h.Name, h.Addr)
			}
		}
	}
	h := Host{Name: a.Name, Addr: addr, MAC: a.MAC, Added: now.UTC().Truncate(time.Second)}
	i, _ := slices.BinarySearchFunc(l.Hosts, h.Name, byName)
	l.Hosts = slices.Insert(slices.Clone(l.Hosts), i, h)
	l.Released = slices.DeleteFunc(slices.Clone(l.Released), func(r netip.Addr) bool { return r == addr })
	return l, h, nil
}

func byName(h Host, name string) int { return cmp.Compare(h.Name, name) }

func (m MAC) with() string {
	if m == "" {
		return ""
	}
	return " and the MAC " + string(m)
}

// fit returns why addr cannot be given to a host.
func (l Ledger) fit(p Pool, addr netip.Addr) error {
	block, ok := blockOf(p.Blocks, addr)
	switch {
	case !ok:
		return fmt.Errorf("%v is not in this VR's blocks, which are %v", addr, p.Blocks)
	case special(block, addr):
		return fmt.Errorf("%v is the network or the broadcast address of %v: no host can have it", addr, block)
	case p.Own != nil && p.Own(addr):
		return fmt.Errorf("%v is an address of the VR itself", addr)
	}
	for _, h := range l.Hosts {
		if h.Addr == addr {
			return fmt.Errorf("%v belongs to host %s", addr, h.Name)
		}
	}
	return nil
}

func blockOf(blocks []netip.Prefix, addr netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(blocks, func(b netip.Prefix) bool { return b.Contains(addr) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return blocks[i].Masked(), true
}

// special reports whether addr stands for the whole block: its first address (with IPv6 the anycast address of its
// routers, RFC 4291, Section 2.6.1), and with IPv4 its last one. Blocks of two addresses or one have neither.
func special(block netip.Prefix, addr netip.Addr) bool {
	if block.Addr().BitLen()-block.Bits() < 2 {
		return false
	}
	return addr == block.Addr() || addr.Is4() && addr == lastOf(block)
}

func lastOf(block netip.Prefix) netip.Addr {
	b := block.Addr().AsSlice()
	for i := block.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// gateway is kept for routers: the address after the first, by custom. A host may have it that asks for it.
func gateway(block netip.Prefix) netip.Addr { return block.Addr().Next() }

// free returns the address that the next host gets: the lowest that nobody had, else the one that has rested longest.
func (l Ledger) free(p Pool, ipv6 bool) (netip.Addr, error) {
	used := make(map[netip.Addr]bool, len(l.Hosts)+len(l.Released))
	for _, h := range l.Hosts {
		used[h.Addr] = true
	}
	give := func(addr netip.Addr) bool {
		block, ok := blockOf(p.Blocks, addr)
		return ok && !used[addr] && !special(block, addr) && addr != gateway(block) &&
			(p.Own == nil || !p.Own(addr)) && (p.Member == nil || !p.Member(addr))
	}
	rests := make(map[netip.Addr]bool, len(l.Released))
	for _, addr := range l.Released {
		rests[addr] = true
	}
	var family []netip.Prefix
	for _, block := range p.Blocks {
		if block.Addr().Is6() == ipv6 {
			family = append(family, block.Masked())
		}
	}
	if len(family) == 0 {
		return netip.Addr{}, fmt.Errorf("this VR has no block of %s: its blocks are %v", map[bool]string{false: "IPv4", true: "IPv6"}[ipv6], p.Blocks)
	}
	for _, block := range family {
		tries := 0
		for addr := block.Addr(); addr.IsValid() && block.Contains(addr) && tries < triesMax; addr = addr.Next() {
			if tries++; give(addr) && !rests[addr] {
				return addr, nil
			}
		}
	}
	for _, addr := range l.Released {
		if addr.Is6() == ipv6 && give(addr) {
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of %v is free: remove hosts that are gone", family)
}

// triesMax bounds the search of one block: more than all hosts of a ledger, what rests, and 60,000 members besides.
const triesMax = 1 << 16

// Remove takes a host out and releases its address.
func (l Ledger) Remove(name string) (Ledger, Host, error) {
	i, found := slices.BinarySearchFunc(l.Hosts, name, byName)
	if !found {
		return l, Host{}, fmt.Errorf("host %.70q is %w", name, ErrUnknown)
	}
	h := l.Hosts[i]
	l.Hosts = slices.Delete(slices.Clone(l.Hosts), i, i+1)
	l.Released = append(slices.Clone(l.Released), h.Addr)
	l.Released = l.Released[max(0, len(l.Released)-releasedMax):]
	return l, h, nil
}

// ByName returns the host of that name.
func (l Ledger) ByName(name string) (Host, bool) {
	i, found := slices.BinarySearchFunc(l.Hosts, name, byName)
	if !found {
		return Host{}, false
	}
	return l.Hosts[i], true
}

// ByAddr returns the host that has addr.
func (l Ledger) ByAddr(addr netip.Addr) (Host, bool) {
	i := slices.IndexFunc(l.Hosts, func(h Host) bool { return h.Addr == addr })
	if i < 0 {
		return Host{}, false
	}
	return l.Hosts[i], true
}

// ByMAC returns the hosts that are the machine with that MAC, IPv4 first.
func (l Ledger) ByMAC(mac MAC) []Host {
	var list []Host
	for _, h := range l.Hosts {
		if mac != "" && h.MAC == mac {
			list = append(list, h)
		}
	}
	slices.SortFunc(list, func(a, b Host) int { return a.Addr.Compare(b.Addr) })
	return list
}
