package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/vine-mesh/vine/node/vr"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
)

// Life of a document: bytes from the network are checked by the clerk (receive), judged by the
// store (keep), written to disk by the clerk, and only then told to others and compiled into
// what the lanes read (stored, publish). A revocation acts before it is written.

const (
	// publishAfter gathers the documents of one change into one compilation.
	publishAfter = 5 * time.Millisecond
	// forgetEvery is how often requests that have ended are dropped.
	forgetEvery = 5 * time.Minute
)

// receive takes documents from the network. from is the router that sent them, for the log and
// for evidence; nothing is believed on its word.
func (l *loop) receive(raw [][]byte, from tables.RouterID) {
	if len(raw) == 0 {
		return
	}
	ok := l.clerk.check(raw, func(now time.Time, l *loop, documents []*tables.Document, refused int) {
		if refused > 0 {
			l.n.log.Warn("documents refused", "peer", l.name(from), "count", refused)
		}
		l.keep(now, documents, from)
	})
	if !ok {
		l.n.log.Debug("documents dropped: too many wait to be checked", "count", len(raw))
	}
}

// keep gives documents with good signatures to the store and has what it kept written to disk.
// It returns the error of the last document that was refused.
func (l *loop) keep(now time.Time, documents []*tables.Document, from tables.RouterID) error {
	var err error
	for _, d := range documents {
		switch outcome, perr := l.store.Put(now, d, tables.FromNetwork); outcome {
		case tables.Refused:
			err = perr
			l.n.log.Debug("document refused", "key", d.Key().String(), "peer", l.name(from), "err", perr)
		case tables.Equivocation:
			l.n.log.Error("two documents of one version: their signer is at fault", "key", d.Key().String(), "version", d.Version(), "peer", l.name(from))
		}
	}
	l.takeChanges(now)
	return err
}

// keepOwn keeps documents that this VR has just made and signed. They go in together: an error
// says that one did not, and is a fault of ours.
func (l *loop) keepOwn(now time.Time, documents []*tables.Document) error {
	var err error
	for _, d := range documents {
		if outcome, perr := l.store.Put(now, d, tables.FromDisk); outcome != tables.Kept && outcome != tables.Same {
			err = fmt.Errorf("%s is %s: %w", d.Key(), outcome, perr)
			break
		}
	}
	l.takeChanges(now)
	return err
}

// takeChanges has everything that changed in the store written to disk. A revocation acts first.
func (l *loop) takeChanges(now time.Time) {
	changes := l.store.TakeChanges()
	l.backlog.add(changes)
	for _, c := range changes {
		if c.Doc != nil && c.Key.Kind == tables.KindRevocation {
			l.revoked(now, c.Doc.Body().(tables.Revocation))
		}
		if c.Doc != nil && c.Key.Kind == tables.KindEnrolment {
			l.self.handle(now, vr.Joined{})
		}
	}
	l.backlog.write(now)
}

// forget drops from the store what time has ended.
func (l *loop) forget(now time.Time) {
	l.store.Expire(now)
	l.takeChanges(now)
	l.book.tend(now)
}

// stored tells others of documents that are on disk, and has the tables compiled.
func (l *loop) stored(now time.Time, changes []tables.Change) {
	l.gossip.changed(now, changes)
	l.publishDirectory()
	l.wakeRequests(changes)
	l.tellChanges(now, changes)
	l.server.news(now)
	l.due(now, choreHosts, tendAfter)
	if slices.ContainsFunc(changes, ofVN) {
		// Before the next bundle, which may hold parts of the next version: see backlog.owes.
		l.chore(now, chorePublish)
	} else {
		l.due(now, chorePublish, publishAfter)
	}
	if l.author != nil {
		l.due(now, choreAuthority, publishAfter)
	}
}

// ofVN reports whether a change may complete a version of a VN.
func ofVN(c tables.Change) bool {
	switch c.Key.Kind {
	case tables.KindVN, tables.KindManifest, tables.KindFragment, tables.KindRoster:
		return true
	}
	return false
}

// revoked cuts a router off at once: its links, and with them its keys.
func (l *loop) revoked(now time.Time, r tables.Revocation) {
	for _, id := range l.links.Routers() {
		if _, ok := l.store.Enrolment(id); !ok {
			l.do(now, l.links.Close(now, id, transport.ReasonRevoked))
		}
	}
	l.n.log.Warn("identity revoked", "fingerprint", r.Identity.Fingerprint(), "reason", r.Reason)
	if err := l.publish(now); err != nil {
		l.n.log.Error("tables not changed", "err", err)
	}
}

// compact rewrites the disk to hold each current document once.
func (l *loop) compact() {
	if l.backlog.owes() {
		return // parts of an installed version may be in old bundles only; there will be another occasion
	}
	all := slices.Collect(l.store.Documents())
	l.clerk.compact(all, l.store.HighWater(), func(_ time.Time, l *loop, err error) {
		if err != nil {
			l.n.log.Warn("documents not compacted", "err", err)
		}
	})
}

// name returns what people call a router.
func (l *loop) name(id tables.RouterID) string {
	if id == 0 {
		return "-"
	}
	if e, ok := l.store.Enrolment(id); ok {
		return e.Name
	}
	return id.String()
}

// wakeRequests tells those who wait for the outcome of a request that it has one, or is gone.
func (l *loop) wakeRequests(changes []tables.Change) {
	wake := func(request tables.Hash) {
		for _, wake := range l.waits[request] {
			close(wake)
		}
		delete(l.waits, request)
	}
	for _, c := range changes {
		switch {
		case c.Doc != nil && c.Key.Kind == tables.KindReceipt:
			wake(c.Doc.Body().(tables.Receipt).Request)
		case c.Doc == nil && c.Key.Kind == tables.KindRequest:
			for request := range l.waits {
				if tables.RequestKey(request) == c.Key {
					wake(request)
				}
			}
		}
	}
}

// sharing returns the routers that share a VN with us, at most dialsMax, sorted.
func (l *loop) sharing() []tables.RouterID {
	var ids []tables.RouterID
	for _, vn := range l.installed {
		if !serves(vn, l.n.self.Router) {
			continue
		}
		for _, set := range vn.Sets {
			for _, id := range set.Routers {
				if id != l.n.self.Router && !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), dialsMax)]
}
