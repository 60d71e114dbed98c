package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// A VNState is what a VN consisted of at one time.
type VNState struct {
	Entry    uint64 // the number of the log's entry that made it so; zero: before the first
	State    tables.VNState
	Seal     tables.Seal
	Sets     []tables.DeliverySet // by routers, each with sorted prefixes; revoked VRs are in it
	Hosts    []netip.Addr         // sorted
	Disabled []netip.Prefix       // sorted; those prefixes of Sets that were not used
}

// StateNow returns what a VN consists of by the documents that are signed. It fails while some of them are missing.
func StateNow(v *tables.View, vn tables.VN) (VNState, error) {
	s := VNState{State: vn.State, Seal: vn.Seal}
	s.Entry, _ = v.LastEntry(vn.ID)
	if vn.Version == 0 {
		return s, nil // is to be made
	}
	m, ok := v.Manifest(vn.ID)
	if !ok || v.Get(tables.ManifestKey(vn.ID)).Hash() != vn.Manifest {
		return s, missing(vn)
	}
	for _, leaf := range m.Fragments {
		d := v.Get(tables.FragmentKey(vn.ID, leaf.Set))
		if d == nil || d.Hash() != leaf.Hash {
			return s, missing(vn)
		}
		f := d.Body().(tables.Fragment)
		s.Sets = append(s.Sets, tables.DeliverySet{Routers: f.Routers, Prefixes: f.Prefixes})
		s.Disabled = append(s.Disabled, f.Disabled...)
	}
	for _, leaf := range m.Rosters {
		r, ok := v.Roster(vn.ID, leaf.Site)
		if !ok || r.Version < leaf.Version {
			return s, missing(vn)
		}
		s.Hosts = append(s.Hosts, r.Hosts...)
	}
	s.sort()
	return s, nil
}

// sort brings everything into its order.
func (s *VNState) sort() {
	slices.SortFunc(s.Sets, func(a, b tables.DeliverySet) int { return slices.Compare(a.Routers, b.Routers) })
	slices.SortFunc(s.Hosts, netip.Addr.Compare)
	s.Hosts = slices.Compact(s.Hosts)
	slices.SortFunc(s.Disabled, tables.ComparePrefixes)
}

// StateAt returns what a VN consisted of after entry number of its log, told backwards from the present. It fails if the log
// does not reach that far, or parts of it are not here.
func StateAt(v *tables.View, vn tables.VN, number uint64) (VNState, error) {
	s, err := StateNow(v, vn)
	if err != nil {
		return s, err
	}
	log := v.Log(vn.ID)
	i := slices.IndexFunc(log, func(e tables.Entry) bool { return e.Number == number })
	if i < 0 {
		first := uint64(0)
		if len(log) > 0 {
			first = log[0].Number
		}
		return s, fmt.Errorf("the log of VN %s has no entry %d here: it has %d to %d", vn.Name, number, first, s.Entry)
	}
	for k := len(log) - 1; k > i; k-- {
		if log[k].Number != log[k-1].Number+1 {
			return s, fmt.Errorf("waiting for entry %d of the log of VN %s, which has not come here yet", log[k].Number-1, vn.Name)
		}
		s.undo(log[k])
	}
	s.Entry, s.State, s.Seal = number, log[i].State, log[i].Seal
	return s, nil
}

// undo takes the change of e back.
func (s *VNState) undo(e tables.Entry) {
	s.Hosts = slices.DeleteFunc(append(slices.Clone(s.Hosts), e.Left...), func(h netip.Addr) bool { return slices.Contains(e.Joined, h) })
	s.Sets = addSets(takeSets(s.Sets, e.Gained), e.Lost)
	for _, p := range e.Switched {
		if i := slices.Index(s.Disabled, p); i >= 0 {
			s.Disabled = slices.Delete(slices.Clone(s.Disabled), i, i+1)
		} else {
			s.Disabled = append(slices.Clone(s.Disabled), p)
		}
	}
	s.sort()
}

// takeSets returns the prefixes of a that are not in b, by routers.
func takeSets(a, b []tables.DeliverySet) []tables.DeliverySet {
	var list []tables.DeliverySet
	for _, s := range a {
		i := slices.IndexFunc(b, func(o tables.DeliverySet) bool { return slices.Equal(o.Routers, s.Routers) })
		if i >= 0 {
			s.Prefixes = slices.DeleteFunc(slices.Clone(s.Prefixes), func(p netip.Prefix) bool { return slices.Contains(b[i].Prefixes, p) })
		}
		if len(s.Prefixes) > 0 {
			list = append(list, s)
		}
	}
	return list
}

// addSets returns the prefixes of both, by routers.
func addSets(a, b []tables.DeliverySet) []tables.DeliverySet {
	list := slices.Clone(a)
	for _, s := range b {
		i := slices.IndexFunc(list, func(o tables.DeliverySet) bool { return slices.Equal(o.Routers, s.Routers) })
		if i < 0 {
			list = append(list, s)
			continue
		}
		all := append(slices.Clone(list[i].Prefixes), s.Prefixes...)
		slices.SortFunc(all, tables.ComparePrefixes)
		list[i].Prefixes = slices.Compact(all)
	}
	return list
}

// A Difference is what one state of a VN has and another has not.
type Difference struct {
	Joined, Left []netip.Addr
	Gained, Lost []tables.DeliverySet
	Switched     []netip.Prefix // disabled in one of them
}

// Compare returns what has to happen to make after of before.
func Compare(before, after VNState) Difference {
	d := Difference{
		Joined: without(after.Hosts, before.Hosts), Left: without(before.Hosts, after.Hosts),
		Gained: takeSets(after.Sets, before.Sets), Lost: takeSets(before.Sets, after.Sets),
		Switched: slices.Concat(without(after.Disabled, before.Disabled), without(before.Disabled, after.Disabled)),
	}
	slices.SortFunc(d.Switched, tables.ComparePrefixes)
	return d
}

// without returns what a has and b has not.
func without[T comparable](a, b []T) []T {
	in := make(map[T]bool, len(b))
	for _, x := range b {
		in[x] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(x T) bool { return in[x] })
}

// becomes returns the state that ch leads to.
func (ch change) becomes() VNState {
	s := VNState{State: ch.state, Seal: ch.seal, Sets: slices.Clone(ch.draft.sets), Hosts: slices.Clone(ch.draft.hosts)}
	for _, set := range s.Sets {
		s.Disabled = append(s.Disabled, ch.draft.disabledOf(set)...)
	}
	s.sort()
	return s
}

// entry returns the entry of ch, which bodies make so, in the log of its VN. The parts of the version before are all here, or there would be no draft.
func (c *clerk) entry(ch change, bodies []tables.Body) tables.Entry {
	vn := ch.draft.vn
	before, _ := StateNow(c.v, vn)
	if next, ok := bodies[0].(tables.VN); ok {
		vn = next // else only rosters change
	}
	d := Compare(before, ch.becomes())
	number, hash := c.v.LastEntry(vn.ID)
	return tables.Entry{
		VN: vn.ID, Number: number + 1, Before: hash, Version: vn.Version, Op: c.r.Op, User: c.r.User, Request: c.id,
		Issued: c.now.Unix(), State: ch.state, Seal: ch.seal,
		Joined: d.Joined, Left: d.Left, Gained: d.Gained, Lost: d.Lost, Switched: d.Switched,
		With: cmp.Or(ch.other, ch.into),
	}
}
