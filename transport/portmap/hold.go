package portmap

// hold does what is due while ports are mapped.
func (m *machine) hold() {
	lapsed := false
	for i := range m.leases {
		if l := &m.leases[i]; l.mapped && !m.now.Before(l.until) {
			l.mapped, lapsed = false, true
		}
	}
	if lapsed && !m.mapped() {
		m.lapse()
		return
	}
	m.tell()
	if m.series.due(m.now) {
		if m.series.over() {
			m.giveUp()
		} else {
			m.sendPending()
		}
	}
	if m.state != held || m.busy() {
		return
	}
	due := false
	for i := range m.leases {
		if l := &m.leases[i]; !l.renewAt.IsZero() && !m.now.Before(l.renewAt) {
			l.pending, due = true, true
		}
	}
	switch {
	case due:
		m.request()
	case !m.now.Before(m.checkAt):
		m.checkAt, m.checking = m.now.Add(m.every), true
		m.check()
	}
}

// lapse follows the loss of the last mapping.
func (m *machine) lapse() {
	if m.now.Sub(m.heldSince) < backoffMin {
		m.rest() // a gateway that forgets at once gets no peace for it
		return
	}
	m.backoff = backoffMin
	m.ask()
}

// request asks for the pending mappings, by the protocol in use.
func (m *machine) request() {
	if m.by == ByUPnP {
		m.callMap(&m.service)
		return
	}
	m.series = series{}
	m.sendPending()
}

// finish ends a renewal when nothing is pending.
func (m *machine) finish() {
	if m.state == held && !m.pending() {
		m.series, m.remapping = series{}, false
		if !m.mapped() {
			m.lapse()
			return
		}
		m.tell()
	}
}

// giveUp ends a renewal that was not answered.
func (m *machine) giveUp() {
	m.searching = false
	for i := range m.leases {
		if l := &m.leases[i]; l.pending {
			m.refuse(l)
		}
	}
	m.finish()
}

// refuse notes that a lease is not granted now. One that is mapped stays so until it lapses, unless the gateway has lost
// it.
func (m *machine) refuse(l *lease) {
	l.pending = false
	if m.remapping {
		l.mapped = false
	}
	pause := partialRetry
	if l.mapped {
		pause = max(l.until.Sub(m.now)/2, renewRetryMin)
	}
	l.renewAt = m.now.Add(pause)
}

// restarted follows an answer that tells that the gateway has lost its mappings, all but the one that it has just
// granted: it asks for the others again. While it does, further such answers mean nothing, so that a gateway whose clock
// jumps with each answer does not keep us asking.
func (m *machine) restarted(but *lease) {
	if m.state != held || m.remapping && !m.lax.remapping {
		return
	}
	m.note(errRestarted)
	for i := range m.leases {
		if l := &m.leases[i]; l != but {
			l.pending = true
		}
	}
	if m.pending() {
		m.remapping = true
		m.request()
	}
}

// hint follows an announcement: an early look, by a renewal, whose answer decides.
func (m *machine) hint() {
	if m.now.Before(m.hintAt) {
		return
	}
	m.hintAt = m.now.Add(hintInterval)
	switch m.state {
	case resting:
		m.restUntil = m.now
	case held:
		for i := range m.leases {
			m.leases[i].renewAt = m.now
		}
	}
}
