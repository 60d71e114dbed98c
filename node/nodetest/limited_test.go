package nodetest_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// kind returns what a site's VR says that it is.
func kind(t *testing.T, s *nodetest.Site) string {
	t.Helper()
	st, err := s.API().Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return st.Kind
}

// link returns how a site's VR reaches another's: direct, relayed, or no link.
func link(t *testing.T, from, to *nodetest.Site) (path, via string) {
	t.Helper()
	links, err := from.API().Links(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Peer == to.Name {
			return l.Path, l.Via
		}
	}
	return "none", ""
}

// TestLimitedSites: two sites behind symmetric translators and two public ones, all joined by the seed's address
// alone, all in one VN. Every host reaches every other: the two limited ones through a queue-VR, and so do
// their gossip and their documents.
func TestLimitedSites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.New(t, 1)
		defer w.Close()
		a := w.Found("alpha")
		b := w.Join("beta", a)
		c := w.Behind("gamma", transporttest.Symmetric).JoinAs(a)
		d := w.Behind("delta", transporttest.Symmetric).JoinAs(a)
		start := time.Now()
		w.Eventually("gamma and delta know what they are", 30*time.Second, func() bool {
			return kind(t, c) == "limited" && kind(t, d) == "limited" && kind(t, a) == "regular" && kind(t, b) == "regular"
		})
		t.Logf("kinds known after %v", time.Since(start))
		hosts := map[*nodetest.Site]netip.Addr{}
		var all []netip.Addr
		for _, s := range w.Sites {
			hosts[s] = s.NewHost()
			all = append(all, hosts[s])
		}
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: all})
		for _, from := range w.Sites {
			for _, to := range w.Sites {
				if from == to {
					continue
				}
				start := time.Now()
				if !w.Reaches(from, hosts[from], to, hosts[to], 20*time.Second) {
					t.Errorf("%s does not reach %s", from.Name, to.Name)
				}
				path, via := link(t, from, to)
				t.Logf("%s reaches %s after %v, %s %s", from.Name, to.Name, time.Since(start), path, via)
			}
		}
	})
}
