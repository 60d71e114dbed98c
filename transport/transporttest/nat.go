package transporttest

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// A Behavior is one of the three behaviors RFC 4787 names for mapping and for filtering.
type Behavior uint8

const (
	// EndpointIndependent mapping: "The NAT reuses the port mapping for subsequent packets sent from the
	// same internal IP address and port (X:x) to any external IP address and port." Filtering: it
	// "filters out only packets not destined to the internal address and port X:x, regardless of the
	// external IP address and port source". RFC 4787, Sections 4.1 and 5
	EndpointIndependent Behavior = iota
	// AddressDependent: mapping reused, or packets let in, for the same external address whatever its port.
	AddressDependent
	// AddressAndPortDependent: mapping reused, or packets let in, only for the same external address and port.
	AddressAndPortDependent
)

// String returns the name in RFC 4787, in lower case.
func (b Behavior) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	}
	return "unknown behavior"
}

// of returns the part of a remote endpoint that the behavior looks at.
func (b Behavior) of(remote netip.AddrPort) netip.AddrPort {
	switch b {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	}
	return remote
}

// A NATKind is the behavior of a NAT box.
type NATKind struct {
	Mapping, Filtering Behavior
	// Hairpin: hosts behind the NAT can reach each other by their mapped endpoints, and see each
	// other's mapped endpoint as source ("External source IP address and port", RFC 4787, Section 6).
	Hairpin bool
	// PreservePort: a mapping gets the internal port number if that is free, else a random one.
	PreservePort bool
	// Timeout ends a mapping, and a filter entry, this long after the last packet from inside used it.
	// Zero means 2 minutes: "A NAT UDP mapping timer MUST NOT expire in less than two minutes"
	// (RFC 4787, REQ-5).
	Timeout time.Duration
	// RefreshInbound: packets from outside keep a mapping alive too (RFC 4787, Section 4.3).
	RefreshInbound bool
}

// The kinds by the names of RFC 3489, which are still in everybody's mouth.
var (
	FullCone           = NATKind{Mapping: EndpointIndependent, Filtering: EndpointIndependent}
	RestrictedCone     = NATKind{Mapping: EndpointIndependent, Filtering: AddressDependent}
	PortRestrictedCone = NATKind{Mapping: EndpointIndependent, Filtering: AddressAndPortDependent}
	Symmetric          = NATKind{Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent}
)

const (
	natTimeoutDefault = 2 * time.Minute
	natPortMin        = 1024
	// permitsMax bounds the filter entries of one mapping; more are what a port scan from inside makes.
	permitsMax = 1 << 14
	// mappingsMax bounds the mappings of a box: half of the ports, so that a free one is soon found.
	mappingsMax = 1 << 15
	// natSweepInterval is how often a box looks for expired mappings when it has many.
	natSweepInterval = time.Second
)

// A mapping ties an internal endpoint to an external one.
type mapping struct {
	inner, outer netip.AddrPort
	key          mappingKey
	expires      time.Duration
	fixed        bool // a port forward: no expiry, no filter
	// permits holds what may send in, as the filtering behavior sees it, and until when.
	permits map[netip.AddrPort]time.Duration
}

type mappingKey struct{ inner, remote netip.AddrPort }

// A natTable is the state of a NAT box. Its time is the caller's.
//
// IPv6 addresses are not translated: their mappings are to themselves, so that the box is to them
// the filter that RFC 6092 calls simple security.
type natTable struct {
	kind    NATKind
	public  netip.Addr
	rng     *rand.Rand
	byInner map[mappingKey]*mapping
	byOuter map[netip.AddrPort]*mapping
	sweepAt time.Duration // when expired mappings may be looked for again
}

func newNATTable(public netip.Addr, kind NATKind, rng *rand.Rand) *natTable {
	t := &natTable{kind: kind, public: public, rng: rng}
	if t.kind.Timeout == 0 {
		t.kind.Timeout = natTimeoutDefault
	}
	t.reset()
	return t
}

// reset forgets every mapping, as a box does that is switched off and on.
func (t *natTable) reset() {
	t.byInner = make(map[mappingKey]*mapping)
	t.byOuter = make(map[netip.AddrPort]*mapping)
}

