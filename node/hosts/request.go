package hosts

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A State says where a host's request stands.
type State string

// The states. A request whose host has become a member is dropped: the roster says so.
const (
	Waiting  State = "waiting"  // for a person
	Approved State = "approved" // an address is given; the authority has yet to let it into the VN
	Denied   State = "denied"
)

// A Request is what a machine on the LAN has asked for itself: to be in a VN.
type Request struct {
	ID     uint64     `json:"id"`
	MAC    MAC        `json:"mac"`
	Seen   netip.Addr `json:"seen"` // the address that it asked from
	Name   string     `json:"name"` // that it wants
	VN     string     `json:"vn"`
	Asked  time.Time  `json:"asked"`
	State  State      `json:"state"`
	Reason string     `json:"reason,omitempty"` // of a denial
	Answer time.Time  `json:"answer,omitzero"`  // when a person denied it
	Addr   netip.Addr `json:"addr,omitzero"`    // given with the approval
	Signed string     `json:"signed,omitempty"` // the hash of the request document that this VR signed for it, if it did
}

const (
	// requestsMax bounds the requests of all machines, requestsPerMAC those of one. MACs can be made up at will on a LAN,
	// so the first bound is what counts; the second keeps one machine that means no harm from taking all.
	requestsMax    = 256
	requestsPerMAC = 4
	// requestLife is how long a request waits for a person, denialLife how long a denial is shown, denialRest how long
	// it stands before the machine may ask again.
	requestLife = 30 * 24 * time.Hour
	denialLife  = 7 * 24 * time.Hour
	denialRest  = time.Hour
	reasonMax   = 256
)

// File notes that the machine mac, seen at an address, wants to be in a VN. The same wish again is the same request. name
// may be empty.
func (l Ledger) File(now time.Time, mac MAC, seen netip.Addr, name, vn string) (Ledger, Request, error) {
	if !tables.ValidName(vn) {
		return l, Request{}, fmt.Errorf("%.70q is not a name of a VN: use 1 to 63 of a-z, 0-9 and -", vn)
	}
	if name == "" {
		name = mac.name()
		if known := l.ByMAC(mac); len(known) > 0 {
			name = known[0].Name
		}
	}
	if !tables.ValidName(name) {
		return l, Request{}, fmt.Errorf("%.70q is not a name of a host: use 1 to 63 of a-z, 0-9 and -", name)
	}
	if h, ok := l.ByName(name); ok && h.MAC != mac {
		return l, Request{}, fmt.Errorf("the name %s is taken by another machine: choose another", name)
	}
	l.Requests = slices.DeleteFunc(slices.Clone(l.Requests), func(r Request) bool { return r.ended(now) })
	mine := 0
	for i, r := range l.Requests {
		if r.MAC != mac {
			continue
		}
		if r.VN == vn && (r.State != Denied || now.Before(r.Answer.Add(denialRest))) {
			return l, r, nil
		}
		if r.VN == vn {
			l.Requests = slices.Delete(l.Requests, i, i+1)
			break
		}
	}
	for _, r := range l.Requests {
		if r.MAC == mac {
			mine++
		}
	}
	if len(l.Requests) >= requestsMax {
		// What was denied makes room: else whoever has made up many machines would keep the others out after all were denied.
		if i := slices.IndexFunc(l.Requests, func(r Request) bool { return r.State == Denied }); i >= 0 {
			l.Requests = slices.Delete(l.Requests, i, i+1)
		}
	}
	switch {
	case mine >= requestsPerMAC:
		return l, Request{}, fmt.Errorf("this machine has %d requests already: wait until they are answered", mine)
	case len(l.Requests) >= requestsMax:
		return l, Request{}, fmt.Errorf("%d requests wait at this VR, the most that it keeps: ask its administrator", len(l.Requests))
	}
	l.LastID++
	r := Request{ID: l.LastID, MAC: mac, Seen: seen, Name: name, VN: vn, Asked: now.UTC().Truncate(time.Second), State: Waiting}
	l.Requests = append(l.Requests, r)
	return l, r, nil
}

