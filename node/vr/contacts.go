package vr

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// contactLife is how long a translator or firewall may let answers in from where we sent to: "A
	// value of 5 minutes or more for the NAT UDP mapping timer is RECOMMENDED" (RFC 4787, REQ-5). Too
	// long a time makes some arrivals prove less, too short a one makes them prove what is not so.
	contactLife = 5 * time.Minute
	// ContactEvery is how often Contacted must be told while we go on sending to an endpoint.
	ContactEvery = time.Minute
	// contactsMax bounds the addresses remembered. Gossip probes one VR a second, 300 in contactLife;
	// links are remembered apart.
	contactsMax = 1024
	// contactPortsMax bounds the ports remembered of one address; of more, all ports count.
	contactPortsMax = 8
)

// contacts remembers where we have sent to of late: who may get through a filter that we have opened.
type contacts struct {
	at map[netip.Addr]*contact
	// all counts every address as contacted until then: the past before the start, or of what had
	// no room.
	all time.Time
}

type contact struct {
	last  time.Time // plus up to ContactEvery
	ports []uint16
	any   bool // there were more ports
}

// A reach says how much of an endpoint we had opened a filter for before something came from there.
type reach uint8

const (
	reachNone    reach = iota // nothing was sent to its address
	reachAddress              // something was sent to its address, nothing to its port
	reachPort                 // something was sent to it
)

func (c *contacts) add(now time.Time, at netip.AddrPort) {
	e := c.at[at.Addr()]
	switch {
	case e != nil && now.Sub(e.last) >= contactLife:
		e.ports, e.any = e.ports[:0], false
	case e == nil:
		c.makeRoom(now)
		e = &contact{}
		c.at[at.Addr()] = e
	}
	e.last = now.Add(ContactEvery) // the caller may keep silent for so long
	switch {
	case slices.Contains(e.ports, at.Port()):
	case len(e.ports) < contactPortsMax:
		e.ports = append(e.ports, at.Port())
	default:
		e.any = true
	}
}

// makeRoom forgets what has had its time, else the oldest; then all addresses count as contacted for
// as long as that one would have.
func (c *contacts) makeRoom(now time.Time) {
	if c.at == nil {
		c.at = map[netip.Addr]*contact{}
	}
	if len(c.at) < contactsMax {
		return
	}
	var oldest netip.Addr
	for a, e := range c.at {
		if now.Sub(e.last) >= contactLife {
			delete(c.at, a)
			continue
		}
		if o := c.at[oldest]; o == nil || e.last.Before(o.last) || e.last.Equal(o.last) && a.Less(oldest) {
			oldest = a
		}
	}
	if len(c.at) < contactsMax {
		return
	}
	if until := c.at[oldest].last.Add(contactLife); until.After(c.all) {
		c.all = until
	}
	delete(c.at, oldest)
}

func (c *contacts) of(now time.Time, from netip.AddrPort) reach {
	e := c.at[from.Addr()]
	switch {
	case e != nil && now.Sub(e.last) < contactLife:
		if e.any || slices.Contains(e.ports, from.Port()) {
			return reachPort
		}
		return reachAddress
	case now.Before(c.all):
		return reachAddress
	}
	return reachNone
}
