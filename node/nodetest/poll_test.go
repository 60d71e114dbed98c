package nodetest_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// hasty is a symmetric translator that forgets a mapping after half a second of silence.
var hasty = transporttest.NATKind{
	Mapping: transporttest.AddressAndPortDependent, Filtering: transporttest.AddressAndPortDependent, Timeout: 500 * time.Millisecond,
}

// TestPollThroughHastyTranslators: two sites behind translators that forget a mapping within half a second. With polls
// a packet that comes after a silence waits and arrives; through a channel that only probes keep open many are lost,
// which shows that the translators do what they are there for.
func TestPollThroughHastyTranslators(t *testing.T) {
	lost := map[string]int{}
	for name, poll := range map[string]node.Poll{"channel": node.PollNone, "poll": node.PollUDP} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := nodetest.New(t, 1)
				defer w.Close()
				a := w.Found("alpha")
				b := w.Join("beta", a)
				var limited [2]*nodetest.Site
				for i := range limited {
					s := w.Behind(fmt.Sprintf("limited%d", i), hasty)
					s.Kind = "limited"
					s.Adjust = func(o *node.Settings) { o.Poll, o.Interval = poll, 200*time.Millisecond }
					limited[i] = s.JoinAs(a)
				}
				hosts := map[*nodetest.Site]netip.Addr{}
				var all []netip.Addr
				for _, s := range w.Sites {
					hosts[s] = s.NewHost()
					all = append(all, hosts[s])
				}
				w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: all})
				c, d := limited[0], limited[1]
				for _, from := range []*nodetest.Site{a, b, d} {
					if !w.Reaches(from, hosts[from], c, hosts[c], 20*time.Second) {
						t.Errorf("%s does not reach %s", from.Name, c.Name)
					}
				}
				w.Settle(10 * time.Second)
				start := time.Now()
				flow := w.NewFlow(d, hosts[d], c, hosts[c])
				w.Run(2*time.Minute, 3*time.Second, flow)
				w.Settle(3 * time.Second)
				lost[name] = flow.Lost(start)
				path, via := link(t, d, c)
				t.Logf("%d of %d lost, %s %s", flow.Lost(start), flow.Sent(), path, via)
				for _, s := range w.Sites {
					st, _ := s.API().Status(t.Context())
					t.Logf("%s %v members %d", s.Name, st.Packets.Drops, st.Members)
				}
			})
		})
	}
	if lost["poll"] > 0 {
		t.Errorf("%d packets lost with polls", lost["poll"])
	}
	if lost["channel"] == 0 {
		t.Error("none lost without polls: the translators are too patient")
	}
}
