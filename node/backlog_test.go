package node

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// TestOlderNeverOverNewer: whatever delays the writing of one version of a document, a later one
// stays the one that is told. A write that failed was once tried again after a newer version had
// been stored: then the index went back to the old version, and the VR reconciled for ever with
// everybody who had the new one.
func TestOlderNeverOverNewer(t *testing.T) {
	for name, run := range map[string]func(s *still, first, second *tables.Document){
		"no room on the desk": func(s *still, first, second *tables.Document) {
			for s.l.clerk.put(func() func(time.Time, *loop) { return func(time.Time, *loop) {} }) {
			}
			s.keep(first)
			s.work()
			s.wait(time.Second)
			s.keep(second)
			s.work()
		},
		"the disk failed": func(s *still, first, second *tables.Document) {
			mend := s.breakDisk()
			s.keep(first)
			s.work()
			mend()
			s.wait(time.Second)
			s.keep(second)
			s.work()
		},
		"it failed after the newer one came": func(s *still, first, second *tables.Document) {
			mend := s.breakDisk()
			s.keep(first) // is with the clerk
			s.keep(second)
			s.work()
			mend()
		},
	} {
		t.Run(name, func(t *testing.T) {
			withStill(t, func(t *testing.T, s *still) {
				r := s.enrol("beta", "beta")
				s.work()
				first, second := s.record(r, r.static.Public()), s.record(r, r.static.Public())
				run(s, first, second)
				s.wait(10 * time.Second)
				if got := s.told(first.Key()); got != second.Version() {
					t.Errorf("version %d is told and version %d is held", got, second.Version())
				}
				versions := s.onDisk(first.Key())
				if !slices.IsSorted(versions) || len(versions) == 0 || versions[len(versions)-1] != second.Version() {
					t.Errorf("versions on disk, in the order of writing: %v", versions)
				}
			})
		})
	}
}

// TestNothingToldBeforeItIsStored: while the disk cannot be written, what the VR has kept is in no
// index and no rumour, and Status says so; when it can, all of it is stored, once, and told without
// another word from outside.
func TestNothingToldBeforeItIsStored(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		r := s.enrol("beta", "beta")
		s.wait(15 * time.Second) // our own link record has settled
		rumours := s.l.n.rumours.queue.Len()
		mend := s.breakDisk()
		d := s.record(r, r.static.Public())
		var outcomes []error
		s.keep(d)
		s.l.backlog.whenStored(d.Key(), func(err error) { outcomes = append(outcomes, err) })
		s.work()
		s.wait(7 * time.Second)
		if s.told(d.Key()) != 0 || s.l.n.rumours.queue.Len() != rumours {
			t.Error("a document is told that is not on disk")
		}
		if s.l.diskError == nil || len(s.l.facts(time.Now())) == 0 {
			t.Error("nobody is told of the disk that fails")
		}
		if len(outcomes) != 1 || outcomes[0] == nil {
			t.Errorf("outcomes of the write: %v", outcomes)
		}
		mend()
		s.wait(storeRetry)
		if s.told(d.Key()) != d.Version() || s.l.n.rumours.queue.Len() != rumours+1 || s.l.diskError != nil {
			t.Errorf("version %d is told, %d rumours, %v", s.told(d.Key()), s.l.n.rumours.queue.Len()-rumours, s.l.diskError)
		}
		s.wait(time.Minute)
		if got := s.onDisk(d.Key()); len(got) != 1 {
			t.Errorf("written %d times", len(got))
		}
		if len(outcomes) != 1 {
			t.Errorf("somebody was told %d outcomes", len(outcomes))
		}
	})
}

// TestOneBundleAtATime: what comes while a bundle is with the clerk goes together in the next one.
// With several bundles on their way, one that failed would be overtaken.
func TestOneBundleAtATime(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		r := s.enrol("beta", "beta")
		s.work()
		count := func() int {
			names, err := filepath.Glob(filepath.Join(s.path, "documents", "*.bundle"))
			s.check(err)
			return len(names)
		}
		before := count()
		for range 100 {
			s.keep(s.record(r, r.static.Public()))
		}
		if n := len(s.l.clerk.desk); n != 1 {
			t.Errorf("%d bundles are with the clerk", n)
		}
		s.work()
		if n := count() - before; n != 2 {
			t.Errorf("%d bundles for what is one document, 100 times", n)
		}
		if got := s.told(tables.LinkRecordKey(r.id)); got != 100 {
			t.Errorf("version %d is told of 100", got)
		}
	})
}

// TestRequestThatFailedOnce: a request is accepted only when it is on disk, also when it is asked
// for again. One whose first write failed was once called accepted the second time, since the store
// had it already, and was told to nobody.
func TestRequestThatFailedOnce(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		d, err := policy.NewRequest(time.Now(), &steady{}, s.user, policy.OpVNCreate, policy.VNCreateArgs{Name: "later"})
		s.check(err)
		submit := func() chan error {
			stored := make(chan error, 1)
			s.l.handle(func(now time.Time) { s.l.submit(now, d, stored) })
			return stored
		}
		wrong := func(when string, stored chan error) {
			t.Helper()
			select {
			case err := <-stored:
				if err == nil {
					t.Errorf("%s: accepted, and not on disk", when)
				}
			default:
			}
		}
		mend := s.breakDisk()
		first := submit()
		wrong("before the write", first)
		s.work()
		select {
		case err := <-first:
			if err == nil {
				t.Error("accepted, though the disk failed")
			}
		default:
			t.Error("the write has failed and nobody is told")
		}
		second := submit()
		s.wait(storeRetry + time.Second)
		wrong("asked again", second)
		third := submit()
		mend()
		s.wait(storeRetry + time.Second)
		for name, stored := range map[string]chan error{"asked a third time": third, "asked when all is well": submit()} {
			select {
			case err := <-stored:
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			default:
				t.Errorf("%s: no answer", name)
			}
		}
		if s.told(d.Key()) != d.Version() {
			t.Error("accepted, and told to nobody")
		}
		if len(s.onDisk(d.Key())) == 0 {
			t.Error("accepted, and not on disk")
		}
	})
}

// TestEndedRequestsAreForgotten: nothing but time ends a request that no authority answers; the
// running VR itself must drop it, from its store, its index and at last its disk. Otherwise every
// stranger's join request stays with every VR until its next restart.
func TestEndedRequestsAreForgotten(t *testing.T) {
	withStill(t, func(t *testing.T, s *still) {
		s.l.handle(s.l.start)
		s.work()
		d, err := policy.NewRequest(time.Now(), &steady{}, s.user, policy.OpVNCreate, policy.VNCreateArgs{Name: "never"})
		s.check(err)
		s.keep(d)
		s.work()
		if len(s.l.store.Requests()) != 1 || s.told(d.Key()) == 0 {
			t.Fatal("the request is not kept")
		}
		end := d.Body().(tables.Request).NotAfter
		s.wait(time.Until(time.Unix(end, 0)) - time.Minute)
		if len(s.l.store.Requests()) != 1 {
			t.Error("the request is dropped before its end")
		}
		s.wait(time.Minute + tables.Grace + forgetEvery)
		if n := len(s.l.store.Requests()); n > 0 {
			t.Errorf("%d requests have ended and are kept", n)
		}
		if s.told(d.Key()) != 0 {
			t.Error("a request that is not kept is told")
		}
		s.l.compact()
		s.work()
		if n := len(s.onDisk(d.Key())); n > 0 {
			t.Error("the request is on disk")
		}
	})
}
