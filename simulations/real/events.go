package real

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/transporttest"
)

// Check returns why the engine cannot run a scenario, nil if it can.
func Check(s *scenario.Scenario) error {
	for _, g := range s.Groups {
		switch {
		case g.NAT == "udp-blocked":
			return fmt.Errorf("group %s: the engine real has no streams, so nothing gets through where UDP is blocked: use the model", g.Name)
		case g.Liar != "":
			return fmt.Errorf("group %s: the engine real runs the code as it is, which does not lie: use the model", g.Name)
		}
	}
	if n := s.VRs(); n < 2 || n > 2000 {
		return fmt.Errorf("%d VRs: the engine real runs 2 to 2000 in one process", n)
	}
	return nil
}

// planChurn says when each VR leaves for the first time, and stops those that come later.
func (x *experiment) planChurn() {
	now := time.Now().Add(x.s.Warmup)
	for _, v := range x.vrs[1:] {
		c := &v.group.Churn
		switch c.Kind {
		case "none", "":
		case "flash":
			x.stop(v, true)
			v.next = now.Add(c.At + time.Duration(x.rng.Float64()*float64(c.Within)))
		case "trace":
			for _, change := range c.Trace {
				if change.VR == v.Name {
					v.trace = append(v.trace, change)
				}
			}
			if len(v.trace) > 0 {
				v.next = now.Add(v.trace[0].At)
				if v.trace[0].What == "up" {
					x.stop(v, true)
				}
			}
		default:
			v.next = now.Add(time.Duration(x.rng.Float64() * float64(spell(c, x.rng, c.Session, 0)))) // they have been up for a while
		}
	}
}

// churn has VRs come and go whose time it is.
func (x *experiment) churn(now time.Time) {
	for _, v := range x.vrs[1:] {
		if v.next.IsZero() || now.Before(v.next) || v.revoked {
			continue
		}
		c := &v.group.Churn
		if c.Kind == "trace" {
			switch change := v.trace[0]; change.What {
			case "up":
				x.restart(v)
			default:
				x.stop(v, change.What == "leave")
			}
			v.trace, v.next = v.trace[1:], time.Time{}
			if len(v.trace) > 0 {
				v.next = x.zero.Add(v.trace[0].At)
			}
			continue
		}
		if v.up {
			x.stop(v, x.draw(c.Graceful))
			v.next = now.Add(spell(c, x.rng, c.Away, now.Sub(x.zero)))
			continue
		}
		x.restart(v)
		if v.next = now.Add(spell(c, x.rng, c.Session, now.Sub(x.zero))); c.Kind == "flash" {
			v.next = time.Time{}
		}
	}
}

func (x *experiment) draw(p scenario.PPM) bool { return x.rng.Int64N(1e6) < int64(p) }

// stop ends a VR: with a word to the others, or without.
func (x *experiment) stop(v *vr, announced bool) {
	if !v.up {
		return
	}
	v.up = false
	v.deaf()
	x.fault = time.Now()
	if announced {
		x.counts[result.Leaves]++
		v.Stop()
		return
	}
	x.counts[result.Crashes]++
	x.died(v)
	v.Kill()
}

func (x *experiment) restart(v *vr) {
	if v.up || v.revoked {
		return
	}
	v.up = true
	x.fault = time.Now()
	x.counts[result.Restarts]++
	v.Start()
	x.watch(v)
}

// happen does what the scenario says for now.
func (x *experiment) happen(now time.Time) {
	for len(x.todo) > 0 && !now.Before(x.zero.Add(x.todo[0].At)) {
		e := x.todo[0]
		x.todo = x.todo[1:]
		x.fault = now
		x.note("%s", e.Do)
		x.do(now, e)
	}
	rest := x.later[:0]
	for _, l := range x.later {
		if now.Before(l.at) {
			rest = append(rest, l)
			continue
		}
		x.fault = now
		l.do()
	}
	x.later = rest
}

// of returns the VRs of groups that fit, count of them at random, or all.
func (x *experiment) of(groups []string, count int, fits func(*vr) bool) (list []*vr) {
	for _, v := range x.vrs[1:] { // the founder stays
		if (len(groups) == 0 || slices.Contains(groups, v.group.Name)) && fits(v) {
			list = append(list, v)
		}
	}
	x.rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	if count > 0 {
		list = list[:min(count, len(list))]
	}
	return list
}

