package nodetest_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

const flowEvery = 20 * time.Millisecond

// A pairOfVRs is a site with two VRs that share their block, and another one whose host sends to many hosts there.
type pairOfVRs struct {
	w               *nodetest.World
	one, two, other *nodetest.Site
	src             netip.Addr
	flows           []*nodetest.Flow
}

// newPair makes the VN first, so that the second VR finds one that is signed for the first alone.
func newPair(t *testing.T, w *nodetest.World, count int) *pairOfVRs {
	t.Helper()
	p := &pairOfVRs{w: w}
	founder := w.Found("authority")
	p.one, p.other = w.Join("one", founder), w.Join("other", founder)
	p.src = p.other.NewHost()
	hosts := []netip.Addr{p.src}
	for range 2 * count {
		hosts = append(hosts, p.one.NewHost())
	}
	w.Must(founder, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: hosts})
	if !w.Reaches(p.other, p.src, p.one, hosts[1], 10*time.Second) {
		t.Fatal("no traffic before there were two")
	}
	p.two = w.JoinWith("two", founder, p.one)
	for _, dst := range hosts[1:] {
		f := w.NewFlow(p.other, p.src, p.one, dst)
		f.Also = []*nodetest.Site{p.two}
		p.flows = append(p.flows, f)
	}
	w.Settle(3 * time.Second)
	return p
}

// run runs the first of the flows, or with more all of them.
func (p *pairOfVRs) run(d time.Duration, more bool) (since time.Time) {
	since = time.Now()
	flows := p.flows[:len(p.flows)/2]
	if more {
		flows = p.flows
	}
	p.w.Run(d, flowEvery, flows...)
	return since
}

// at counts the flows that each VR has delivered all of since a time. A flow that moved counts for none.
func at(flows []*nodetest.Flow, since time.Time) (one, two int) {
	for _, f := range flows {
		switch by := f.By(since); {
		case slices.Equal(by, []string{"one"}):
			one++
		case slices.Equal(by, []string{"two"}):
			two++
		}
	}
	return one, two
}

// TestSharedBlock: two VRs of a site share the flows to it. One dies without a word: its flows go on by way of the other one
// within 1.5 s, those of the other one lose nothing. It comes back: flows that live stay where they are, new ones go to both.
func TestSharedBlock(t *testing.T) {
	inWorld(t, 340, func(t *testing.T, w *nodetest.World) {
		const count = 12
		p := newPair(t, w, count)
		since := p.run(10*time.Second, false)
		w.Settle(time.Second)
		old := p.flows[:count]
		one, two := at(old, since)
		if one+two != count || one < 2 || two < 2 {
			t.Fatalf("of %d flows %d are at the first VR and %d at the second", count, one, two)
		}
		stays := slices.DeleteFunc(slices.Clone(old), func(f *nodetest.Flow) bool { return !slices.Equal(f.By(since), []string{"one"}) })

		for _, s := range w.Sites {
			if s != p.two {
				w.Net.Cut(p.two.Host, s.Host) // nobody can tell that from death
			}
		}
		died := p.run(10*time.Second, false)
		w.Settle(time.Second)
		p.two.Kill()
		for _, f := range old {
			if gap := f.Gap(died); slices.Contains(stays, f) {
				if f.Lost(since) > 0 {
					t.Errorf("%d packets lost of a flow of the VR that lives", f.Lost(since))
				}
			} else if gap > 1500*time.Millisecond {
				t.Errorf("gap of %v", gap)
			} else {
				t.Logf("gap of a flow of the dead VR: %v", gap)
			}
		}

		p.two.Start()
		w.Settle(5 * time.Second)
		since = p.run(10*time.Second, true)
		w.Settle(time.Second)
		if one, two = at(old, since); one != count {
			t.Errorf("the VR that came back took flows: %d stay, %d moved", one, two)
		}
		if one, two = at(p.flows[count:], since); one < 2 || two < 2 {
			t.Errorf("new flows: %d at the first VR, %d at the second", one, two)
		}
		for _, f := range p.flows {
			if f.Lost(since) > 0 || f.Twice > 0 {
				t.Errorf("%d packets lost, %d came twice", f.Lost(since), f.Twice)
			}
		}
		if len(w.Strays) > 0 {
			t.Errorf("%d packets went astray", len(w.Strays))
		}
	})
}

// TestSharedBlockStop: a VR that says goodbye takes no packet with it but those that are under way. Then nothing flows for so long
// that links close; the other one alone is found by the next packets.
func TestSharedBlockStop(t *testing.T) {
	inWorld(t, 341, func(t *testing.T, w *nodetest.World) {
		const count = 6
		p := newPair(t, w, count)
		p.run(5*time.Second, false)
		p.two.Stop()
		left := p.run(5*time.Second, false)
		w.Settle(time.Second)
		for _, f := range p.flows[:count] {
			if gap := f.Gap(left); gap > 100*time.Millisecond {
				t.Errorf("gap of %v", gap)
			}
		}
		w.Settle(20 * time.Minute)
		again := p.run(10*time.Second, true)
		w.Settle(time.Second)
		for _, f := range p.flows {
			if first, ok := f.FirstAfter(again); !ok || first > 3*time.Second {
				t.Errorf("after a pause the first packet comes after %v (%v)", first, ok)
			}
		}
	})
}

