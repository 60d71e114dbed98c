package nodetest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/tables"
)

// kept returns how many requests and receipts a site has on disk. It restarts the site.
func kept(t *testing.T, s *nodetest.Site) (requests, receipts int) {
	t.Helper()
	s.Stop()
	defer s.Start()
	for d := range open(t, s).Documents() {
		switch d.Kind() {
		case tables.KindRequest:
			requests++
		case tables.KindReceipt:
			receipts++
		}
	}
	return requests, receipts
}

// TestMalformedJoinsAreNotKept: a request that nobody could grant is refused at the door.
func TestMalformedJoinsAreNotKept(t *testing.T) {
	inWorld(t, 61, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		time.Sleep(5 * time.Second)
		s := w.NewSite("stranger")
		s.Name = "NOT A NAME"
		for range 5 {
			s.Dir = t.TempDir() // a new identity each time
			err := enrol(s, a, "", time.Minute)
			if !errors.Is(err, node.ErrRefused) || !strings.Contains(err.Error(), "a-z") {
				t.Fatalf("joined with a malformed name: %v", err)
			}
		}
		if requests, receipts := kept(t, a); requests+receipts > 0 {
			t.Errorf("%d requests and %d receipts of strangers", requests, receipts)
		}
	})
}

// TestJunkJoins: strangers who fill the quota of strangers keep no invited VR out; who comes
// without an invite waits; and what strangers have asked for is gone after two days.
func TestJunkJoins(t *testing.T) {
	inWorld(t, 62, func(t *testing.T, w *nodetest.World) {
		w.AutoAdmit = "invite"
		a := w.Found("alpha")
		time.Sleep(5 * time.Second)
		s := w.NewSite("stranger")
		for range 64 {
			s.Dir = t.TempDir()
			if err := enrol(s, a, "", 3*time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("a stranger: %v, want it to wait", err)
			}
			time.Sleep(15 * time.Second) // one network has few conversations at a time
		}
		if requests, _ := kept(t, a); requests != 64 {
			t.Fatalf("%d requests", requests)
		}
		if err := enrol(w.NewSite("beta"), a, invite(t, w, time.Hour), time.Minute); err != nil {
			t.Errorf("with a valid invite: %v", err)
		}
		late := w.NewSite("late")
		if err := enrol(late, a, "", 3*time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one stranger too many: %v, want it to wait", err)
		}
		time.Sleep(49 * time.Hour)
		if requests, receipts := kept(t, a); requests > 1 || receipts > 1 {
			t.Errorf("%d requests and %d receipts after two days; only beta's should be left", requests, receipts)
		}
	})
}
