package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// alternatives is how many other external ports we try on a UPnP device when one is taken.
const alternatives = 3

// startUPnP asks for mappings by UPnP.
func (m *machine) startUPnP() {
	m.state, m.by, m.series = mapping, ByUPnP, series{}
	for i := range m.leases {
		m.leases[i].pending = true
	}
	m.callMap(nil)
}

// callMap asks a UPnP device for the pending mappings.
func (m *machine) callMap(known *service) {
	call := mapIGD{round: m.round, gateway: m.gateway, local: m.local, locations: slices.Clone(m.locations)}
	if known != nil {
		s := *known
		call.known = &s
	}
	for _, l := range m.leases {
		if !l.pending {
			continue
		}
		w := igdWant{l.port, []uint16{m.suggestion(&l).Port()}}
		for range alternatives {
			w.external = append(w.external, m.port())
		}
		call.wants = append(call.wants, w)
	}
	m.calling = true
	m.do(call)
}

// callCheck asks a UPnP device what it still has.
func (m *machine) callCheck() {
	m.calling = true
	m.do(checkIGD{m.round, m.gateway, m.local, m.service, m.igdLeases()})
}

func (m *machine) igdLeases() (list []igdLease) {
	for _, l := range m.leases {
		if l.mapped {
			list = append(list, igdLease{port: l.port, external: l.external.Port()})
		}
	}
	return list
}

// igdMapped takes what a UPnP device has mapped.
func (m *machine) igdMapped(ev igdMapped) {
	m.calling = false
	if ev.err != nil {
		m.note(fmt.Errorf("upnp: %w", ev.err))
	}
	if m.state == leaving { // the call was cut short, and may have mapped something before
		for _, l := range m.igdLeases() {
			if !slices.ContainsFunc(ev.leases, func(o igdLease) bool { return o.port == l.port && o.external == l.external }) {
				ev.leases = append(ev.leases, l)
			}
		}
		if ev.service.kind == "" {
			ev.service = m.service
		}
		m.unmap(ev.service, ev.leases)
		m.settleLeaving()
		return
	}
	if ev.round != m.round || m.by != ByUPnP || m.state != mapping && m.state != held {
		return
	}
	if len(ev.leases) > 0 {
		m.service, m.address = ev.service, ev.address
	}
	for _, got := range ev.leases {
		if l := m.find(got.port); l != nil {
			m.grant(l, netip.AddrPortFrom(ev.address, got.external), got.lifetime)
		}
	}
	if m.state == held {
		m.giveUp()
		return
	}
	if m.mapped() {
		m.succeed()
		return
	}
	m.note(errNothing)
	m.rest()
}

// igdChecked takes what a UPnP device still has.
func (m *machine) igdChecked(ev igdChecked) {
	m.calling = false
	if m.state == leaving {
		m.unmap(m.service, m.igdLeases())
		m.settleLeaving()
		return
	}
	if ev.round != m.round || m.state != held || m.by != ByUPnP {
		return
	}
	if ev.err != nil {
		m.note(fmt.Errorf("upnp: %w", ev.err))
		if !errors.As(ev.err, new(resultError)) {
			m.searchAgain()
			return
		}
	}
	if ev.address.IsValid() && ev.address != m.address {
		m.moved(ev.address)
	}
	if len(ev.gone) == 0 {
		return
	}
	m.note(errRestarted)
	for _, p := range ev.gone {
		if l := m.find(p); l != nil && l.mapped {
			l.pending = true
		}
	}
	if m.pending() {
		m.remapping = true
		m.callMap(&m.service)
	}
}

// searchAgain looks for a UPnP device that does not answer where it was: after a restart it may listen on another port. If
// it is not found its mappings count as lost.
func (m *machine) searchAgain() {
	for i := range m.leases {
		m.leases[i].pending = m.leases[i].mapped
	}
	m.remapping, m.searching = true, true
	m.locations, m.series = nil, series{}
	m.sendPending()
}

// leave removes the mappings, those too that were asked for and not yet answered.
func (m *machine) leave() {
	m.state = leaving
	m.tell()
	upnp := m.by == ByUPnP
	for i := range m.leases {
		l := &m.leases[i]
		l.pending = !upnp && (l.mapped || l.pending)
	}
	m.series = series{}
	switch {
	case upnp && !m.calling: // else the end of the call brings us on
		m.unmap(m.service, m.igdLeases())
	case m.pending():
		m.sendPending()
	}
	m.settleLeaving()
}

func (m *machine) unmap(s service, leases []igdLease) {
	if len(leases) > 0 {
		m.calling = true
		m.do(unmapIGD{m.gateway, m.local, s, leases})
	}
}

// settleLeaving ends it all when nothing is left to remove.
func (m *machine) settleLeaving() {
	if m.state == leaving && !m.pending() && !m.calling {
		m.state = gone
	}
}
