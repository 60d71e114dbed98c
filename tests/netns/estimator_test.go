//go:build linux

package netns_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/impair"
	"github.com/vine-mesh/vine/tests/netns"
)

// A measuredLink is what `vine --json links` says of a link's bandwidth.
type measuredLink struct {
	Peer string  `json:"peer"`
	Bits float64 `json:"rate_bits"`
	Kind string  `json:"rate_kind"` // "estimate", "at least", or "" while nothing is known
	By   string  `json:"rate_by"`   // "traffic" or "train"
	Age  float64 `json:"rate_age_seconds"`
	RTT  float64 `json:"rtt_ms"`
	Old  float64 `json:"rtt_seconds"` // in place of rtt_ms
	Loss float64 `json:"loss"`
}

func (l measuredLink) String() string {
	if l.Kind == "" {
		return "nothing known"
	}
	return fmt.Sprintf("%s %.1f Mbit/s by %s, %.0f s old, RTT %.1f ms, loss %.3f", l.Kind, l.Bits/1e6, l.By, l.Age, l.RTT, l.Loss)
}

// linkTo returns what a site says of its link to another.
func linkTo(t *testing.T, s, peer *netns.Site) measuredLink {
	t.Helper()
	type answer struct{ Links []measuredLink }
	for _, l := range netns.VineJSON[answer](t, s, "links").Links {
		if l.Peer == peer.Name {
			l.RTT = max(l.RTT, 1e3*l.Old)
			return l
		}
	}
	return measuredLink{}
}

const (
	estimatorRTT = 10 * time.Millisecond
	// ageMax is how old the figure of a link may be on which a flow goes on.
	ageMax = 5.0
	// stillMost is how long the lines may stand still: their queue bridges so much, see impair.Settings.
	stillMost = 50 * time.Millisecond
	// crossShare is the cross traffic's share of the line.
	crossShare = 0.3
)

// TestEstimator: what a VR says of a link's bandwidth, against what a flow gets there at that moment: direct
// and relayed, with and without cross traffic. Without VINE_NIGHT it takes 100 Mbit/s on the direct path.
func TestEstimator(t *testing.T) {
	netnstest.Require(t, "iperf3", "nft")
	for _, relayed := range []bool{false, true} {
		if relayed && !night() {
			continue
		}
		t.Run(map[bool]string{false: "direct", true: "relayed"}[relayed], func(t *testing.T) {
			rates, crosses := []float64{100}, []bool{false, true}
			if night() {
				rates = []float64{10, 100, 1000}
			}
			e := newEstimated(t, relayed)
			for _, mbits := range rates {
				e.shape(t, mbits)
				for _, cross := range crosses {
					t.Run(fmt.Sprintf("%.0f Mbit/s, cross traffic %v", mbits, cross), func(t *testing.T) { e.full(t, mbits, cross) })
				}
			}
			e.shape(t, 100)
			t.Run("limited by the application", e.limited)
		})
	}
}

// An estimated is two sites with hosts, and the one between them if the path is relayed.
type estimated struct {
	netns.Triangle
	from, to, relay *netns.Site
}

func newEstimated(t *testing.T, relayed bool) estimated {
	t.Helper()
	e := estimated{Triangle: netns.NewTriangle(t)}
	if !relayed {
		e.from, e.to = e.AddSite(t, netns.SiteOption{}), e.AddSite(t, netns.SiteOption{})
		found(t, e.Triangle, 0, 1)
		return e
	}
	e.relay = e.AddSite(t, netns.SiteOption{})
	o := netns.SiteOption{Firewall: true, Tables: queueTables(true, e.relay.Name)}
	e.from, e.to = e.AddSite(t, o), e.AddSite(t, o)
	e.from.Allow(t, e.relay)
	e.to.Allow(t, e.relay)
	found(t, e.Triangle, 0, 1, 2)
	return e
}

// shape sets the lines that the path uses.
func (e estimated) shape(t *testing.T, mbits float64) {
	t.Helper()
	s := impair.Settings{Rate: int(mbits * 1e6), Delay: estimatorRTT / 2}
	if e.relay == nil {
		e.Shape(t, e.from, e.to, s)
		return
	}
	e.Shape(t, e.from, e.relay, s)
	e.Shape(t, e.relay, e.to, s)
}

// cross sends UDP from the first site's gateway over the first line of the path, for a while, outside of ViNe.
// What it returns is closed at the end.
func (e estimated) cross(t *testing.T, mbits float64, d time.Duration) <-chan struct{} {
	t.Helper()
	to := e.relay
	if to == nil {
		to = e.to
	}
	return netns.StartIperf(t, e.from.Namespace, to.Namespace, to.WAN.V4, "-u", "-l", "1400",
		"-b", fmt.Sprintf("%.0fK", crossShare*mbits*1e3), "-t", fmt.Sprint(d.Seconds())).Done()
}

