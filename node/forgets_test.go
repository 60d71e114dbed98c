package node_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
)

// TestTranslatorForgets: the translator of a limited VR loses all it knows, again and again, under data both ways or one way
// only, through a queue-VR or straight. Where data only comes in, nothing but its end tells the VR that something is wrong. Each time
// data is back within a second, and the links with queue-VRs are straight again: over a detour they would serve nobody.
func TestTranslatorForgets(t *testing.T) {
	times := 3
	if night() {
		times = 40
	}
	inWorld(t, 75, func(t *testing.T, w *nodetest.World) {
		s := newScene(t, w)
		a := s.public[1]
		ha := a.NewHost()
		w.Must(s.public[0], policy.OpVNJoin, policy.VNHostsArgs{VN: "vn1", Hosts: []netip.Addr{ha}})
		if !w.Reaches(a, ha, s.c, s.hc, 20*time.Second) {
			t.Fatal("no honest traffic")
		}
		out, in := w.NewFlow(s.c, s.hc, a, ha), w.NewFlow(a, ha, s.c, s.hc)
		type list []*nodetest.Flow
		for _, x := range []struct {
			name  string
			flows list
			whose []*nodetest.Site
		}{
			{"relayed, both ways", list{s.there, s.back}, []*nodetest.Site{s.c}},
			{"relayed, the sender's", list{s.there}, []*nodetest.Site{s.c}},
			{"relayed, the receiver's", list{s.there}, []*nodetest.Site{s.d}},
			{"relayed, both translators", list{s.there, s.back}, []*nodetest.Site{s.c, s.d}},
			{"relayed one way, both translators", list{s.there}, []*nodetest.Site{s.c, s.d}},
			{"straight, both ways", list{out, in}, []*nodetest.Site{s.c}},
			{"straight, the sender's", list{out}, []*nodetest.Site{s.c}},
			{"straight, the receiver's", list{in}, []*nodetest.Site{s.c}},
		} {
			var gap time.Duration
			for range times {
				w.Run(40*time.Second, 20*time.Millisecond, x.flows...)
				start := time.Now()
				for _, site := range x.whose {
					site.NAT.Reset()
				}
				w.Run(8*time.Second, 20*time.Millisecond, x.flows...)
				for _, f := range x.flows {
					gap = max(gap, f.Gap(start))
				}
				for _, site := range x.whose {
					for _, q := range s.public {
						if via := s.viaOf(site, q); via != "" {
							t.Errorf("%s: the link of %s with %s goes through %s", x.name, site.Name, q.Name, via)
						}
					}
				}
			}
			t.Logf("NUMBER a translator forgets, %d times, %s: longest gap %v", times, x.name, gap)
			if gap > time.Second {
				t.Errorf("%s: nothing for %v", x.name, gap)
			}
		}
	})
}
