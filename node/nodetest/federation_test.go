package nodetest_test

import (
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
)

// TestThreeSites: three sites know only the seed's address; two VNs keep their hosts apart.
func TestThreeSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.New(t, 1)
		defer w.Close()
		a := w.Found("alpha")
		if os.Getenv("VINE_TEST_LOG") != "" {
			w.Net.OnSend(func(now time.Time, from, to netip.AddrPort, p []byte) {
				t.Log(now.Format("05.000"), from, to, p[0], len(p))
			})
		}
		start := time.Now()
		b := w.Join("beta", a)
		c := w.Join("gamma", a)
		ha, hb, hc, hb2 := a.NewHost(), b.NewHost(), c.NewHost(), b.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{ha, hb}})
		w.Must(c, policy.OpVNCreate, policy.VNCreateArgs{Name: "biology", Hosts: []netip.Addr{hb2, hc}})
		if !w.Reaches(a, ha, b, hb, 10*time.Second) {
			t.Fatal("hosts of one VN do not reach each other")
		}
		t.Logf("two joins, two VNs and the first packet: %v", time.Since(start))
		if !w.Reaches(c, hc, b, hb2, 10*time.Second) || !w.Reaches(b, hb2, c, hc, 10*time.Second) {
			t.Error("hosts of the other VN do not reach each other")
		}
		if w.Reaches(a, ha, c, hc, 3*time.Second) || w.Reaches(a, ha, b, hb2, 3*time.Second) {
			t.Error("a packet crossed from one VN to another")
		}
	})
}
