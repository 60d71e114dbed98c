package nodetest_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// TestBehindOneTranslator: two limited VRs are behind one translator, which turns packets around ("hairpinning", RFC 4787,
// section 6) or does not. They reach each other at once, and soon straight, by their inside addresses, with the queue-VR
// gone too.
func TestBehindOneTranslator(t *testing.T) {
	for name, kind := range map[string]transporttest.NATKind{
		"symmetric": transporttest.Symmetric, "symmetric, hairpin": hairpin(transporttest.Symmetric),
		"port-restricted": transporttest.PortRestrictedCone, "port-restricted, hairpin": hairpin(transporttest.PortRestrictedCone),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := nodetest.New(t, 9)
				defer w.Close()
				a := w.Found("alpha")
				w.Join("beta", a)
				c := w.Behind("gamma", kind).JoinAs(a)
				d := w.Beside(c, "delta").JoinAs(a)
				hc, hd := c.NewHost(), d.NewHost()
				w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{hc, hd}})
				if !w.Reaches(c, hc, d, hd, 5*time.Second) || !w.Reaches(d, hd, c, hc, 5*time.Second) {
					t.Fatal("they do not reach each other")
				}
				there, back := w.NewFlow(c, hc, d, hd), w.NewFlow(d, hd, c, hc)
				w.Run(30*time.Second, 50*time.Millisecond, there, back)
				if path, _ := link(t, c, d); path != "punched" {
					t.Errorf("after 30 s they are %s", path)
				}
				a.Kill()
				start := time.Now()
				w.Run(20*time.Second, 50*time.Millisecond, there, back)
				w.Settle(time.Second)
				if lost := there.Lost(start) + back.Lost(start); lost > 0 {
					t.Errorf("%d packets are lost with a queue-VR", lost)
				}
			})
		})
	}
}

func hairpin(k transporttest.NATKind) transporttest.NATKind {
	k.Hairpin = true
	return k
}
