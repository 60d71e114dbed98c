package portmap

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"
)

// Times of the protocol.
const (
	// lookupInterval is how soon a changed gateway or address is noticed. The question costs a system call.
	lookupInterval = 5 * time.Second
	// checkInterval is how soon a restart of the gateway is noticed that is not announced. A check is one datagram, or two
	// small HTTP requests.
	checkInterval = time.Minute
	// hintInterval bounds what announcements, which anybody on the LAN can forge, make us do.
	hintInterval = 10 * time.Second

	// backoffMin and backoffMax bound the pause after a gateway has offered nothing.
	backoffMin = time.Minute
	backoffMax = 30 * time.Minute

	// lifetime is what we ask for (RFC 6886 section 3.3 recommends it): long, since a restart is noticed otherwise; and
	// not longer, since a VR that died leaves its mappings behind.
	lifetime = 2 * time.Hour
	// lifetimeMax cuts what a gateway grants (RFC 6887 section 15).
	lifetimeMax = 24 * time.Hour
	// renewMin is the shortest pause before a renewal (RFC 6887 section 11.2.1).
	renewMin = 4 * time.Second
	// renewRetryMin is the shortest pause after a renewal that failed.
	renewRetryMin = 30 * time.Second
	// partialRetry is the pause before a port is asked for again that the gateway refused while it granted others.
	partialRetry = 10 * time.Minute
)

// seriesIntervals are the waits after each send of a request; after the last the series is over. A gateway is one
// hop away: it answers in milliseconds or not at all.
var seriesIntervals = [...]time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second}

// A series is a request that is sent again until it is answered or given up. The zero series is not running.
type series struct {
	sent int
	next time.Time
}

func (s *series) running() bool          { return !s.next.IsZero() }
func (s *series) due(now time.Time) bool { return s.running() && !now.Before(s.next) }
func (s *series) over() bool             { return s.sent == len(seriesIntervals) }

// step counts a send at now.
func (s *series) step(now time.Time) {
	s.next = now.Add(seriesIntervals[s.sent])
	s.sent++
}

// A state is what a machine is at.
//
//	          gateway found,
//	          pause over          PCP granted
//	resting ------------> asking ------------------------------> held --+ renew, check,
//	   ^  ^                | ^ |                                 ^  |   | map again after
//	   |  |  nothing       | | |  NAT-PMP or UPnP offered        |  | <-+ a restart
//	   |  +----------------+ | +------------> mapping -----------+  |
//	   |                     +------------------+  | granted        |
//	   |                        NAT-PMP refused    |                |
//	   +------------ UPnP refused -----------------+                |
//	   +------------ gateway gone, or leases lapsed too soon -------+
//
// From every state leave leads to leaving, and from there to gone.
type state uint8

const (
	resting state = iota // nothing is mapped; asks again after a pause
	asking               // PCP mappings, the NAT-PMP address and UPnP devices are asked for
	mapping              // NAT-PMP or UPnP was chosen and is asked for mappings
	held                 // at least one port is mapped
	leaving              // mappings are being removed
	gone
)

// An offer is what is known of a protocol at the gateway.
type offer uint8

const (
	unknown offer = iota
	offered
	refused
)

// A lease is a port and what the gateway said of it.
type lease struct {
	port     Port
	nonce    nonce
	mapped   bool
	pending  bool           // asked for and not answered
	external netip.AddrPort // the last mapping, also when it has lapsed: what we ask for
	until    time.Time
	renewAt  time.Time
}

// laxity takes defences out, for tests.
type laxity struct{ source, nonce, url, remapping bool }

// A machine decides what to send and what to believe. Pure.
type machine struct {
	now    time.Time
	ports  []Port
	rand   io.Reader
	secret []byte // makes the nonces
	lax    laxity
	every  time.Duration // pause between checks: checkInterval, unless a test cannot wait

	state          state
	gateway, local netip.Addr // invalid: none
	round          int        // counts gateways; calls of an older round are stale
	lookupAt       time.Time
	restUntil      time.Time
	backoff        time.Duration
	hintAt         time.Time // hints before are not taken

	leases    []lease
	by        string
	heldSince time.Time
	series    series
	offers    map[string]offer
	epoch     epoch
	address   netip.Addr // external address: NAT-PMP and UPnP tell it apart from the ports
	locations []string
	service   service
	calling   bool // a UPnP call is out

	checkAt   time.Time
	checking  bool
	remapping bool // mappings are gone at the gateway and asked for again
	searching bool // the UPnP device does not answer where it was: the series looks for it

	told []Mapping
	out  []action
}