// full fills the path by a flow and compares. Once: only where the wide-area network itself stood still for
// longer than its queues bridge, the path was not what it was shaped to, and the run says nothing.
func (e estimated) full(t *testing.T, mbits float64, cross bool) {
	const tries = 3
	for try := 1; ; try++ {
		e.Late()
		problem := e.compare(t, mbits, cross)
		late := e.Late()
		t.Logf("try %d: the lines stood still for %v at worst", try, late.Round(time.Millisecond))
		if problem == "" {
			return
		}
		if late <= stillMost || try == tries {
			t.Error(problem)
			return
		}
		t.Log(problem)
	}
}

// compare fills the path by a flow and returns what is wrong with what the VR says of it.
func (e estimated) compare(t *testing.T, mbits float64, cross bool) string {
	t.Helper()
	const d = 10 * time.Second
	bound := 0.15
	if mbits >= 1000 {
		bound = 0.30
	}
	if cross {
		end := e.cross(t, mbits, d+2*time.Second)
		defer func() { <-end }()
	}
	before := linkTo(t, e.from, e.to)
	flow := netns.StartThroughput(t, e.from.LAN.Hosts[0], e.to.LAN.Hosts[0], e.to.Addr4(t, 0), d)
	ends := time.After(d)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var last measuredLink
	for flowing := true; flowing; {
		select {
		case <-ends:
			flowing = false
		case <-tick.C:
			last = linkTo(t, e.from, e.to)
		}
	}
	got := netns.Throughput(t, flow)
	ratio := last.Bits / 1e6 / got
	t.Logf("NUMBER estimator, %s of %.0f Mbit/s, cross traffic %v: the flow gets %.1f Mbit/s, the link says %v: %+.0f %% (before: %v)",
		e.what(), mbits, cross, got, last, 100*(ratio-1), before)
	// The queue of the line, 50 ms for each of the lines, is part of the round trip while it is full.
	least := 1e3 * estimatorRTT.Seconds() * float64(e.lines())
	switch {
	case last.Kind != "estimate" || last.By != "traffic" || last.Age > ageMax:
		return fmt.Sprintf("a path that a flow fills is said to be %v", last)
	case ratio < 1-bound || ratio > 1+bound:
		return fmt.Sprintf("%v, but the flow gets %.1f Mbit/s", last, got)
	case last.RTT < 0.95*least || last.RTT > least+float64(e.lines())*60:
		return fmt.Sprintf("round trip: %v, the lines take %.1f ms without their queues", last, least)
	}
	return ""
}

func (e estimated) lines() int {
	if e.relay != nil {
		return 2
	}
	return 1
}

func (e estimated) what() string {
	if e.relay != nil {
		return "relayed path over lines"
	}
	return "line"
}

// limited: a flow that asks for 2 Mbit/s of 100 shows that the path carries so much at least, and not that it
// carries no more. Figures of before do not count: the VRs are new.
func (e estimated) limited(t *testing.T) {
	const asked = 2.0
	seconds := 5
	if night() {
		seconds = 10
	}
	for _, s := range []*netns.Site{e.from, e.to} {
		s.Stop(t)
		s.Up(t)
	}
	netns.AwaitPing(t, e.from.LAN.Hosts[0], e.to.Addr4(t, 0), 60*time.Second)
	flow := netns.StartIperf(t, e.from.LAN.Hosts[0], e.to.LAN.Hosts[0], e.to.Addr4(t, 0), "-t", fmt.Sprint(seconds), "-b", fmt.Sprintf("%.0fM", asked))
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	said, highest := 0, 0.0
	var last measuredLink
	for flowing := true; flowing; {
		select {
		case <-flow.Done():
			flowing = false
		case <-tick.C:
			switch last = linkTo(t, e.from, e.to); {
			case last.Kind == "at least":
				said++
				highest = math.Max(highest, last.Bits/1e6)
			case last.Kind == "estimate" && last.By == "train" && within(last.Bits, 100e6, 0.30):
				said++ // a train has measured the path itself, and rightly
			case last.Kind != "":
				t.Errorf("a flow that asks for %.0f Mbit/s: the link says %v", asked, last)
			}
		}
	}
	netns.Report(t, flow)
	t.Logf("NUMBER estimator, %s of 100 Mbit/s, a flow that asks for %.0f: %d answers, at least up to %.1f Mbit/s; last: %v", e.what(), asked, said, highest, last)
	if said == 0 || highest > 100 || last.By == "traffic" && highest < 0.5*asked {
		t.Errorf("%d answers, at least up to %.1f Mbit/s; last: %v", said, highest, last)
	}
}