// ended reports whether time has ended a request.
func (r Request) ended(now time.Time) bool {
	if r.State == Denied {
		return now.After(r.Answer.Add(denialLife))
	}
	return now.After(r.Asked.Add(requestLife))
}

// Approve gives the machine of a request an address, if it has none of the family, and returns the host. name and addr
// may be left out: then it is the name that was asked for and the next free address. Twice is the same as once.
func (l Ledger) Approve(now time.Time, p Pool, id uint64, name string, addr netip.Addr) (Ledger, Request, Host, error) {
	i, err := l.find(id)
	if err != nil {
		return l, Request{}, Host{}, err
	}
	before := l
	r := l.Requests[i]
	if name != "" {
		r.Name = name
	}
	host, ok := Host{}, false
	for _, h := range l.ByMAC(r.MAC) {
		if !addr.IsValid() || h.Addr.Is4() == addr.Is4() {
			host, ok = h, true
			break
		}
	}
	switch {
	case !ok:
		ipv6 := !slices.ContainsFunc(p.Blocks, func(b netip.Prefix) bool { return b.Addr().Is4() })
		if l, host, err = l.Add(now, p, Ask{Name: r.Name, MAC: r.MAC, Addr: addr, IPv6: ipv6}); err != nil {
			return before, Request{}, Host{}, err
		}
		if host.MAC != r.MAC {
			return before, Request{}, Host{}, fmt.Errorf("the name %s is taken by another machine: choose another", r.Name)
		}
	case addr.IsValid() && addr != host.Addr:
		return before, Request{}, Host{}, fmt.Errorf("the machine %s is host %s already, with the address %v", r.MAC, host.Name, host.Addr)
	}
	r.State, r.Reason, r.Answer, r.Addr, r.Name = Approved, "", time.Time{}, host.Addr, host.Name
	return l.with(i, r), r, host, nil
}

// Sign notes which request document was signed for a request.
func (l Ledger) Sign(id uint64, hash string) (Ledger, error) {
	i, err := l.find(id)
	if err != nil {
		return l, err
	}
	r := l.Requests[i]
	r.Signed = hash
	return l.with(i, r), nil
}

// Deny turns a request down. The machine keeps an address that it has.
func (l Ledger) Deny(now time.Time, id uint64, reason string) (Ledger, Request, error) {
	i, err := l.find(id)
	if err != nil {
		return l, Request{}, err
	}
	if len(reason) > reasonMax {
		return l, Request{}, fmt.Errorf("the reason has %d bytes, at most %d are kept", len(reason), reasonMax)
	}
	r := l.Requests[i]
	r.State, r.Reason, r.Signed = Denied, reason, ""
	r.Answer = now.UTC().Truncate(time.Second)
	return l.with(i, r), r, nil
}

func (l Ledger) find(id uint64) (int, error) {
	i := slices.IndexFunc(l.Requests, func(r Request) bool { return r.ID == id })
	if i < 0 {
		return 0, fmt.Errorf("request %d is %w", id, ErrUnknown)
	}
	return i, nil
}

// with returns the ledger with r as its ith request.
func (l Ledger) with(i int, r Request) Ledger {
	l.Requests = slices.Clone(l.Requests)
	l.Requests[i] = r
	return l
}

// Prune drops requests that time has ended, and those that are fulfilled: member says whether a host is in a VN. It
// reports whether it dropped any.
func (l Ledger) Prune(now time.Time, member func(addr netip.Addr, vn string) bool) (Ledger, bool) {
	left := slices.DeleteFunc(slices.Clone(l.Requests), func(r Request) bool {
		return r.ended(now) || r.State == Approved && member(r.Addr, r.VN)
	})
	dropped := len(left) < len(l.Requests)
	l.Requests = left
	return l, dropped
}

// OfMAC returns the requests of one machine.
func (l Ledger) OfMAC(mac MAC) []Request {
	var list []Request
	for _, r := range l.Requests {
		if r.MAC == mac {
			list = append(list, r)
		}
	}
	return list
}
