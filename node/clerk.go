package node

import (
	"strconv"
	"time"

	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
)

// A clerk does for the control loop what takes long: checking signatures and waiting for the
// disk. It works through its desk in order, so documents are stored in the order they were kept.
type clerk struct {
	n    *Node
	dir  *state.Dir
	desk chan job
	// unread counts bytes handed in and not yet checked. The control loop adds and the results,
	// which it runs, subtract; so one goroutine owns it.
	unread int
}

// A job is one piece of work; done is called in the control loop with what came of it.
type job struct {
	work func() (done func(now time.Time, l *loop))
}

const (
	deskMax = 256
	// unreadBytesMax bounds what waits to be checked: two of the largest exchanges.
	unreadBytesMax = 8 << 20
	// compactAfter is the number of bundles at which the clerk asks for a compaction.
	compactAfter = 256
)

func newClerk(n *Node) *clerk {
	return &clerk{n: n, dir: n.options.State, desk: make(chan job, deskMax)}
}

// put puts a job on the desk and reports false when there is no room.
func (c *clerk) put(work func() (done func(now time.Time, l *loop))) bool {
	select {
	case c.desk <- job{work}:
		return true
	default:
		return false
	}
}

// check has documents parsed and their signatures verified, then calls done in the control loop
// with those that are good. It reports false when the clerk has too much on the desk: then they
// are dropped, and anti-entropy brings them again.
func (c *clerk) check(raw [][]byte, done func(now time.Time, l *loop, documents []*tables.Document, refused int)) bool {
	size := 0
	for _, b := range raw {
		size += len(b)
	}
	if c.unread+size > unreadBytesMax {
		return false
	}
	ok := c.put(func() func(time.Time, *loop) {
		var good []*tables.Document
		for _, b := range raw {
			d, err := tables.ParseDocument(b)
			if err != nil {
				c.n.log.Debug("document refused", "err", err)
				continue
			}
			good = append(good, d)
		}
		return func(now time.Time, l *loop) {
			c.unread -= size
			done(now, l, good, len(raw)-len(good))
		}
	})
	if ok {
		c.unread += size
	}
	return ok
}

// store has documents written to disk as one bundle, and their marks, then calls done in the control loop.
func (c *clerk) store(documents []*tables.Document, done func(now time.Time, l *loop, err error)) bool {
	return c.put(func() func(time.Time, *loop) {
		err := appendDocuments(c.dir, documents)
		crowded := err == nil && c.dir.Bundles() > compactAfter
		return func(now time.Time, l *loop) {
			done(now, l, err)
			if crowded {
				l.compact()
			}
		}
	})
}

// compact has the disk rewritten to hold just documents, which must be all that are current, and
// marks, which must be all that the store has.
func (c *clerk) compact(documents []*tables.Document, marks []tables.Mark, done func(now time.Time, l *loop, err error)) bool {
	return c.put(func() func(time.Time, *loop) {
		err := c.dir.Compact(envelopes(documents))
		if err == nil {
			err = c.dir.SetMarks(tables.AppendMarks(nil, marks))
		}
		return func(now time.Time, l *loop) { done(now, l, err) }
	})
}

// install has the documents of an installed VN version kept together, so that a restart finds
// that version even when parts of a newer one have replaced some of them; without documents it has
// them removed. done is called in the control loop.
func (c *clerk) install(vn tables.VNID, documents []*tables.Document, done func(now time.Time, l *loop, err error)) bool {
	return c.put(func() func(time.Time, *loop) {
		var err error
		if documents == nil {
			err = c.dir.RemoveSet(vn.String())
		} else {
			err = c.dir.SetSet(vn.String(), envelopes(documents))
		}
		return func(now time.Time, l *loop) {
			if err != nil {
				l.n.log.Error("installed version not stored", "vn", vn.String(), "err", err)
			}
			done(now, l, err)
		}
	})
}

// keepIncarnation has gossip's incarnation stored, so that the next run refutes old accusations at
// once.
func (c *clerk) keepIncarnation() {
	c.put(func() func(time.Time, *loop) {
		if err := c.dir.SetNote(incarnationNote, strconv.FormatUint(uint64(c.n.gossip.Incarnation()), 10)); err != nil {
			c.n.log.Warn("gossip incarnation not stored", "err", err)
		}
		return func(time.Time, *loop) {}
	})
}

// incarnationNote is the name of the note in the state directory.
const incarnationNote = "incarnation"

// appendDocuments writes documents to disk as one bundle, and then their marks.
func appendDocuments(dir *state.Dir, documents []*tables.Document) error {
	if err := dir.Append(envelopes(documents)...); err != nil {
		return err
	}
	var marks []tables.Mark
	for _, d := range documents {
		if tables.Marked(d.Kind()) {
			marks = append(marks, tables.MarkOf(d))
		}
	}
	if len(marks) == 0 {
		return nil
	}
	return dir.AppendMarks(tables.AppendMarks(nil, marks))
}

func envelopes(documents []*tables.Document) [][]byte {
	raw := make([][]byte, len(documents))
	for i, d := range documents {
		raw[i] = d.Bytes()
	}
	return raw
}

// run is the clerk's goroutine. When the control loop has ended it still does what is on the desk:
// what was kept is on disk.
func (c *clerk) run() error {
	for {
		select {
		case j := <-c.desk:
			done := j.work()
			c.n.command(done)
		case <-c.n.done:
			for {
				select {
				case j := <-c.desk:
					j.work()
				default:
					return nil
				}
			}
		}
	}
}
