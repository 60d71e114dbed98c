package sim

// What one member believes of another, in memberlist's words. unknown is a member that was never heard
// of, or one so long gone that memberlist has forgotten it.
const (
	alive uint8 = iota
	suspect
	dead
	left
	unknown
)

// A belief is a state of a member with its incarnation.
type belief struct {
	number uint32
	state  uint8
}

// A cell is what one VR believes of one member, where not all agree.
type cell struct {
	since  int64    // when the state began
	from   [2]int32 // who suspects it: the first, and the first to confirm
	number uint32
	state  uint8
	heard  uint8  // confirmations
	timer  uint16 // generation of the suspicion's timer
}

// A column holds what every VR believes of one member. Columns exist only of members of which some VR believes
// something else than the base says: 24 bytes a VR and such member.
type column struct {
	subject int32
	cells   []cell
	changed int64 // last change of any cell
	foldAt  int64 // not before it is tried to fold the column
	pause   int64
}

// look returns what v believes of s, which is another VR.
func (e *Engine) look(v, s int32) belief {
	col := e.colOf[s]
	if col < 0 {
		return e.base[s]
	}
	c := &e.cols[col].cells[v]
	return belief{c.number, c.state}
}

// open returns the column of s, making it if there is none.
func (e *Engine) open(s int32) *column {
	if col := e.colOf[s]; col >= 0 {
		return &e.cols[col]
	}
	n := int32(len(e.cols))
	if k := len(e.freeCols); k > 0 {
		n, e.freeCols = e.freeCols[k-1], e.freeCols[:k-1]
	} else {
		e.cols = append(e.cols, column{cells: make([]cell, len(e.vrs))})
	}
	e.colOf[s] = n
	c := &e.cols[n]
	c.subject, c.pause = s, foldEvery
	c.foldAt = e.now + foldAfter
	b := e.base[s]
	for i := range c.cells {
		c.cells[i] = cell{number: b.number, state: b.state, timer: c.cells[i].timer + 1}
	}
	return c
}

const (
	// foldAfter is how long a column must have been still until it may be folded.
	foldAfter = int64(20e9)
	// foldEvery is how often that is looked at; a column that could not be folded is left alone twice as
	// long each time, up to foldMost.
	foldEvery, foldMost = int64(5e9), int64(160e9)
)

// fold gives up the columns in which all running VRs agree.
func (e *Engine) fold() {
	e.q.add(e.now+foldEvery, evFold, 0, 0, 0)
	for n := range e.cols {
		c := &e.cols[n]
		if c.subject < 0 || e.now < c.foldAt || e.now-c.changed < foldAfter {
			continue
		}
		b, agree := e.agreed(c)
		if !agree {
			c.pause = min(2*c.pause, foldMost)
			c.foldAt = e.now + c.pause
			continue
		}
		e.base[c.subject] = b
		e.colOf[c.subject] = -1
		c.subject = -1
		e.freeCols = append(e.freeCols, int32(n))
	}
}

// agreed returns what all running VRs believe of the subject of a column. Who is gone is gone in whatever way.
func (e *Engine) agreed(c *column) (belief, bool) {
	var b belief
	first := true
	for v := range c.cells {
		if e.lives[v]&1 == 0 || int32(v) == c.subject { // it does not run
			continue
		}
		have := belief{c.cells[v].number, min(c.cells[v].state, dead)}
		if c.cells[v].state == unknown {
			have.number = 0
		}
		switch {
		case have.state == suspect:
			return b, false
		case first || b.state == dead && have.state == dead && have.number > b.number:
			b, first = have, false
		case have.state != b.state || b.state == alive && have.number != b.number:
			return b, false
		}
	}
	return b, !first
}

// become records a new state of s at v, and tells who wants to know.
func (e *Engine) become(v int32, col *column, c *cell, state uint8, number uint32) {
	was := c.state
	c.state, c.number = state, number
	c.timer++
	s := col.subject
	col.changed = e.now
	col.foldAt, col.pause = min(col.foldAt, e.now+foldAfter), foldEvery
	if was == state {
		return
	}
	r := &e.vrs[v]
	wasHere, isHere := was <= suspect, state <= suspect
	if wasHere && !isHere {
		r.alive--
		r.failed += int32(b2i(state == dead))
		e.measureDown(v, s, c)
		c.since = e.now
		e.tellView(v, s, state)
	} else if !wasHere && isHere {
		r.alive++
		r.failed -= int32(b2i(was == dead))
		r.members = max(r.members, r.alive)
		e.measureUp(v, s, c, was)
		c.since = e.now
		e.tellView(v, s, state)
	} else if !wasHere {
		r.failed += int32(b2i(state == dead) - b2i(was == dead))
	} else {
		c.since = e.now
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
