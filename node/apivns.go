package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// findVN returns the header of the VN that is called or numbered so.
func findVN(v *tables.View, name string) (tables.VN, error) {
	if vn, ok := v.VNByName(name); ok {
		return vn, nil
	}
	for _, vn := range v.VNs() {
		if vn.ID.String() == name {
			return vn, nil
		}
	}
	return tables.VN{}, noVN(name)
}

// VNLog implements control.Router.
func (a api) VNLog(_ context.Context, name string) ([]control.Entry, error) {
	v := a.view()
	vn, err := findVN(v, name)
	if err != nil {
		return nil, err
	}
	list := []control.Entry{}
	for _, e := range v.Log(vn.ID) {
		with, _ := v.VN(e.With)
		list = append(list, control.Entry{
			Number: e.Number, Version: e.Version, Time: time.Unix(e.Issued, 0).UTC(), Op: e.Op, User: userIn(v, e.User),
			Request: hex.EncodeToString(e.Request[:]), With: with.Name, State: string(e.State), Seal: string(e.Seal),
			Changes: changesIn(v, policy.Difference{Joined: e.Joined, Left: e.Left, Gained: e.Gained, Lost: e.Lost, Switched: e.Switched}),
		})
	}
	return list, nil
}

// VNAt implements control.Router.
func (a api) VNAt(_ context.Context, name string, number uint64) (control.VNState, error) {
	v := a.view()
	vn, err := findVN(v, name)
	if err != nil {
		return control.VNState{}, err
	}
	s, err := policy.StateAt(v, vn, number)
	if err != nil {
		return control.VNState{}, fmt.Errorf("%w: %v", control.ErrNotFound, err)
	}
	return stateIn(v, vn.Name, s), nil
}

// Plan implements control.Router.
func (a api) Plan(_ context.Context, envelope []byte) (control.Plan, error) {
	d, err := parseRequest(envelope)
	if err != nil {
		return control.Plan{}, err
	}
	v := a.view()
	p := policy.PlanOf(time.Now(), v, d.Hash(), d.Body().(tables.Request))
	out := control.Plan{State: p.State, Reason: p.Reason, VNs: []control.VNPlan{}, Gained: pairs(p.Gained), Lost: pairs(p.Lost)}
	for _, vn := range p.VNs {
		out.VNs = append(out.VNs, control.VNPlan{
			Before: stateIn(v, vn.Name, vn.Before), After: stateIn(v, vn.Name, vn.After), Changes: changesIn(v, vn.Difference),
		})
	}
	return out, nil
}

func pairs(p policy.Pairs) control.Pairs {
	return control.Pairs{Count: p.Count, First: filled(p.First)}
}

func stateIn(v *tables.View, name string, s policy.VNState) control.VNState {
	return control.VNState{
		Name: name, Entry: s.Entry, State: string(s.State), Seal: string(s.Seal), Sets: setsIn(v, s.Sets),
		Hosts: filled(s.Hosts), Disabled: filled(s.Disabled),
	}
}

func changesIn(v *tables.View, d policy.Difference) control.Changes {
	return control.Changes{
		Joined: filled(d.Joined), Left: filled(d.Left), Gained: setsIn(v, d.Gained), Lost: setsIn(v, d.Lost), Switched: filled(d.Switched),
	}
}

func setsIn(v *tables.View, sets []tables.DeliverySet) []control.Set {
	list := []control.Set{}
	for _, s := range sets {
		set := control.Set{Prefixes: s.Prefixes, Disabled: []netip.Prefix{}, VRs: []string{}}
		for _, id := range s.Routers {
			set.VRs = append(set.VRs, nameIn(v, id))
		}
		list = append(list, set)
	}
	return list
}

// filled returns list, or an empty one for none: JSON never has null for a list.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
