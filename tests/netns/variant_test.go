//go:build linux

package netns_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// flows are two that run at once, by 1,000 packets per second each way: through a queue-VR and straight.
func (p *relayedPair) flows(t *testing.T, q netns.QueueVR) map[string]*netns.Flow {
	t.Helper()
	return map[string]*netns.Flow{
		"through a queue-VR": netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), 1000),
		"straight":           netns.StartFlow(t, p.a.Host(t, 1), q.Host(t, 0), 1000),
	}
}

// nothingLost ends the flows and wants every packet to have arrived.
func nothingLost(t *testing.T, what string, flows map[string]*netns.Flow) {
	t.Helper()
	for name, flow := range flows {
		flow.Stop()
		for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
			r := d.All()
			t.Logf("NUMBER %s, %s, %s: %v", what, name, way, r)
			if r.Lost > 0 || r.Duplicates > 0 {
				t.Errorf("%s, %s, %s: %d of %d packets are lost, %d come twice", what, name, way, r.Lost, r.Sent, r.Duplicates)
			}
		}
	}
}

// handshakes counts the sessions of a site's links, from the age of the one in use, as long as count is called more often than
// they change.
type handshakes struct {
	site  *netns.Site
	ages  map[string]float64
	count map[string]int
}

func (h *handshakes) look(t *testing.T) {
	t.Helper()
	list := netns.VineJSON[struct {
		Links []struct {
			Peer      string
			Handshake float64 `json:"handshake_age_seconds"`
		}
	}](t, h.site, "links")
	for _, l := range list.Links {
		if before, ok := h.ages[l.Peer]; ok && l.Handshake < before {
			h.count[l.Peer]++
		}
		h.ages[l.Peer] = l.Handshake
	}
}

// TestKeysAndClocks: a variant of the command that changes keys every ten seconds and has wall clocks of its own. Under traffic
// through a queue-VR and straight, keys change, at night for ten minutes; the first limited VR has two lanes; then the wall clocks of a limited VR and of the
// queue-VR in use jump by an hour, a day and a month, to and fro. No packet is lost, no link goes down, keys go on changing.
func TestKeysAndClocks(t *testing.T) {
	waits(t)
	f := netns.New(t)
	f.Use(netns.BuildVariant(t, slices.Concat(netns.HastyKeys, netns.WallClock)...))
	p := relayedIn(t, f, 2)
	p.straight(t)
	q := p.carrying(t)
	downs := func(s *netns.Site) int { return strings.Count(s.VR.Output(), `"link down"`) }
	sites := []*netns.Site{p.a, p.b}
	for _, s := range p.queues {
		sites = append(sites, s.Site)
	}
	before := map[string]int{}
	for _, s := range sites {
		before[s.Name] = downs(s)
	}

	long, pause := 26*time.Second, 1500*time.Millisecond
	if night() {
		long, pause = 10*time.Minute, 12*time.Second
	}
	seen := &handshakes{p.a, map[string]float64{}, map[string]int{}}
	flows := p.flows(t, q)
	for end := time.Now().Add(long); time.Now().Before(end); {
		netns.Pause(3 * time.Second)
		seen.look(t)
	}
	nothingLost(t, "rekeys every 10 s", flows)
	want := int(long/(12*time.Second)) - 1
	t.Logf("NUMBER changes of keys in %v: %v", long, seen.count)
	for _, peer := range []string{p.b.Name, q.Name} {
		if seen.count[peer] < want {
			t.Errorf("%d changes of keys with %s, want %d: the test shows nothing", seen.count[peer], peer, want)
		}
	}

	const hour, day = time.Hour, 24 * time.Hour
	flows = p.flows(t, q)
	changes := seen.count[p.b.Name]
	for _, s := range []*netns.Site{p.a, q.Site} {
		for _, ahead := range []time.Duration{hour, -hour, day, -day, 30 * day, -30 * day, 0} {
			s.SetWall(t, ahead)
			netns.Pause(pause)
			seen.look(t)
			if now := p.via(t); now != q.Name {
				t.Errorf("the clock of %s is %v ahead, and the pair goes through %q", s.Name, ahead, now)
			}
		}
	}
	nothingLost(t, "clocks that jump", flows)
	if seen.count[p.b.Name] == changes {
		t.Error("no key has changed meanwhile")
	}
	for _, s := range sites {
		if n := downs(s) - before[s.Name]; n > 0 {
			t.Errorf("%d links of %s went down:\n%s", n, s.Name, s.VR.Output())
		}
	}

	// And with its clock a day off, a limited VR starts and attaches.
	for _, ahead := range []time.Duration{day, -day} {
		p.a.SetWall(t, ahead)
		p.a.Kill()
		p.a.Up(t)
		took := netns.AwaitPing(t, p.a.LAN.Hosts[0], p.b.Addr4(t, 0), 20*time.Second)
		t.Logf("NUMBER a limited VR started with its clock %v ahead: first ping after %s", ahead, inSeconds(took))
	}
	p.carrying(t)
}

// TestUpgrade: all VRs go from an older version to the one under test, one after the other, as an operator does it: a queue-VR is
// drained, a limited VR just started anew. At queue-VRs nothing is lost; a limited VR is silent for 0.2 s, and the time of five
// starts of a program on this machine just then, at most (0.3 s on a quiet one). TCP lives.
func TestUpgrade(t *testing.T) {
	waits(t)
	f := netns.New(t)
	tested := f.Binary()
	f.Use(netns.BuildVariant(t, netns.OldVersion...))
	p := relayedIn(t, f, 1)
	versions := func() (list []string) {
		for _, v := range netns.VineJSON[struct {
			VRs []struct{ Software string }
		}](t, p.a, "vrs").VRs {
			list = append(list, v.Software)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	if now := versions(); !slices.Equal(now, []string{"before"}) {
		t.Fatalf("they begin with %v", now)
	}
	p.carrying(t)
	f.Use(tested)

	tcp := netns.StartTCP(t, p.a.Host(t, 1), p.b.Host(t, 1), 55*time.Second, "-b", "2M")
	flow := netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), 1000)
	netns.Pause(time.Second)
	// The one in use first: so both are emptied under traffic.
	for range p.queues {
		q := p.carrying(t)
		q.Vine(t, "drain")
		q.Stop(t)
		q.Up(t)
	}
	p.carrying(t)
	nothingLost(t, "queue-VRs upgraded", map[string]*netns.Flow{"through queue-VRs": flow})

	flow = netns.StartFlow(t, p.a.Host(t, 0), p.b.Host(t, 0), flowRate)
	netns.Pause(time.Second)
	for _, s := range []*netns.Site{p.a, p.b} {
		begins := time.Now()
		s.Stop(t)
		s.Up(t)
		started := time.Now()
		s.Vine(t, "version")
		bound := 200*time.Millisecond + 5*time.Since(started)
		netns.Pause(4 * time.Second)
		for way, d := range map[string]*netns.Direction{"there": flow.There, "back": flow.Back} {
			r := d.Between(begins, time.Now().Add(-time.Second))
			t.Logf("NUMBER a limited VR upgraded, %s: %v; bound %v", way, r, bound)
			if r.Gap > bound {
				t.Errorf("%s: nothing for %v", way, r.Gap)
			}
		}
	}
	flow.Stop()
	if r := tcp.Report(t, 20*time.Second); !r.Survived {
		t.Errorf("a TCP flow is lost: %v", r)
	}
	netns.Await(t, "everybody has seen the new versions", 10*time.Second, func() bool { return !slices.Contains(versions(), "before") })
}
