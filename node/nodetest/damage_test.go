package nodetest_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
)

func bundles(t *testing.T, s *nodetest.Site) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(s.Dir, "documents", "*.bundle"))
	if err != nil || len(names) < 2 {
		t.Fatalf("bundles %v, %v", names, err)
	}
	return names
}

// TestDamagedBundle: an authority that has lost an enrolment to its disk gives its router ID to
// nobody else.
func TestDamagedBundle(t *testing.T) {
	inWorld(t, 63, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		time.Sleep(20 * time.Second)
		b.Kill()
		a.Stop()
		for _, name := range bundles(t, a)[1:] {
			if err := os.Truncate(name, 20); err != nil {
				t.Fatal(err)
			}
		}
		a.Start()
		c := w.Join("gamma", a)
		if b.Joined.Router == c.Joined.Router {
			t.Errorf("%s was given twice", c.Joined.Router)
		}
	})
}

// TestDamagedAuthority: an authority that may have forgotten what it signed signs nothing until it
// has met another member.
func TestDamagedAuthority(t *testing.T) {
	inWorld(t, 64, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		time.Sleep(20 * time.Second)
		b.Stop()
		a.Stop()
		junk := filepath.Join(a.Dir, "documents", "000000009999.bundle")
		if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, a) // sets the bundle aside: that it did must outlast this
		a.Start()
		c := w.NewSite("gamma")
		if err := enrol(c, a, "", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the authority answered: %v", err)
		}
		b.Start()
		if err := enrol(c, a, "", time.Minute); err != nil {
			t.Errorf("after the other member came back: %v", err)
		}
		// And not again after the next start.
		b.Stop()
		a.Stop()
		a.Start()
		if err := enrol(w.NewSite("delta"), a, "", time.Minute); err != nil {
			t.Errorf("after another start: %v", err)
		}
	})
}
