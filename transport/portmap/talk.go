package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// sendPending sends what is asked for and not answered, and counts it in the series.
func (m *machine) sendPending() {
	server := netip.AddrPortFrom(m.gateway, serverPort)
	seconds := uint32(lifetime / time.Second)
	if m.state == leaving {
		seconds = 0
	}
	for _, l := range m.leases {
		switch {
		case !l.pending:
		case m.by == ByPCP && m.offers[ByPCP] != refused:
			want := pcpMapping{l.nonce, l.port, m.suggestion(&l)}
			m.do(send{server, appendPCPMap(nil, seconds, m.local, want)})
		case m.by == ByNATPMP:
			port := m.suggestion(&l).Port()
			m.do(send{server, appendNATPMPMap(nil, l.port, port, seconds)})
		}
	}
	if m.state == asking {
		if m.offers[ByNATPMP] == unknown {
			m.do(send{server, appendNATPMPAddress(nil)})
		}
		if m.offers[ByUPnP] == unknown {
			m.search()
		}
	}
	if m.searching {
		m.search()
	}
	m.series.step(m.now)
}

// suggestion is the external address and port that we ask for: those that we had, or the number of the port
// itself, or nothing when a mapping is removed.
func (m *machine) suggestion(l *lease) netip.AddrPort {
	anywhere := netip.IPv4Unspecified()
	if m.local.Is6() {
		anywhere = netip.IPv6Unspecified()
	}
	switch {
	case m.state == leaving:
		return netip.AddrPortFrom(anywhere, 0)
	case l.external.IsValid():
		return l.external
	}
	return netip.AddrPortFrom(anywhere, l.port.Port)
}

// search looks for UPnP devices, on the LAN and at the gateway itself.
func (m *machine) search() {
	for _, host := range []netip.Addr{ssdpGroup, m.gateway} {
		to := netip.AddrPortFrom(host, ssdpPort)
		for _, device := range gatewayDevices {
			m.do(send{to, appendSearch(nil, to, device)})
		}
	}
}

// check asks whether the gateway still has our mappings. It is not asked again: the next check will.
func (m *machine) check() {
	server := netip.AddrPortFrom(m.gateway, serverPort)
	switch m.by {
	case ByPCP:
		m.do(send{server, appendPCPHeader(nil, pcpAnnounce, 0, m.local)})
	case ByNATPMP:
		m.do(send{server, appendNATPMPAddress(nil)})
	case ByUPnP:
		m.callCheck()
	}
}

var (
	errStranger  = errors.New("datagram from somebody who is not the gateway")
	errUnasked   = errors.New("answer to nothing that was asked")
	errNonce     = errors.New("pcp: wrong nonce")
	errZero      = errors.New("mapping without a port or a lifetime")
	errRestarted = errors.New("the gateway has lost its mappings")
)

// datagram takes what came, if it is an answer of the gateway to what was asked.
func (m *machine) datagram(ev datagram) {
	from := netip.AddrPortFrom(ev.from.Addr().Unmap(), ev.from.Port())
	if !m.gateway.IsValid() || from.Addr() != m.gateway && !m.lax.source {
		m.note(errStranger)
		return
	}
	var err error
	switch {
	case ev.announced:
		err = m.announcement(ev.bytes)
	case from.Port() != serverPort:
		err = m.ssdp(ev.bytes)
	case len(ev.bytes) > 0 && ev.bytes[0] == natpmpVersion:
		err = m.natpmp(ev.bytes)
	default:
		err = m.pcp(ev.bytes)
	}
	m.note(err)
	switch m.state {
	case asking, mapping:
		m.settle()
	case leaving:
		m.settleLeaving()
	}
}

// announcement takes what was sent to everybody. Only its form is checked.
func (m *machine) announcement(b []byte) error {
	a, err := parsePCPAnswer(b)
	if err == nil && a.op != pcpAnnounce {
		err = errOpcode
	}
	if errors.Is(err, errVersion{natpmpVersion}) {
		var n natpmpAnswer
		if n, err = parseNATPMPAnswer(b); err == nil && n.op != natpmpAddress {
			err = errOpcode
		}
	}
	if err != nil {
		return fmt.Errorf("announcement: %w", err)
	}
	m.hint()
	return nil
}

// ssdp takes the answer of a UPnP device.
func (m *machine) ssdp(b []byte) error {
	if m.state != asking && m.state != mapping && !m.searching {
		return nil // late
	}
	location, err := parseSSDP(b)
	if err != nil {
		return fmt.Errorf("upnp: %w", err)
	}
	for _, known := range m.locations {
		if known == location {
			return nil
		}
	}
	if len(m.locations) < locationsMax {
		m.locations = append(m.locations, location)
	}
	if m.searching && !m.calling {
		m.searching, m.series = false, series{}
		m.callMap(nil)
	}
	return nil
}

func (m *machine) find(p Port) *lease {
	for i := range m.leases {
		if m.leases[i].port == p {
			return &m.leases[i]
		}
	}
	return nil
}

