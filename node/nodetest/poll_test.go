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

// TestFairQueue: three limited sites send through one queue-VR that relays at most 3 Mb/s. One of them sends ten times
// its share, two somewhat more than theirs. Each gets a third.
func TestFairQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 3e6
		w := nodetest.New(t, 1)
		defer w.Close()
		a := w.NewSite("alpha")
		a.Adjust = func(o *node.Settings) { o.Rate = rate }
		a.Found()
		var senders, receivers []*nodetest.Site
		hosts := map[*nodetest.Site]netip.Addr{}
		var all []netip.Addr
		for i := range 6 {
			s := w.Behind(fmt.Sprintf("limited%d", i), transporttest.Symmetric)
			s.Kind = "limited"
			s.JoinAs(a)
			if i < 3 {
				senders = append(senders, s)
			} else {
				receivers = append(receivers, s)
			}
			hosts[s] = s.NewHost()
			all = append(all, hosts[s])
		}
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: all})
		var flows []*nodetest.Flow
		for i, from := range senders {
			to := receivers[i]
			if !w.Reaches(from, hosts[from], to, hosts[to], 20*time.Second) {
				t.Fatalf("%s does not reach %s", from.Name, to.Name)
			}
			f := w.NewFlow(from, hosts[from], to, hosts[to])
			f.Size = 1200
			flows = append(flows, f)
		}
		w.Settle(3 * time.Second)
		const seconds = 20
		start := time.Now()
		// A packet every 8 ms from each is 1.2 Mb/s; the first is run nine times.
		greedy := flows[0]
		w.Run(seconds*time.Second, 8*time.Millisecond,
			greedy, greedy, greedy, greedy, flows[1], flows[2], greedy, greedy, greedy, greedy, greedy)
		w.Settle(time.Second)
		sum := 0.0
		var got []float64
		for _, f := range flows {
			bits := float64(f.Sent()-f.Lost(start)) * 8 * (1200 + 28 + 32 + 16 + 48) / seconds // with the headers of UDP, VINE and the relay
			sum += bits
			got = append(got, bits)
			path, via := link(t, f.From, f.To)
			t.Logf("%s sends %.2f Mb/s, %.2f arrive, %s %s", f.From.Name, float64(f.Sent())*8*1200/seconds/1e6, bits/1e6, path, via)
			if path != "relayed" {
				t.Errorf("%s goes %s", f.From.Name, path)
			}
		}
		for i, bits := range got {
			if share := rate / 3; bits < 0.9*share || bits > 1.1*share {
				t.Errorf("%s gets %.2f Mb/s of %.2f", senders[i].Name, bits/1e6, share/1e6)
			}
		}
		if sum < 0.9*rate || sum > 1.02*rate {
			t.Errorf("%.2f Mb/s in all", sum/1e6)
		}
		st, err := a.API().Status(t.Context())
		if err != nil || st.Packets.Drops["relay-queue-full"] == 0 {
			t.Errorf("no drops are counted: %v, %v", st.Packets.Drops, err)
		}
		t.Logf("%v", st.Packets.Drops)
	})
}
