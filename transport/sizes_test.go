package transport

import (
	"testing"

	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// TestSizes: the search for the path MTU ends where handshakes do, and both where the least path MTU has room for IPv6, UDP and a relay
// header. Package path does not know of package frame.
func TestSizes(t *testing.T) {
	if frame.MessageMax != path.SizeMin || frame.MessageMax+frame.RelayOverhead+8+40 != 1124 {
		t.Errorf("messages have %d bytes, the search ends at %d", frame.MessageMax, path.SizeMin)
	}
}
