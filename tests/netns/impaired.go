//go:build linux

package netns

import (
	"context"
	"testing"

	"github.com/vine-mesh/vine/tests/impair"
)

// Impair puts a cable into the wire of a site that was made with a Middle, as bad in both directions
// as the settings say. Without one the wire carries nothing.
func (s *Site) Impair(t testing.TB, settings impair.Settings) *impair.Cable {
	t.Helper()
	if s.Middle == nil {
		t.Fatalf("%s was made without SiteOption.Middle", s.Name)
	}
	var near, far impair.Port
	err := s.Middle.Do(func() (err error) {
		if near, err = impair.OpenPort("near"); err == nil {
			far, err = impair.OpenPort("far")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := impair.NewCable(near, far, settings, settings, uint64(s.N))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the cable of %s: %v", s.Name, err)
		}
	})
	return c
}
