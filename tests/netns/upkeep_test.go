//go:build linux

package netns_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// TestReload: the configurations of queue-VR and limited VR are changed and read again, many times, under 1,000
// packets per second each way. None is lost.
func TestReload(t *testing.T) {
	waits(t)
	p := relayed(t)
	q := p.carrying(t)
	flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), 1000)
	netns.Pause(time.Second)
	for i := range 6 {
		s := []*netns.Site{q.Site, p.a, p.b}[i%3]
		before := s.ReadConfig(t)
		changed := before + "\n[queue]\ncapacity = \"123Mbit\"\nrate = \"200Mbit\"\n"
		for _, text := range []string{changed, before} {
			s.WriteConfig(t, text)
			s.Vine(t, "reload")
			netns.Pause(200 * time.Millisecond)
		}
	}
	flow.Stop()
	for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
		r := d.All()
		t.Logf("NUMBER 12 reloads, %s: %v", way, r)
		if r.Lost > 0 {
			t.Errorf("%s: %d of %d packets are lost to a reload", way, r.Lost, r.Sent)
		}
	}
}

// TestRestart: a limited VR, and the queue-VR that carries its traffic, are ended and started again at once, by
// SIGTERM and by kill -9; two of the four cases if it is not night.
func TestRestart(t *testing.T) {
	waits(t)
	p := relayed(t)
	for _, tc := range []struct {
		who  string
		kill bool
		most time.Duration
	}{
		{"limited", false, 300 * time.Millisecond}, {"limited", true, time.Second},
		{"queue-VR", false, 300 * time.Millisecond}, {"queue-VR", true, time.Second},
	} {
		if tc.kill != (tc.who == "limited") && !night() {
			continue
		}
		name := fmt.Sprintf("%s, %s", tc.who, map[bool]string{false: "SIGTERM", true: "kill -9"}[tc.kill])
		t.Run(name, func(t *testing.T) {
			q := p.carrying(t)
			s := p.a
			if tc.who != "limited" {
				s = q.Site
			}
			flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), flowRate)
			tcp := netns.StartTCP(t, p.a.Host(t, 0), p.b.Host(t, 0), 12*time.Second, "-b", "2M")
			netns.Pause(2 * time.Second)
			ends := time.Now()
			if tc.kill {
				s.Kill()
			} else {
				s.Stop(t)
			}
			ended := time.Now()
			s.Up(t)
			up := time.Now()
			netns.Pause(8 * time.Second)
			flow.Stop()
			for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
				all, after := d.Between(ends, ends.Add(8*time.Second)), d.Between(up, up.Add(6*time.Second))
				if all.Gap > tc.most {
					t.Errorf("%s: nothing for %v, want at most %v", way, all.Gap, tc.most)
				}
				t.Logf("NUMBER restart of a %s, %s: gap %s in all; the process ended after %s, the next one answered after %s, gap after that %s; %v",
					name, way, inSeconds(all.Gap), inSeconds(ended.Sub(ends)), inSeconds(up.Sub(ends)), inSeconds(after.Gap), all)
			}
			if r := tcp.Report(t, 20*time.Second); !r.Survived {
				t.Errorf("a TCP flow is lost: %v", r)
			}
		})
	}
}

// TestHastyTranslator: the translators of both limited sites forget a flow after two seconds of silence. Hosts that have been
// idle for long still reach each other at the first try: gossip probes every second keep the way to the queue-VR open.
func TestHastyTranslator(t *testing.T) {
	waits(t)
	p := relayed(t)
	for _, s := range []*netns.Site{p.a, p.b} {
		s.Router.Sysctl(t, "net/netfilter/nf_conntrack_udp_timeout", "2")
		s.Router.Sysctl(t, "net/netfilter/nf_conntrack_udp_timeout_stream", "2")
	}
	p.carrying(t)
	rounds := 2
	if night() {
		rounds = 8
	}
	for i := range rounds {
		netns.Pause(time.Duration(8+4*i) * time.Second)
		from, to := p.a, p.b
		if i%2 > 0 {
			from, to = to, from
		}
		answered := netns.Ping(t, from.LAN.Hosts[0], to.Addr4(t, 0))
		t.Logf("NUMBER a translator that forgets after 2 s: the first ping after %d s is answered: %v", 8+4*i, answered)
		if !answered {
			t.Errorf("%v does not reach %v at the first try", from.Name, to.Name)
		}
	}
}

// TestTranslatorForgets: the translator of a limited site loses all it knows, and gives other ports afterwards.
func TestTranslatorForgets(t *testing.T) {
	waits(t)
	netnstest.Require(t, "conntrack")
	p := relayed(t)
	p.carrying(t)
	flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), flowRate)
	netns.Pause(2 * time.Second)
	for i := range 3 {
		forgets := time.Now()
		p.a.Router.Run(t, "conntrack -F")
		netns.Pause(4 * time.Second)
		for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
			r := d.Between(forgets, forgets.Add(3*time.Second))
			t.Logf("NUMBER translator forgets, %d, %s: %v", i, way, r)
			if r.Gap > time.Second {
				t.Errorf("%s: nothing for %v", way, r.Gap)
			}
		}
	}
	flow.Stop()
}
