package nodetest_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// A grudge says whom the site does not hear, by numbers from 0 to grudgers-1 (after Jepsen's nemesis).
type grudge struct {
	name   string
	deaf   func(from, to int) bool // to hears nothing of from
	period time.Duration           // on and off in turn, for so long each; zero: always on
}

const grudgers = 6

// near is the half that the first site is in: a queue-VR and two limited sites. The other one has two queue-VRs.
func near(i int) bool { return i == 0 || i == 3 || i == 4 }

func apart(i, j int) bool { return near(i) != near(j) }

var grudges = []grudge{
	{"halves", apart, 0},
	{"bridge", func(from, to int) bool { return apart(from, to) && from != 1 && to != 1 }, 0},
	{"ring", func(from, to int) bool { return (from+grudgers/2)%grudgers == to }, 0},
	{"one way", func(from, to int) bool { return near(from) && !near(to) }, 0},
	{"flapping", apart, 5 * time.Second},
}

// TestGrudges: three public sites and three limited ones do not hear each other as a grudge says, for a minute, in which
// the authority changes a VN of theirs, and then all hear all again. While it lasts, pairs with both their VRs in one half keep their
// flow, once what is cut has been noticed. After it every pair has its flow within ten seconds, and all have installed the
// new version; nobody has ever gone back to an older one.
func TestGrudges(t *testing.T) {
	seeds := uint64(1)
	if os.Getenv("VINE_NIGHT") != "" {
		seeds = 40
	}
	for _, g := range grudges {
		t.Run(g.name, func(t *testing.T) {
			var slowest time.Duration
			for seed := range seeds {
				slowest = max(slowest, g.run(t, 100+seed))
			}
			t.Logf("NUMBER grudge %s, %d times: all pairs and versions are well again %.1f s after it", g.name, seeds, slowest.Seconds())
		})
	}
}

func (g grudge) run(t *testing.T, seed uint64) (healed time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		w := nodetest.New(t, seed)
		defer w.Close()
		var sites []*nodetest.Site
		var ends []nodeOf
		var hosts []netip.Addr
		for i := range grudgers {
			var s *nodetest.Site
			switch {
			case i == 0:
				s = w.Found("site0")
			case i < 3:
				s = w.Join(fmt.Sprintf("site%d", i), sites[0])
			default:
				s = w.Behind(fmt.Sprintf("site%d", i), transporttest.Symmetric)
				s.Kind = "limited"
				s.JoinAs(sites[0])
			}
			if i < 3 {
				ends = append(ends, s.Host)
			} else {
				ends = append(ends, s.NAT)
			}
			sites, hosts = append(sites, s), append(hosts, s.NewHost())
		}
		w.Must(sites[0], policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: hosts})
		w.Must(sites[0], policy.OpVNCreate, policy.VNCreateArgs{Name: "changed", Hosts: hosts[:4]})
		w.UntilInstalled("physics", 1, time.Minute, sites...)
		w.UntilInstalled("changed", 1, time.Minute, sites...)
		flows := map[[2]int]*nodetest.Flow{}
		var all []*nodetest.Flow
		for i, from := range sites {
			for j, to := range sites {
				if i != j {
					f := w.NewFlow(from, hosts[i], to, hosts[j])
					flows[[2]int{i, j}] = f
					all = append(all, f)
				}
			}
		}
		const every = 100 * time.Millisecond
		w.Run(20*time.Second, every, all...)

		hold := func(on bool) {
			for i := range grudgers {
				for j := range grudgers {
					if on && i != j && g.deaf(i, j) {
						w.Net.CutOneWay(ends[i], ends[j])
					}
				}
			}
			if !on {
				w.Net.Heal()
			}
		}
		const lasts, notice = time.Minute, 12 * time.Second
		begins := time.Now()
		hold(true)
		w.Run(2*time.Second, every, all...)
		w.Must(sites[0], policy.OpVNJoin, policy.VNHostsArgs{VN: "changed", Hosts: hosts[4:]})
		installed := make([]uint64, grudgers)
		look := func() {
			for i, s := range sites {
				v, err := s.API().VN(t.Context(), "changed")
				if err != nil || v.Installed < installed[i] {
					t.Errorf("seed %d: site %d has gone from version %d to %d: %v", seed, i, installed[i], v.Installed, err)
				}
				installed[i] = v.Installed
			}
		}
		for on := true; time.Since(begins) < lasts; {
			w.Run(max(g.period, time.Second), every, all...)
			look()
			if g.period > 0 {
				on = !on
				hold(on)
			}
		}
		ended := time.Now()
		if g.period == 0 {
			for pair, f := range flows {
				whole := near(pair[0]) == near(pair[1]) && !g.deaf(pair[0], pair[1]) && !g.deaf(pair[1], pair[0])
				lost, sent := f.LostBetween(begins.Add(notice), ended.Add(-10*time.Second))
				if whole && lost*50 > sent {
					t.Errorf("seed %d: while it lasts, %d of %d packets from %d to %d are lost", seed, lost, sent, pair[0], pair[1])
				}
				if g.name == "halves" && near(pair[0]) != near(pair[1]) && lost < sent {
					t.Errorf("seed %d: %d of %d packets cross from %d to %d: the test shows nothing", seed, sent-lost, sent, pair[0], pair[1])
				}
			}
		}
		hold(false)
		for range 40 {
			w.Run(time.Second, every, all...)
			look()
		}
		w.Settle(time.Second)
		for pair, f := range flows {
			// The last packet that was lost was sent so long after the end.
			last := time.Duration(0)
			for d := time.Duration(0); d < 39*time.Second; d += every {
				if lost, _ := f.LostBetween(ended.Add(d), ended.Add(d+every)); lost > 0 {
					last = d + every
				}
			}
			healed = max(healed, last)
			if last > 10*time.Second {
				t.Errorf("seed %d: packets from %d to %d are lost until %v after the end", seed, pair[0], pair[1], last)
			}
		}
		w.UntilInstalled("changed", 2, time.Second, sites...)
	})
	return healed
}