func newMachine(now time.Time, c *Config) (*machine, error) {
	secret := c.Secret
	if len(secret) == 0 {
		secret = make([]byte, sha256.Size)
		if _, err := io.ReadFull(c.Rand, secret); err != nil {
			return nil, fmt.Errorf("draw a secret: %w", err)
		}
	}
	return &machine{
		now: now, ports: c.Internal, rand: c.Rand, secret: secret,
		every: checkInterval, backoff: backoffMin, lookupAt: now, offers: map[string]offer{},
	}, nil
}

// Handle applies ev at time now and returns what to do.
func (m *machine) Handle(now time.Time, ev event) []action {
	m.now = now
	switch ev := ev.(type) {
	case located:
		m.located(ev)
	case datagram:
		m.datagram(ev)
	case deaf:
		m.note(ev.err)
		m.drop() // the next lookup opens another
	case igdMapped:
		m.igdMapped(ev)
	case igdChecked:
		m.igdChecked(ev)
	case igdUnmapped:
		m.note(ev.err)
		m.calling = false
		m.settleLeaving()
	case leave:
		m.leave()
	}
	return m.take()
}

// Advance does what is due at now.
func (m *machine) Advance(now time.Time) []action {
	m.now = now
	if m.state < leaving && !now.Before(m.lookupAt) {
		m.lookupAt = now.Add(lookupInterval)
		m.do(lookup{})
	}
	switch m.state {
	case resting:
		if m.gateway.IsValid() && !now.Before(m.restUntil) {
			m.ask()
		}
	case asking, mapping:
		if m.series.due(now) {
			if !m.series.over() {
				m.sendPending()
			}
			m.settle()
		}
	case held:
		m.hold()
	case leaving:
		if m.series.due(now) && !m.series.over() {
			m.sendPending()
		}
	}
	return m.take()
}

// Next returns when Advance has something to do.
func (m *machine) Next() time.Time {
	var next time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if m.state < leaving {
		at(m.lookupAt)
	}
	switch m.state {
	case resting:
		if m.gateway.IsValid() {
			at(cmp.Or(m.restUntil, m.now))
		}
	case asking, mapping:
		at(m.series.next)
	case leaving:
		if !m.series.over() {
			at(m.series.next)
		}
	case held:
		at(m.series.next)
		for _, l := range m.leases {
			if l.mapped {
				at(l.until)
			}
			if !m.busy() {
				at(l.renewAt)
			}
		}
		if !m.busy() {
			at(m.checkAt)
		}
	}
	return next
}

// busy reports whether requests are out, so that renewals and checks wait.
func (m *machine) busy() bool { return m.series.running() || m.calling }

func (m *machine) take() []action {
	out := m.out
	m.out = nil
	return out
}

func (m *machine) do(a action) { m.out = append(m.out, a) }

func (m *machine) note(err error) {
	if err != nil {
		m.do(note{err})
	}
}

// tell publishes the mappings if they have changed.
func (m *machine) tell() {
	var list []Mapping
	for _, l := range m.leases {
		if l.mapped && m.state < leaving {
			list = append(list, Mapping{l.port.Protocol, l.port.Port, l.external, m.by, l.until, public(l.external.Addr())})
		}
	}
	if !slices.Equal(list, m.told) {
		m.told = list
		m.do(tell{list})
	}
}

// located compares the gateway and our address with those in use.
func (m *machine) located(ev located) {
	switch {
	case m.state >= leaving:
	case ev.err != nil || !ev.gateway.IsValid() || !ev.local.IsValid():
		if m.gateway.IsValid() {
			m.note(cmp.Or(ev.err, errors.New("no gateway")))
			m.drop()
		}
	case ev.gateway != m.gateway || ev.local != m.local:
		m.drop()
		m.gateway, m.local = ev.gateway, ev.local
		m.do(reopen{m.gateway, m.local})
		m.backoff = backoffMin
		m.leases = nil
		for _, p := range m.ports {
			m.leases = append(m.leases, lease{port: p, nonce: m.nonceFor(p)})
		}
		m.ask()
	}
}

// nonceFor makes the nonce of a port. As long as the gateway knows a mapping it changes it only for who has its
// nonce, so the same mapping must get the same one, also when the gateway was lost for a while.
func (m *machine) nonceFor(p Port) (n nonce) {
	h := sha256.New()
	fmt.Fprintf(h, "vine port mapping nonce v1\x00%d\x00%v\x00%v\x00%v\x00", len(m.secret), m.gateway, m.local, p)
	h.Write(m.secret)
	copy(n[:], h.Sum(nil))
	return n
}

