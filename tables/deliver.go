package tables

import (
	"cmp"
	"slices"
)

// SharersMax is how many VRs may share a block: as many as a fragment can name.
const SharersMax = setMax

// Sharers returns the VRs that share a block with id: those of its site whose enrolments have one of the blocks that its
// enrolment has. They stand on one LAN, and any of them delivers what one of them delivers. It is among them unless it is
// revoked; a router that is not enrolled has none. Sorted; the caller may change the list.
func (v *View) Sharers(id RouterID) []RouterID {
	d := v.enrolments[id]
	if d == nil {
		return nil
	}
	e := d.body.(Enrolment)
	var list []RouterID
	if !v.Revoked(e.Identity) {
		list = append(list, id)
	}
	for _, p := range e.Blocks {
		for _, other := range v.byBlock[p] {
			if o, ok := v.Enrolment(other); ok && other != id && o.Site == e.Site {
				list = append(list, other)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Deliverers returns the delivery set that a fragment for routers means: with them all who share a block with one of them, so
// that a VR that comes to a site, or goes, changes no VN; without those that are revoked. Routers that are not enrolled as far
// as is known here are kept. Sorted; the caller may change the list.
func (v *View) Deliverers(routers []RouterID) []RouterID {
	var list []RouterID
	for _, id := range routers {
		if v.enrolments[id] == nil {
			list = append(list, id)
		}
		list = append(list, v.Sharers(id)...)
	}
	slices.SortFunc(list, cmp.Compare)
	return slices.Compact(list)
}
