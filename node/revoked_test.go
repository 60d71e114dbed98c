package node_test

import (
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
)

// TestRevokedWhileUnconfirmed: a VR is revoked between its first message, which was answered, and
// the packet that confirms the session. It gets no link.
func TestRevokedWhileUnconfirmed(t *testing.T) {
	for _, revoke := range []bool{false, true} {
		inWorld(t, 92, func(t *testing.T, w *nodetest.World) {
			a := w.Found("a")
			c := w.Join("c", a)
			b := w.Join("b", a)
			w.Eventually("the same documents everywhere", time.Minute, func() bool { return nodetest.Same(a, b, c) })
			c.Stop()
			w.Settle(time.Minute) // until b has given up dialling c: then its link is idle
			peer := newImpostor(t, c)
			defer peer.close()
			peer.deaf.Store(true)
			peer.dumb.Store(true)
			peer.dial(b)
			w.Settle(300 * time.Millisecond)
			if peer.linkUps(b) != 1 || b.Node.LinkWith(background, c.Joined.Router) != 0 {
				t.Fatal("no unconfirmed session: the test shows nothing")
			}
			if revoke {
				w.Must(a, policy.OpRevoke, policy.RevokeArgs{VR: "c", Reason: "test"})
				w.Eventually("the revocation at b", time.Second, func() bool { return b.Node.Revoked(background, c.Joined.Router) })
			}
			peer.dumb.Store(false) // its pings go on for two seconds
			w.Settle(time.Second)
			if up := b.Node.LinkWith(background, c.Joined.Router) != 0; up == revoke {
				t.Fatalf("revoked %v, link %v", revoke, up)
			}
		})
	}
}