// TestSharedBlockHosts: of the VRs that share a block one gives its addresses to hosts; the other one says which.
func TestSharedBlockHosts(t *testing.T) {
	inWorld(t, 344, func(t *testing.T, w *nodetest.World) {
		p := newPair(t, w, 1)
		ctx := context.Background()
		if h, err := p.one.API().AddHost(ctx, control.HostAsk{Name: "printer"}); err != nil || !p.two.Joined.Blocks[0].Contains(h.Addr) {
			t.Errorf("%+v, %v", h, err)
		}
		if h, err := p.two.API().AddHost(ctx, control.HostAsk{Name: "scanner"}); !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "VR one") {
			t.Errorf("both keep a list of hosts: %+v, %v", h, err)
		}
		w.Must(w.Sites[0], policy.OpRevoke, policy.RevokeArgs{VR: "one"})
		w.Settle(3 * time.Second)
		if _, err := p.two.API().AddHost(ctx, control.HostAsk{Name: "scanner"}); err != nil {
			t.Errorf("nobody else is left: %v", err)
		}
	})
}

// TestSharedBlockCutOff: the VR is alive, and only the other site cannot reach it any more.
func TestSharedBlockCutOff(t *testing.T) {
	inWorld(t, 342, func(t *testing.T, w *nodetest.World) {
		const count = 6
		p := newPair(t, w, count)
		p.run(5*time.Second, false)
		w.Net.Cut(p.one.Host, p.other.Host)
		cut := p.run(20*time.Second, false)
		w.Settle(time.Second)
		for _, f := range p.flows[:count] {
			if gap := f.Gap(cut); gap > 1500*time.Millisecond {
				t.Errorf("gap of %v", gap)
			}
		}
		w.Net.Join(p.one.Host, p.other.Host)
		w.Settle(membersBack)
		since := p.run(5*time.Second, true)
		w.Settle(time.Second)
		if one, _ := at(p.flows[count:], since); one == 0 {
			t.Error("no new flow goes to the VR that can be reached again")
		}
	})
}

// membersBack is how long it may take until a VR that did not dial us is in use again.
const membersBack = 25 * time.Second

// TestSharedBlockSplitLAN: the LAN of the two VRs is split, with both alive. Each host is behind one of them; what goes to it goes
// there within a few seconds, though its flow was drawn to the other one. When the LAN is whole again flows are drawn as before.
func TestSharedBlockSplitLAN(t *testing.T) {
	inWorld(t, 343, func(t *testing.T, w *nodetest.World) {
		const count = 8
		p := newPair(t, w, count)
		var split atomic.Bool
		listen := func(s, other *nodetest.Site) {
			s.Hears = func() []tables.RouterID {
				if split.Load() {
					return nil
				}
				return []tables.RouterID{other.Joined.Router}
			}
			s.Stop()
			s.Start()
		}
		listen(p.one, p.two)
		listen(p.two, p.one)
		w.Settle(5 * time.Second)
		halves := []*nodetest.Site{p.one, p.two}
		var flows, there []*nodetest.Flow
		for i, f := range p.flows[:count] {
			there = append(there, f)
			flows = append(flows, f, w.NewFlow(halves[i%2], f.Dst, p.other, p.src))
		}
		w.Run(5*time.Second, flowEvery, flows...)
		astray := func(since time.Time) (n int) {
			for i, f := range there {
				if by := f.By(since); !slices.Equal(by, []string{halves[i%2].Name}) {
					n++
				}
			}
			return n
		}
		whole := time.Now()
		w.Run(5*time.Second, flowEvery, flows...)
		if n := astray(whole); n == 0 {
			t.Fatal("every flow was drawn to the half that its host is in: this test shows nothing")
		}
		w.Settle(10 * time.Minute) // the two have nothing to say to each other
		w.Run(time.Second, flowEvery, flows...)
		split.Store(true)
		w.Run(4500*time.Millisecond, flowEvery, flows...)
		settled := time.Now()
		w.Run(20*time.Second, flowEvery, flows...)
		w.Settle(time.Second)
		if n := astray(settled); n > 0 {
			t.Errorf("%d of %d hosts got packets by way of the other half", n, count)
		}
		split.Store(false)
		w.Run(3*time.Second, flowEvery, flows...)
		healed := time.Now()
		w.Run(5*time.Second, flowEvery, flows...)
		w.Settle(time.Second)
		if n := astray(healed); n == 0 {
			t.Error("the word of a split LAN outlives the split")
		}
		for _, f := range flows {
			if f.Lost(whole) > 0 {
				t.Errorf("%d packets lost", f.Lost(whole))
			}
		}
	})
}
