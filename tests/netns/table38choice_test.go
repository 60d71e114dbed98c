//go:build linux

package netns_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

const (
	// chooseMax is how long a choice may take, of which the issue gives 60 s after a change of the network.
	chooseMax = 60 * time.Second
	// goodChoice is the share of the best hand-made choice's throughput that a choice must have.
	goodChoice = 0.9
)

// puChooses: PU is limited, UF and NWU are regular, and nothing names a queue-VR. PU's figures must be those
// of case 3, or better.
func puChooses(t *testing.T, r *results) {
	best := r.cases[3]
	if best[0].mbits == 0 {
		best = handMade(t, 3)
		r.cases[3] = best
	}
	f := triangle(t, [3]netns.SiteOption{
		uf: {Tables: queueTables(false, "")}, nwu: {Tables: queueTables(false, "")},
		pu: {Firewall: true, Tables: queueTables(true, "")},
	})
	f.Sites[pu].Allow(t)
	found(t, f, uf, nwu, pu)
	for i, p := range pairs {
		from, to := f.Sites[p[0]], f.Sites[p[1]]
		var got figure
		took := becomes(t, fmt.Sprintf("%s to %s as in case 3", from.Name, to.Name), func() bool {
			got = hostToHost(t, from, to)
			return got.mbits >= goodChoice*best[i].mbits && got.ms <= best[i].ms/goodChoice+slackMS
		})
		r.alone[i] = got
		t.Logf("NUMBER PU limited, the choice alone, %s to %s: %.1f ms, %.1f Mbit/s, %.2f of case 3 by hand, after %.0f s",
			from.Name, to.Name, got.ms, got.mbits, got.mbits/best[i].mbits, took.Seconds())
	}
}

// becomes measures until f says yes, chooseMax at most, and returns how long that took.
func becomes(t *testing.T, what string, f func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		began := time.Since(start)
		if f() {
			return began
		}
		if time.Since(start) > chooseMax {
			t.Errorf("%s: not within %v", what, chooseMax)
			return began
		}
	}
}

// rebind stops the VRs of sites and starts them bound to a queue-VR, or to none.
func rebind(t *testing.T, use string, sites ...*netns.Site) {
	t.Helper()
	for _, s := range sites {
		s.Stop(t)
		s.Configure(t, queueTables(true, use))
	}
	for _, s := range sites {
		s.Up(t)
	}
	netns.AwaitPing(t, sites[0].LAN.Hosts[0], sites[1].Addr4(t, 0), 60*time.Second)
}

// through returns by which of two sites the packets went that from sent while f ran: by what the lines there
// have carried, whatever the VRs say of it.
func through(f netns.Triangle, from, one, two *netns.Site, work func()) *netns.Site {
	a, b := f.Counts(from, one).BytesDelivered, f.Counts(from, two).BytesDelivered
	work()
	if f.Counts(from, one).BytesDelivered-a > f.Counts(from, two).BytesDelivered-b {
		return one
	}
	return two
}

// twoChoose: PU and a fourth site are behind translators that open a new port to each destination, so that
// only a queue-VR joins them. The fourth site has the same lines as PU. They must find NWU; go on so when the
// others advertise something else; and leave NWU when its line becomes slow. The short test leaves out that
// last part and the figures by hand: it asks for NWU, and for more than UF can give.
func twoChoose(t *testing.T, r *results) {
	f := triangle(t, [3]netns.SiteOption{
		uf: {Tables: advertising("1Gbit")}, nwu: {Tables: advertising("1Gbit")},
		pu: {Kind: netns.Symmetric, Tables: queueTables(true, "")},
	})
	fourth := f.AddSite(t, netns.SiteOption{Kind: netns.Symmetric, Tables: queueTables(true, "")})
	fourth.Name = "fourth"
	a, b, here := f.Sites[uf], f.Sites[nwu], f.Sites[pu]
	f.Shape(t, a, fourth, wide(line(uf, pu)))
	f.Shape(t, b, fourth, wide(line(nwu, pu)))
	f.Shape(t, here, fourth, wide(line(nwu, pu)))
	found(t, f, uf, nwu, pu, 3)

	slow, fast := line(uf, pu), line(uf, pu) // the short test only asks for more than UF's line can carry
	fast.mbits /= goodChoice
	if whole() {
		slow, fast = bothByHand(t, f, here, fourth)
	}
	r.slow, r.fast = slow, fast

	check := func(what string, want *netns.Site, best figure) (got figure, took time.Duration) {
		t.Helper()
		took = becomes(t, what, func() bool {
			by := through(f, here, a, b, func() { got = hostToHost(t, here, fourth) })
			return by == want && got.mbits >= goodChoice*best.mbits
		})
		t.Logf("NUMBER PU and a fourth limited, %s: %.1f ms, %.1f Mbit/s, %.2f of the best by hand, after %.0f s",
			what, got.ms, got.mbits, got.mbits/best.mbits, took.Seconds())
		return got, took
	}
	r.chosen, r.chosenAfter = check("the choice alone", b, fast)

	// What a queue-VR says of itself moves nothing.
	a.Configure(t, advertising("10Gbit"))
	a.Vine(t, "reload")
	b.Configure(t, advertising("100Mbit"))
	b.Vine(t, "reload")
	netns.Pause(noticed())
	if by := through(f, here, a, b, func() { hostToHost(t, here, fourth) }); by != b {
		t.Errorf("PU has gone to %s because of what it advertises", by.Name)
	}

	if !whole() {
		return
	}
	f.Shape(t, here, b, wide(figure{line(nwu, pu).ms, 5}))
	r.changed, r.changedAfter = changes(t, here, fourth, slow)
	if by := through(f, here, a, b, func() { hostToHost(t, here, fourth) }); by != a {
		t.Errorf("PU still goes through %s", by.Name)
	}
}