// pcp takes an answer of a PCP server.
func (m *machine) pcp(b []byte) error {
	a, err := parsePCPAnswer(b)
	if errors.Is(err, errVersion{1}) && unsupported(b) {
		m.noPCP()
	}
	if err != nil {
		return fmt.Errorf("pcp: %w", err)
	}
	if m.by != ByPCP {
		return nil // late
	}
	if a.op == pcpAnnounce {
		if !m.checking {
			return fmt.Errorf("pcp: %w", errUnasked)
		}
		m.checking = false
		if m.epoch.observe(m.now, a.epoch) { // an error has an epoch too
			m.restarted(nil)
		}
		return nil
	}
	l := m.find(a.mapping.port)
	switch {
	case l == nil:
		return fmt.Errorf("pcp: %w", errUnasked)
	case a.mapping.nonce != l.nonce && !m.lax.nonce:
		return errNonce
	case !l.pending:
		return nil // a second answer to a request that was sent twice
	case m.state == leaving:
		l.pending = false
		return nil
	case a.result != pcpSuccess:
		m.deny(l)
		return resultError{ByPCP, int(a.result)}
	case a.mapping.external.Port() == 0 || a.lifetime == 0:
		return fmt.Errorf("pcp: %w", errZero)
	}
	m.grant(l, a.mapping.external, time.Duration(a.lifetime)*time.Second)
	if m.epoch.observe(m.now, a.epoch) {
		m.restarted(l)
	}
	m.finish()
	return nil
}

// deny takes a refusal.
func (m *machine) deny(l *lease) {
	m.refuse(l)
	m.finish()
}

// unsupported reports whether an answer to a PCP request says that the server does not speak version 2. The result code
// is in two bytes in NAT-PMP (RFC 6886 section 3.5), in one after a zero in PCP.
func unsupported(b []byte) bool {
	return len(b) >= 4 && (b[1] == pcpAnswered|pcpMap || b[1] == natpmpAnswered) && b[2] == 0 && b[3] == pcpUnsupportedVersion
}

// noPCP follows an answer of a server that speaks another version.
func (m *machine) noPCP() {
	if m.state != asking || m.mapped() {
		return
	}
	m.offers[ByPCP] = refused
	for i := range m.leases {
		m.leases[i].pending = false
	}
}

// natpmp takes an answer of a NAT-PMP server.
func (m *machine) natpmp(b []byte) error {
	a, err := parseNATPMPAnswer(b)
	if unsupported(b) { // the answer to our PCP request; its size differs between servers
		m.noPCP()
		return nil
	}
	if err != nil {
		return fmt.Errorf("nat-pmp: %w", err)
	}
	if a.op == natpmpAddress {
		return m.natpmpAddress(a)
	}
	if m.by != ByNATPMP {
		return nil // late
	}
	var l *lease
	if !a.short {
		l = m.find(a.port)
	}
	switch {
	case a.short: // of which port it does not say
		for i := range m.leases {
			if l := &m.leases[i]; l.pending && natpmpOp(l.port.Protocol) == a.op {
				m.refuse(l)
			}
		}
		m.finish()
		return resultError{ByNATPMP, int(a.result)}
	case l == nil:
		return fmt.Errorf("nat-pmp: %w", errUnasked)
	case !l.pending:
		return nil // a second answer
	case m.state == leaving:
		l.pending = false
		return nil
	case a.result != 0:
		m.deny(l)
		return resultError{ByNATPMP, int(a.result)}
	case a.external == 0 || a.lifetime == 0:
		return fmt.Errorf("nat-pmp: %w", errZero)
	}
	m.grant(l, netip.AddrPortFrom(m.address, a.external), time.Duration(a.lifetime)*time.Second)
	if m.epoch.observe(m.now, a.epoch) {
		m.restarted(l)
	}
	m.finish()
	return nil
}

// natpmpAddress takes the external address.
func (m *machine) natpmpAddress(a natpmpAnswer) error {
	switch {
	case m.state == asking && m.offers[ByNATPMP] == unknown:
		if a.result != 0 {
			m.offers[ByNATPMP] = refused
			return resultError{ByNATPMP, int(a.result)}
		}
		m.offers[ByNATPMP], m.address = offered, a.address
	case m.state == held && m.by == ByNATPMP && m.checking:
		m.checking = false
		if a.result != 0 {
			return resultError{ByNATPMP, int(a.result)}
		}
		m.moved(a.address)
		if m.epoch.observe(m.now, a.epoch) {
			m.restarted(nil)
		}
	}
	return nil
}

// moved takes a new external address, which holds for all ports.
func (m *machine) moved(address netip.Addr) {
	m.address = address
	for i := range m.leases {
		if l := &m.leases[i]; l.mapped {
			l.external = netip.AddrPortFrom(address, l.external.Port())
		}
	}
	m.tell()
}

// startNATPMP asks for mappings by NAT-PMP.
func (m *machine) startNATPMP() {
	m.state, m.by, m.series = mapping, ByNATPMP, series{}
	for i := range m.leases {
		m.leases[i].pending = true
	}
	m.sendPending()
}
