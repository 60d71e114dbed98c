package nodetest_test

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// TestRekeyLosesNothing: while two limited VRs exchange data through a queue-VR, and with a public one straight, all links
// change their keys again and again, each at its own times. No packet is lost or comes twice. At night it is two hours,
// some sixty rekeys of every link.
func TestRekeyLosesNothing(t *testing.T) {
	long := 4*time.Minute + 30*time.Second
	if os.Getenv("VINE_NIGHT") != "" {
		long = 2 * time.Hour
	}
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.New(t, 8)
		defer w.Close()
		a := w.Found("alpha")
		w.Join("beta", a)
		c := w.Behind("gamma", transporttest.Symmetric).JoinAs(a)
		d := w.Behind("delta", transporttest.Symmetric).JoinAs(a)
		ha, hc, hd := a.NewHost(), c.NewHost(), d.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{ha, hc, hd}})
		for _, pair := range [][2]*nodetest.Site{{c, d}, {c, a}} {
			hosts := map[*nodetest.Site]netip.Addr{a: ha, c: hc, d: hd}
			if !w.Reaches(pair[0], hosts[pair[0]], pair[1], hosts[pair[1]], time.Minute) {
				t.Fatalf("%s does not reach %s", pair[0].Name, pair[1].Name)
			}
		}
		w.Settle(10 * time.Second)
		if path, _ := link(t, c, d); path != "relayed" {
			t.Fatalf("the limited ones are %s", path)
		}
		age := func(from, to *nodetest.Site) float64 {
			links, err := from.API().Links(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range links {
				if l.Peer == to.Name {
					return l.Handshake
				}
			}
			return 0
		}
		flows := []*nodetest.Flow{w.NewFlow(c, hc, d, hd), w.NewFlow(d, hd, c, hc), w.NewFlow(c, hc, a, ha), w.NewFlow(a, ha, c, hc)}
		start := time.Now()
		var rekeys [2]int
		var ages [2]float64
		for time.Since(start) < long {
			w.Run(30*time.Second, 10*time.Millisecond, flows...)
			for i, to := range []*nodetest.Site{d, a} {
				now := age(c, to)
				if now < ages[i] {
					rekeys[i]++
				}
				ages[i] = now
			}
		}
		w.Settle(time.Second)
		t.Logf("NUMBER %v rekeys of the two links in %v", rekeys, long)
		if want := int(long/(secure.RekeyAfter+20*time.Second)) - 1; min(rekeys[0], rekeys[1]) < max(want, 2) {
			t.Errorf("%v rekeys: the test shows nothing", rekeys)
		}
		for _, f := range flows {
			if lost := f.Lost(start); lost > 0 || f.Twice > 0 {
				t.Errorf("%s to %s: %d of %d lost, %d twice", f.From.Name, f.To.Name, lost, f.Sent(), f.Twice)
			}
		}
	})
}
