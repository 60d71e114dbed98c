package node

import (
	"testing"

	"github.com/vine-mesh/vine/node/capture"
)

// A clipping is a device that only says how many packets it has dropped.
type clipping struct {
	capture.Device
	count uint64
}

func (c *clipping) Clipped() uint64 { return c.count }

// TestClippedSurvivesReplacing: what a device has dropped is still told after another has taken its place, and counted once if
// the device stays.
func TestClippedSurvivesReplacing(t *testing.T) {
	first, second := &clipping{count: 3}, &clipping{count: 5}
	a := newAttachment(first)
	for _, step := range []struct {
		device capture.Device
		want   uint64
	}{{first, 3}, {second, 8}, {second, 8}, {struct{ capture.Device }{}, 8}} {
		a.begin()
		if a.end(step.device); a.clips() != step.want {
			t.Errorf("%d dropped after %T, want %d", a.clips(), step.device, step.want)
		}
	}
}
