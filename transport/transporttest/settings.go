package transporttest

// SetLoss sets the probability that a packet is lost between two public nodes, in addition to what
// the Path says.
func (in *Internet) SetLoss(p float64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.loss = p
}

// SetDefaultPath sets the path between two public nodes that have none of their own. Each direction
// of each pair has a line of its own when there is a Bandwidth.
func (in *Internet) SetDefaultPath(p Path) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.core.setUsual(p)
}

// SetPath sets the path between a and b, alike in both directions. For nodes behind NAT boxes it is
// the path between the outermost boxes that differ, and so shared by all behind those.
func (in *Internet) SetPath(a, b Node, p Path) {
	in.SetPathOneWay(a, b, p)
	in.SetPathOneWay(b, a, p)
}

// SetPathOneWay is SetPath for one direction. What waits for the line of the path before is forgotten;
// what is under way still arrives as it would have.
func (in *Internet) SetPathOneWay(from, to Node, p Path) {
	in.mu.Lock()
	defer in.mu.Unlock()
	r, x, y := meet(from.base(), to.base())
	r.pairs[pair{x.id, y.id}] = &pipe{Path: p}
}

// Cut keeps a and b, and all behind them, from reaching each other until Heal or Join. What is under
// way between them is lost as well, for the cut is at the receiving end. The state of NAT boxes and
// firewalls goes on as if there were no cut.
func (in *Internet) Cut(a, b Node) {
	in.CutOneWay(a, b)
	in.CutOneWay(b, a)
}

// CutOneWay keeps what from sends from reaching to.
func (in *Internet) CutOneWay(from, to Node) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.cuts[pair{from.base().id, to.base().id}] = true
}

// Join ends a Cut of the same two nodes.
func (in *Internet) Join(a, b Node) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.cuts, pair{a.base().id, b.base().id})
	delete(in.cuts, pair{b.base().id, a.base().id})
}

// Partition cuts the groups off from each other and from all others, until the next Partition or Heal.
// A node behind a NAT box is in the group of the box unless it is named itself.
func (in *Internet) Partition(groups ...[]Node) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ungroup()
	for i, g := range groups {
		for _, n := range g {
			n.base().group = i + 1
		}
	}
}

// Heal ends every Cut and Partition.
func (in *Internet) Heal() {
	in.mu.Lock()
	defer in.mu.Unlock()
	clear(in.cuts)
	in.ungroup()
}

func (in *Internet) ungroup() {
	for _, n := range in.nodes {
		n.group = 0
	}
}

// cut reports whether packets of one host cannot reach another.
func (in *Internet) cut(from, to *node) bool {
	if from.effectiveGroup() != to.effectiveGroup() {
		return true
	}
	if len(in.cuts) == 0 {
		return false
	}
	for x := from; x != nil; x = x.parent() {
		for y := to; y != nil; y = y.parent() {
			if in.cuts[pair{x.id, y.id}] {
				return true
			}
		}
	}
	return false
}
