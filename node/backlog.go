package node

import (
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A backlog is what the store has kept and the disk has not yet. Everything in it goes to disk as
// one bundle, one bundle at a time, so that a newer version never lands before an older one; what
// fails stays and is tried again. What is not on disk is not told to others and not installed, while
// packets go on by the tables that are. The control loop owns it.
type backlog struct {
	l       *loop
	changes map[tables.DocKey]tables.Change // by key: the newest
	order   []tables.DocKey                 // of changes, first come first
	writing map[tables.DocKey]bool          // the keys of the bundle that is with the clerk; nil: none
	resting bool                            // the last one failed; a retry is due
	waits   map[tables.DocKey][]func(error) // who wants to know that a key is on disk
	// stored is the store as it is on disk. Only this is told to others: what is not there is not so yet.
	stored *tables.View
	ahead  *ahead // the last that believed has made; nil: none
	// sets are the installed versions that are with the clerk, to be kept together.
	sets map[tables.VNID]uint64
}

const (
	// storeRetry is how often a failed write to disk is tried again.
	storeRetry = 2 * time.Second
)

func newBacklog(l *loop) *backlog {
	return &backlog{l: l, stored: l.store.Snapshot(), changes: map[tables.DocKey]tables.Change{}, waits: map[tables.DocKey][]func(error){}, sets: map[tables.VNID]uint64{}}
}

// add takes changes of the store, to be written.
func (b *backlog) add(changes []tables.Change) {
	for _, c := range changes {
		b.put(c)
	}
}

func (b *backlog) put(c tables.Change) {
	if _, there := b.changes[c.Key]; !there {
		b.order = append(b.order, c.Key)
	}
	b.changes[c.Key] = c
}

// believed returns what this VR acts by: what is on disk, and the revocations that are not there yet.
func (b *backlog) believed() *tables.View {
	var urgent []*tables.Document
	for key, c := range b.changes {
		if key.Kind == tables.KindRevocation && c.Doc != nil {
			urgent = append(urgent, c.Doc)
		}
	}
	for key := range b.writing {
		if d := b.l.store.Get(key); key.Kind == tables.KindRevocation && d != nil {
			urgent = append(urgent, d)
		}
	}
	if len(urgent) == 0 {
		b.ahead = nil
		return b.stored
	}
	if b.ahead == nil || b.ahead.from != b.stored || b.ahead.revocations != len(urgent) {
		s := tables.NewStore(b.stored.FederationID())
		s.Load(b.l.now, append(urgent, slices.Collect(b.stored.Documents())...), tables.FromDisk)
		b.ahead = &ahead{from: b.stored, revocations: len(urgent), view: s.Snapshot()}
	}
	return b.ahead.view
}

// An ahead is what is on disk with revocations that are not.
type ahead struct {
	from        *tables.View
	revocations int
	view        *tables.View
}

// whenStored calls done once what the store has under key is on disk, or with the error of a write
// that failed: then it stays in the backlog all the same.
func (b *backlog) whenStored(key tables.DocKey, done func(error)) {
	if _, waits := b.changes[key]; !waits && !b.writing[key] {
		done(nil)
		return
	}
	b.waits[key] = append(b.waits[key], done)
}

// owes reports whether an installed version is not kept together on disk yet. Until it is, nothing else is written: parts of the next version
// take the place of some of it, and a start in between would find neither whole.
func (b *backlog) owes() bool {
	return slices.ContainsFunc(b.l.installed, func(vn tables.Installed) bool { return b.l.onDisk[vn.VN.ID] != vn.VN.Version })
}

// keepSet has an installed version kept together on disk.
func (b *backlog) keepSet(now time.Time, vn tables.Installed) {
	id, version := vn.VN.ID, vn.VN.Version
	if b.sets[id] == version {
		return
	}
	taken := b.l.clerk.install(id, vn.Documents, func(now time.Time, l *loop, err error) {
		if b.sets[id] == version {
			delete(b.sets, id)
		}
		if l.diskError = err; err != nil {
			b.rest(now)
			return
		}
		l.onDisk[id] = version
		l.n.log.Info("VN installed", "vn", vn.VN.Name, "version", version)
		b.write(now)
	})
	if !taken {
		b.rest(now)
		return
	}
	b.sets[id] = version
}

// write gives everything that waits to the clerk, unless a bundle is there already.
func (b *backlog) write(now time.Time) {
	if b.writing != nil || b.resting || len(b.order) == 0 || b.owes() {
		return
	}
	batch := make([]tables.Change, 0, len(b.order))
	keys := make(map[tables.DocKey]bool, len(b.order))
	var documents []*tables.Document
	for _, key := range b.order {
		c := b.changes[key]
		batch, keys[key] = append(batch, c), true
		if c.Doc != nil {
			documents = append(documents, c.Doc)
		}
	}
	view := b.l.store.Snapshot()
	taken := b.l.clerk.store(documents, func(now time.Time, l *loop, err error) { b.written(now, batch, view, err) })
	if !taken {
		b.rest(now)
		return
	}
	b.writing, b.order, b.changes = keys, nil, map[tables.DocKey]tables.Change{}
}

// written takes the outcome of a write, after which view is what is on disk.
func (b *backlog) written(now time.Time, batch []tables.Change, view *tables.View, err error) {
	b.writing = nil
	if b.l.diskError = err; err != nil {
		b.l.n.log.Error("documents not stored; will try again", "err", err)
		newer, order := b.changes, b.order
		b.changes, b.order = map[tables.DocKey]tables.Change{}, nil
		for _, c := range batch {
			b.put(c)
		}
		for _, key := range order {
			b.put(newer[key])
		}
		b.rest(now)
	} else {
		b.stored = view
		b.l.stored(now, batch)
	}
	for _, c := range batch {
		if _, newer := b.changes[c.Key]; newer && err == nil {
			continue // who waits for the key may wait for that
		}
		list := b.waits[c.Key]
		delete(b.waits, c.Key)
		for _, done := range list {
			done(err)
		}
	}
	b.write(now)
}

// rest makes the next write wait.
func (b *backlog) rest(now time.Time) {
	if b.resting {
		return
	}
	b.resting = true
	b.l.after(now, storeRetry, func(now time.Time) {
		b.resting = false
		b.l.keepInstalled(now)
		b.write(now)
	})
}