// out returns the external endpoint for a packet from inside, making or refreshing a mapping.
func (t *natTable) out(now time.Duration, from, to netip.AddrPort) (netip.AddrPort, Drop) {
	key := mappingKey{from, t.kind.Mapping.of(to)}
	if from.Addr().Is6() {
		key.remote = netip.AddrPort{} // without translation there is one external endpoint
	}
	m := t.byInner[key]
	if forwarded := t.byInner[mappingKey{inner: from}]; forwarded != nil && forwarded.fixed {
		m = forwarded
	}
	if m != nil && !m.fixed && now >= m.expires {
		t.remove(m)
		m = nil
	}
	if m == nil {
		outer, ok := t.allocate(now, from)
		if !ok {
			return netip.AddrPort{}, DropNATFull
		}
		m = &mapping{inner: from, outer: outer, key: key, permits: make(map[netip.AddrPort]time.Duration)}
		t.byInner[key] = m
		t.byOuter[outer] = m
	}
	if m.fixed {
		return m.outer, 0
	}
	m.expires = now + t.kind.Timeout
	permit := t.kind.Filtering.of(to)
	if _, known := m.permits[permit]; !known && len(m.permits) >= permitsMax {
		for p, until := range m.permits {
			if now >= until {
				delete(m.permits, p)
			}
		}
		if len(m.permits) >= permitsMax {
			return netip.AddrPort{}, DropNATFull
		}
	}
	m.permits[permit] = m.expires
	return m.outer, 0
}

// in returns the internal endpoint for a packet from outside to an external endpoint, or why not.
func (t *natTable) in(now time.Duration, from, to netip.AddrPort) (netip.AddrPort, Drop) {
	m := t.byOuter[to]
	if m == nil || !m.fixed && now >= m.expires {
		return netip.AddrPort{}, DropNoMapping
	}
	if m.fixed {
		return m.inner, 0
	}
	permit := t.kind.Filtering.of(from)
	if until, ok := m.permits[permit]; !ok || now >= until {
		return netip.AddrPort{}, DropFiltered
	}
	if t.kind.RefreshInbound {
		m.expires = now + t.kind.Timeout
		m.permits[permit] = m.expires
	}
	return m.inner, 0
}

// forward makes a mapping that stays and filters nothing. Whatever the inner endpoint sends leaves from
// it too, for that is what the state of a forwarded flow does.
func (t *natTable) forward(port uint16, inner netip.AddrPort) {
	outer := netip.AddrPortFrom(t.public, port)
	if old := t.byOuter[outer]; old != nil {
		t.remove(old)
	}
	m := &mapping{inner: inner, outer: outer, key: mappingKey{inner: inner}, fixed: true}
	if old := t.byInner[m.key]; old != nil {
		t.remove(old)
	}
	t.byOuter[outer] = m
	t.byInner[m.key] = m
}

// allocate finds an external endpoint that no live mapping has.
func (t *natTable) allocate(now time.Duration, inner netip.AddrPort) (netip.AddrPort, bool) {
	if len(t.byOuter) >= mappingsMax/16 && now >= t.sweepAt {
		for _, m := range t.byOuter {
			if !m.fixed && now >= m.expires {
				t.remove(m)
			}
		}
		t.sweepAt = now + natSweepInterval
	}
	if len(t.byOuter) >= mappingsMax {
		return netip.AddrPort{}, false
	}
	if inner.Addr().Is6() {
		return inner, true
	}
	if t.kind.PreservePort && t.free(now, inner.Port()) {
		return netip.AddrPortFrom(t.public, inner.Port()), true
	}
	const ports = 1<<16 - natPortMin
	first := t.rng.IntN(ports)
	for i := range ports {
		if port := uint16(natPortMin + (first+i)%ports); t.free(now, port) {
			return netip.AddrPortFrom(t.public, port), true
		}
	}
	return netip.AddrPort{}, false
}

// free reports whether no live mapping has the public port; an expired one that has it is removed.
func (t *natTable) free(now time.Duration, port uint16) bool {
	m := t.byOuter[netip.AddrPortFrom(t.public, port)]
	if m != nil && !m.fixed && now >= m.expires {
		t.remove(m)
		m = nil
	}
	return m == nil
}

func (t *natTable) remove(m *mapping) {
	if t.byInner[m.key] == m {
		delete(t.byInner, m.key)
	}
	delete(t.byOuter, m.outer)
}
