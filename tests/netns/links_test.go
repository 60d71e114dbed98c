//go:build linux

package netns_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// A link is what these tests read of `vine links --json`.
type link struct {
	Peer      string
	State     string  // "up" when the peer was heard lately
	Path      string  // "direct", "punched", "stream" or "relayed"
	Via       string  // the relay's name, if relayed
	Endpoint  *string // underlay endpoint that datagrams go to
	Transport string  // "udp", "tcp" or "tls", of the first hop
}

// String says how it runs, as in the table of paths.
func (l link) String() string {
	if l.State != "up" || l.Path == "" {
		return "none"
	}
	return l.Path + ", " + l.Transport
}

// links returns the links of a VR by their peers' names.
func links(t testing.TB, s *netns.Site) map[string]link {
	t.Helper()
	byPeer := map[string]link{}
	list := netns.VineJSON[struct{ Links []link }](t, s, "links")
	for _, l := range list.Links {
		byPeer[l.Peer] = l
	}
	return byPeer
}

func night() bool { return os.Getenv("VINE_NIGHT") != "" }

// A relayedPair is two sites that only a queue-VR joins, and the queue-VRs there are.
type relayedPair struct {
	f      *netns.Federation
	queues map[string]netns.QueueVR // by name
	a, b   *netns.Site              // behind symmetric translators, with two hosts each
}

// relayed makes the pair, with a ping between the first hosts.
func relayed(t *testing.T) *relayedPair {
	t.Helper()
	return relayedIn(t, netns.New(t), 1)
}

// relayedIn is relayed in a federation that has no site yet; the first limited VR has so many lanes.
func relayedIn(t *testing.T, f *netns.Federation, lanes int) *relayedPair {
	t.Helper()
	p := &relayedPair{f: f, queues: map[string]netns.QueueVR{}}
	for range 2 {
		s := enrol(t, f, netns.SiteOption{Tables: netns.Streams})
		p.queues[s.Name] = netns.QueueVR{Site: s}
	}
	p.a = enrol(t, f, netns.SiteOption{Kind: netns.Symmetric, Hosts: 2, Tables: fmt.Sprintf("[underlay]\nlanes = %d\n", lanes)})
	p.b = enrol(t, f, netns.SiteOption{Kind: netns.Symmetric, Hosts: 2})
	var hosts []string
	for _, s := range []*netns.Site{p.a, p.b} {
		for i := range s.LAN.Hosts {
			hosts = append(hosts, s.Addr4(t, i).String())
		}
	}
	createVN(t, f, "blue", hosts...)
	for _, s := range []*netns.Site{p.a, p.b} {
		for i := range s.LAN.Hosts {
			s.SetUpHost(t, i, s.Addr4(t, i))
		}
	}
	netns.AwaitPing(t, p.a.LAN.Hosts[0], p.b.Addr4(t, 0), 60*time.Second)
	return p
}

// straight puts the second hosts of the pair and a host of each queue-VR into one VN: between a limited site and a public one
// packets go straight.
func (p *relayedPair) straight(t *testing.T) {
	t.Helper()
	hosts := []string{p.a.Addr4(t, 1).String(), p.b.Addr4(t, 1).String()}
	for _, q := range p.queues {
		hosts = append(hosts, q.Addr4(t, 0).String())
	}
	createVN(t, p.f, "straight", hosts...)
	for _, q := range p.queues {
		q.SetUpHost(t, 0, q.Addr4(t, 0))
		for _, s := range []*netns.Site{p.a, p.b} {
			netns.AwaitPing(t, s.LAN.Hosts[1], q.Addr4(t, 0), 30*time.Second)
		}
	}
}

// via returns the queue-VR that the pair uses now, seen by the first site; "" if it is none.
func (p *relayedPair) via(t testing.TB) string {
	t.Helper()
	l := links(t, p.a)[p.b.Name]
	if l.State != "up" && l.State != "suspect" || l.Path != "relayed" {
		return ""
	}
	return l.Via
}

// carrying waits until both sites use the same queue-VR, both have a link to every one, and returns
// the one in use.
func (p *relayedPair) carrying(t testing.TB) netns.QueueVR {
	t.Helper()
	var name string
	netns.Await(t, "both sites use one queue-VR and have a link to each", 60*time.Second, func() bool {
		netns.Ping(t, p.a.LAN.Hosts[0], p.b.Addr4(t, 0))
		name = p.via(t)
		if name == "" || links(t, p.b)[p.a.Name].Via != name {
			return false
		}
		for _, s := range []*netns.Site{p.a, p.b} {
			for queue := range p.queues {
				if links(t, s)[queue].State != "up" {
					return false
				}
			}
		}
		return true
	})
	q, ok := p.queues[name]
	if !ok {
		t.Fatalf("%s and %s are relayed by %q, which is no queue-VR of this test", p.a.Name, p.b.Name, name)
	}
	return q
}

// awaitMove waits until the pair uses another queue-VR and returns how long after `since` that was.
func (p *relayedPair) awaitMove(t testing.TB, from netns.QueueVR, since time.Time, limit time.Duration) time.Duration {
	t.Helper()
	netns.Await(t, "the traffic leaves "+from.Name, max(limit-time.Since(since), 0), func() bool {
		now := p.via(t)
		return now != "" && now != from.Name
	})
	return time.Since(since)
}

// stays fails the test if the pair goes back to a queue-VR within some time.
func (p *relayedPair) stays(t testing.TB, away netns.QueueVR, d time.Duration) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(d); ; {
		select {
		case <-end:
			return
		case <-tick.C:
			if p.via(t) == away.Name {
				t.Errorf("the traffic is back at %s within %v", away.Name, d)
				return
			}
		}
	}
}

// inSeconds prints a duration for NUMBER lines.
func inSeconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