// drop forgets the gateway and what it mapped.
func (m *machine) drop() {
	if m.gateway.IsValid() {
		m.do(reopen{})
	}
	m.gateway, m.local = netip.Addr{}, netip.Addr{}
	m.round++
	m.state, m.restUntil = resting, time.Time{}
	m.clear()
}

// clear forgets mappings and what is going on.
func (m *machine) clear() {
	for i := range m.leases {
		m.leases[i].mapped, m.leases[i].pending, m.leases[i].renewAt = false, false, time.Time{}
	}
	m.series, m.epoch = series{}, epoch{}
	m.checking, m.remapping, m.searching = false, false, false
	m.locations, m.address = nil, netip.Addr{}
	clear(m.offers)
	m.tell()
}

// ask begins a round: everything is asked for at once.
func (m *machine) ask() {
	m.clear()
	m.state, m.by = asking, ByPCP
	if m.gateway.Is6() { // these are for IPv4 only
		m.offers[ByNATPMP], m.offers[ByUPnP] = refused, refused
	}
	for i := range m.leases {
		m.leases[i].pending = true
	}
	m.sendPending()
}

// rest pauses after a round without success.
func (m *machine) rest() {
	m.clear()
	m.state, m.restUntil = resting, m.now.Add(m.backoff)
	m.backoff = min(2*m.backoff, backoffMax)
}

func (m *machine) pending() bool {
	return slices.ContainsFunc(m.leases, func(l lease) bool { return l.pending })
}

func (m *machine) mapped() bool {
	return slices.ContainsFunc(m.leases, func(l lease) bool { return l.mapped })
}

// silent is the number of sends after which a protocol that has not answered is passed over for one that has.
const silent = 3

// settle decides in a round whether enough is known.
func (m *machine) settle() {
	over := m.series.over() && m.series.due(m.now)
	if m.state == mapping {
		switch {
		case m.by == ByUPnP || m.pending() && !over:
		case m.mapped():
			m.succeed()
		default: // NAT-PMP answered, and maps nothing
			m.offers[ByPCP], m.offers[ByNATPMP] = refused, refused
			for i := range m.leases {
				m.leases[i].pending = false
			}
			m.state, m.series = asking, series{}
			m.sendPending() // the search alone is left
			m.settle()
		}
		return
	}
	if m.offers[ByPCP] != refused && (!m.pending() || over) {
		if m.mapped() {
			m.succeed()
			return
		}
		m.offers[ByPCP] = refused
	}
	passed := func(by string, sent int) bool {
		return m.offers[by] == refused || m.offers[by] == unknown && m.series.sent >= sent && !m.mapped()
	}
	switch {
	case passed(ByPCP, silent) && m.offers[ByNATPMP] == offered:
		m.startNATPMP()
	case passed(ByPCP, silent+1) && passed(ByNATPMP, silent+1) && len(m.locations) > 0 && m.offers[ByUPnP] != refused && !m.calling:
		m.startUPnP()
	case over || m.offers[ByPCP] == refused && m.offers[ByNATPMP] == refused && m.offers[ByUPnP] == refused:
		m.note(errNothing)
		m.rest()
	}
}

var errNothing = errors.New("the gateway maps no port")

// succeed begins to hold what was mapped.
func (m *machine) succeed() {
	m.state, m.heldSince = held, m.now
	m.series = series{}
	m.checkAt = m.now.Add(m.every)
	for i := range m.leases {
		if l := &m.leases[i]; !l.mapped {
			l.pending, l.renewAt = false, m.now.Add(partialRetry)
		}
	}
	m.tell()
}

// grant takes a mapping.
func (m *machine) grant(l *lease, external netip.AddrPort, granted time.Duration) {
	granted = min(granted, lifetimeMax)
	l.pending, l.mapped, l.external = false, true, external
	l.until = m.now.Add(granted)
	l.renewAt = m.now.Add(max(granted/2, renewMin))
}

// port draws an external port to ask for, where the gateway does not choose itself.
func (m *machine) port() uint16 {
	var b [2]byte
	if _, err := io.ReadFull(m.rand, b[:]); err != nil {
		m.note(err)
	}
	return 1<<15 | binary.BigEndian.Uint16(b[:]) // not one of a well-known service
}
