package sim

// A mending is what has to become alike after a heal.
type mending struct {
	since int64
	docs  []int32
	wants []uint32
	sides int
}

// startRepair remembers, when a split has ended, which documents differ.
func (e *Engine) startRepair() {
	m := &e.mending
	m.docs, m.wants = m.docs[:0], m.wants[:0]
	for doc := range e.docs {
		d := &e.docs[doc]
		if d.held == nil {
			continue
		}
		for v := range e.vrs {
			if e.vrs[v].joined && d.held[v] < d.latest {
				m.docs, m.wants = append(m.docs, int32(doc)), append(m.wants, d.latest)
				break
			}
		}
	}
	m.since = e.now
	if len(m.docs) == 0 {
		m.since = 0
	}
}

// checkRepair sees, once a second, whether all hold what was signed before the heal.
func (e *Engine) checkRepair() {
	m := &e.mending
	if m.since == 0 || e.net.split {
		return
	}
	for i, doc := range m.docs {
		for v := range e.vrs {
			if r := &e.vrs[v]; r.joined && !r.paused && r.since < m.since && e.docs[doc].held[v] < m.wants[i] {
				return
			}
		}
	}
	if e.recording() {
		e.repair.add(e.now - m.since)
	}
	m.since = 0
}