func (x *experiment) do(now time.Time, e scenario.Event) {
	if name, ok := x.called[e.VN]; ok {
		e.VN = name
	}
	if name, ok := x.called[e.With]; ok {
		e.With = name
	}
	up := func(v *vr) bool { return v.up && !v.paused }
	ends := func(do func()) { x.later = append(x.later, later{now.Add(e.For), do}) }
	switch e.Do {
	case "partition":
		parts := e.Parts
		if len(parts) == 0 {
			parts = [][]string{e.Groups}
		}
		var groups [][]transporttest.Node
		for _, p := range parts {
			var nodes []transporttest.Node
			for _, v := range x.vrs {
				if slices.Contains(p, v.group.Name) {
					nodes = append(nodes, v.edge())
				}
			}
			groups = append(groups, nodes)
		}
		x.cut = true
		x.w.Net.Partition(groups...)
	case "heal":
		x.cut = false
		x.healed = now
		x.w.Net.Heal()
	case "kill", "leave":
		for _, v := range x.of(e.Groups, e.Count, up) {
			x.stop(v, e.Do == "leave")
		}
	case "restart":
		for _, v := range x.of(e.Groups, e.Count, func(v *vr) bool { return !v.up }) {
			x.restart(v)
		}
	case "pause":
		list := x.of(e.Groups, e.Count, up)
		for _, v := range list {
			v.paused = true
			v.Host.Pause()
		}
		ends(func() {
			for _, v := range list {
				v.paused = false
				v.Host.Resume()
			}
		})
	case "slow":
		list := x.of(e.Groups, e.Count, up)
		for _, v := range list {
			loss := float64(v.group.Loss) / 1e6
			v.edge().SetLink(transporttest.Path{Bandwidth: v.group.Up, Loss: loss, Latency: e.Latency}, transporttest.Path{Bandwidth: v.group.Down, Loss: loss, Latency: e.Latency})
		}
		ends(func() {
			for _, v := range list {
				loss := float64(v.group.Loss) / 1e6
				v.edge().SetLink(transporttest.Path{Bandwidth: v.group.Up, Loss: loss}, transporttest.Path{Bandwidth: v.group.Down, Loss: loss})
			}
		})
	case "loss":
		x.w.Net.SetLoss(float64(e.Loss) / 1e6)
		ends(func() { x.w.Net.SetLoss(float64(x.s.Network.Loss) / 1e6) })
	case "authority-away":
		founder := x.vrs[0]
		founder.up = false
		founder.deaf()
		founder.Stop()
		ends(func() {
			founder.up = true
			founder.Start()
			x.watch(founder)
		})
	case "revoke":
		for _, v := range x.of(e.Groups, e.Count, up) {
			v.revoked = true
			x.ask(policy.OpRevoke, policy.RevokeArgs{VR: v.Joined.Name, Reason: "the scenario says so"}, waiting{revoked: v})
		}
	case "vn-create":
		x.ask(policy.OpVNCreate, policy.VNCreateArgs{Name: e.VN, Hosts: x.hosts(e.Groups)}, waiting{vn: e.VN})
	case "vn-update":
		seal := tables.SealAuth
		if x.seal[e.VN] {
			seal = tables.SealEncrypt
		}
		x.seal[e.VN] = !x.seal[e.VN]
		x.ask(policy.OpVNUpdate, policy.VNUpdateArgs{VN: e.VN, Seal: seal}, waiting{vn: e.VN})
	case "vn-merge": // the first takes in the second, and keeps its name
		x.called[e.Into] = e.VN
		x.ask(policy.OpVNMerge, policy.VNMergeArgs{VN: e.VN, From: e.With}, waiting{vn: e.VN})
	case "vn-split":
		x.ask(policy.OpVNSplit, policy.VNSplitArgs{VN: e.VN, Into: e.Into, Hosts: x.hosts(e.Groups)}, waiting{vn: e.Into})
	case "vn-shutdown":
		x.ask(policy.OpVNShutdown, policy.VNArgs{VN: e.VN}, waiting{})
	}
}

// hosts are the member hosts of the VRs of groups.
func (x *experiment) hosts(groups []string) (list []netip.Addr) {
	for _, v := range x.vrs {
		if len(groups) == 0 || slices.Contains(groups, v.group.Name) {
			list = append(list, v.host)
		}
	}
	return list
}

// makeVNs makes the VNs that are there from the start, and pairs of hosts whose reachability is sampled.
func (x *experiment) makeVNs() {
	for _, v := range x.vrs {
		v.host = v.NewHost()
	}
	for _, vn := range x.s.VNs {
		list := x.vrs
		if len(vn.Groups) > 0 {
			list = slices.DeleteFunc(slices.Clone(list), func(v *vr) bool { return !slices.Contains(vn.Groups, v.group.Name) })
		}
		if vn.Sample > 0 && vn.Sample < len(list) {
			list = slices.Clone(list)
			x.rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
			list = list[:vn.Sample]
		}
		var hosts []netip.Addr
		for _, v := range list {
			hosts = append(hosts, v.host)
		}
		x.w.Must(x.vrs[0].Site, policy.OpVNCreate, policy.VNCreateArgs{Name: vn.Name, Hosts: hosts})
		for range min(pairsMax/len(x.s.VNs), len(list)) {
			a, b := list[x.rng.IntN(len(list))], list[x.rng.IntN(len(list))]
			if a != b {
				x.pair(a, b)
			}
		}
	}
}

// ask has the administrator ask for an operation. The outcome is looked for each second.
func (x *experiment) ask(op string, args any, w waiting) {
	founder := x.vrs[0]
	if !founder.up {
		x.note("%s is asked for while the authority is away: nobody takes it", op)
		return
	}
	d, err := policy.NewRequest(time.Now(), x.w.Random(), founder.User(), op, args)
	if err != nil {
		x.note("%s: %v", op, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := founder.API().Submit(ctx, d.Bytes()); err != nil {
		x.note("%s: %v", op, err)
		return
	}
	x.await(w)
}
