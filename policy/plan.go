package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// A Plan is what an operation would do if the authority decided now.
type Plan struct {
	State  string // as in a Decision
	Reason string
	VNs    []VNPlan
	// Gained and Lost are the pairs of hosts that could reach each other afterwards and cannot now, and the other way round.
	Gained, Lost Pairs
}

// A VNPlan is what becomes of one VN.
type VNPlan struct {
	Name          string
	Before, After VNState
	Difference
}

// Pairs are pairs of hosts.
type Pairs struct {
	Count uint64
	First [][2]netip.Addr // at most PairsMax of them, sorted; the lower address first
}

// PairsMax is how many pairs a Plan names. It counts all.
const PairsMax = 1000

// PlanOf returns what the request would do, judged as by the authority that has the key of the VN or, for a new one, the first
// in office. It changes nothing. Like Decide it is a pure function.
func PlanOf(now time.Time, v *tables.View, id tables.Hash, r tables.Request) Plan {
	root, _ := v.Root()
	var a Authority
	for _, k := range root.Authorities {
		if v.Authority(k.Key, now) {
			a.Key = k.Key
			break
		}
	}
	d := a.decide(now, v, id, r, true)
	p := Plan{State: d.State, Reason: d.Reason}
	for _, ch := range d.changes {
		before, err := StateNow(v, ch.draft.vn)
		if err != nil {
			return Plan{State: tables.StatePending, Reason: reason("%v", err)}
		}
		one := VNPlan{Name: ch.draft.vn.Name, Before: before, After: ch.becomes()}
		one.Difference = Compare(one.Before, one.After)
		p.VNs = append(p.VNs, one)
	}
	p.Gained, p.Lost = reachability(v, d.changes)
	return p
}

// A member is a host: the same address at another site is another one.
type member struct {
	addr netip.Addr
	site string
}

// A membership is which VNs a host is in before and after.
type membership struct{ before, after []tables.VNID }

// reachability compares which hosts reach each other. Hosts that are in the same VNs behave alike, so it counts by such classes
// and not by hosts.
func reachability(v *tables.View, changes []change) (gained, lost Pairs) {
	if len(changes) == 0 {
		return gained, lost
	}
	all := map[member]*membership{}
	of := func(m member) *membership {
		if all[m] == nil {
			all[m] = &membership{}
		}
		return all[m]
	}
	changed := map[tables.VNID]bool{}
	for _, ch := range changes {
		changed[ch.draft.vn.ID] = true
		for m := range usable(ch.draft) {
			e := of(m)
			e.after = append(e.after, ch.draft.vn.ID)
		}
	}
	for _, vn := range v.VNs() {
		d, err := loadDraft(v, vn)
		if err != nil || vn.State == tables.VNShutdown {
			continue
		}
		for m := range usable(d) {
			e := of(m)
			e.before = append(e.before, vn.ID)
			if !changed[vn.ID] {
				e.after = append(e.after, vn.ID)
			}
		}
	}
	return classes(all)
}

// usable gives the members of d that packets reach: their prefix, and a VR that delivers it, are not disabled.
func usable(d *draft) map[member]bool {
	list := map[member]bool{}
	for _, h := range d.hosts {
		w, ok := d.way(h)
		if !ok || slices.Contains(d.disabled, w.prefix) {
			continue
		}
		on := slices.ContainsFunc(w.routers, func(id tables.RouterID) bool {
			e, ok := d.v.Enrolment(id)
			return ok && !e.Disabled
		})
		if on {
			list[member{h, d.site(w.routers)}] = true
		}
	}
	return list
}

// A class is hosts with one membership.
type class struct {
	membership
	hosts []netip.Addr
}

func classes(all map[member]*membership) (gained, lost Pairs) {
	var list []class
	for m, e := range all {
		slices.Sort(e.before)
		slices.Sort(e.after)
		i := slices.IndexFunc(list, func(c class) bool { return slices.Equal(c.before, e.before) && slices.Equal(c.after, e.after) })
		if i < 0 {
			i = len(list)
			list = append(list, class{membership: *e})
		}
		list[i].hosts = append(list[i].hosts, m.addr)
	}
	for _, c := range list {
		slices.SortFunc(c.hosts, netip.Addr.Compare)
	}
	slices.SortFunc(list, func(a, b class) int {
		return cmp.Or(slices.Compare(a.before, b.before), slices.Compare(a.after, b.after))
	})
	for i, a := range list {
		for j, b := range list[i:] {
			was, is := meet(a.before, b.before), meet(a.after, b.after)
			switch {
			case is && !was:
				gained.add(a.hosts, b.hosts, j == 0)
			case was && !is:
				lost.add(a.hosts, b.hosts, j == 0)
			}
		}
	}
	gained.sort()
	lost.sort()
	return gained, lost
}

func meet(a, b []tables.VNID) bool {
	return slices.ContainsFunc(a, func(id tables.VNID) bool { return slices.Contains(b, id) })
}

// add counts the pairs of a host of a and another of b; inside means that both are one class.
func (p *Pairs) add(a, b []netip.Addr, inside bool) {
	n, m := uint64(len(a)), uint64(len(b))
	if inside {
		p.Count += n * (n - 1) / 2
	} else {
		p.Count += n * m
	}
	for i, x := range a {
		rest := b
		if inside {
			rest = a[i+1:]
		}
		for _, y := range rest {
			if len(p.First) == PairsMax {
				return
			}
			if y.Less(x) {
				p.First = append(p.First, [2]netip.Addr{y, x})
			} else {
				p.First = append(p.First, [2]netip.Addr{x, y})
			}
		}
	}
}

func (p *Pairs) sort() {
	slices.SortFunc(p.First, func(a, b [2]netip.Addr) int { return cmp.Or(a[0].Compare(b[0]), a[1].Compare(b[1])) })
}