// bothByHand returns what two sites get through UF and through NWU when they are bound to one, and frees them.
func bothByHand(t *testing.T, f netns.Triangle, here, fourth *netns.Site) (slow, fast figure) {
	t.Helper()
	slow = handBound(t, f, here, fourth, f.Sites[uf])
	fast = handBound(t, f, here, fourth, f.Sites[nwu])
	t.Logf("NUMBER PU and a fourth limited, by hand: %.1f Mbit/s through UF, %.1f through NWU", slow.mbits, fast.mbits)
	if slow.mbits > goodChoice*fast.mbits {
		t.Fatalf("by hand: %.1f Mbit/s through UF, %.1f through NWU: no choice to make", slow.mbits, fast.mbits)
	}
	rebind(t, "", here, fourth)
	return slow, fast
}

// advertising returns the configuration of a regular site that says how much it can carry.
func advertising(capacity string) string {
	return queueTables(false, "") + fmt.Sprintf("[queue]\ncapacity = %q\n", capacity)
}

// noticed is how long an advertised figure has to do harm.
func noticed() time.Duration {
	if night() {
		return chooseMax
	}
	return 10 * time.Second
}

// handBound returns what two limited sites get through a queue-VR that they are bound to.
func handBound(t *testing.T, f netns.Triangle, from, to, queue *netns.Site) (got figure) {
	t.Helper()
	rebind(t, queue.Name, from, to)
	other := f.Sites[uf]
	if queue == other {
		other = f.Sites[nwu]
	}
	if by := through(f, from, queue, other, func() { got = hostToHost(t, from, to) }); by != queue {
		t.Errorf("bound to %s, %s sends through %s", queue.Name, from.Name, by.Name)
	}
	return got
}

// changes keeps a flow going and returns when it got as much as by hand again, and what it got from there on.
func changes(t *testing.T, from, to *netns.Site, best figure) (got figure, after time.Duration) {
	t.Helper()
	const tail = 10 * time.Second
	flow := netns.StartThroughput(t, from.LAN.Hosts[0], to.LAN.Hosts[0], to.Addr4(t, 0), chooseMax+tail)
	seconds := rates(t, flow)
	good := len(seconds)
	for good > 0 && seconds[good-1] >= 0.8*goodChoice*best.mbits { // a second's rate is less steady than the mean's
		good--
	}
	for _, r := range seconds[good:] {
		got.mbits += r / float64(len(seconds)-good)
	}
	got.ms = roundTrip(t, from.LAN.Hosts[0], to.Addr4(t, 0))
	after = time.Duration(good) * time.Second
	t.Logf("NUMBER PU and a fourth limited, NWU's line shaped to 5 Mbit/s: changes after %.0f s, %.1f Mbit/s from then on, %.2f of the best by hand",
		after.Seconds(), got.mbits, got.mbits/best.mbits)
	if after > chooseMax || got.mbits < goodChoice*best.mbits {
		t.Errorf("%.1f Mbit/s from %v on, want %.1f after %v; by the second: %.0f", got.mbits, after, goodChoice*best.mbits, chooseMax, seconds)
	}
	return got, after
}

// rates returns what the receiver of a flow got, second by second, in megabits per second.
func rates(t *testing.T, flow *netnstest.Process) (list []float64) {
	t.Helper()
	for _, i := range netns.Report(t, flow).Server.Intervals {
		if !i.Sum.Omitted && i.Sum.Seconds >= 0.9 {
			list = append(list, 8*i.Sum.Bytes/i.Sum.Seconds/1e6)
		}
	}
	return list
}
