package policytest

import (
	"crypto/ed25519"
	"net/netip"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// An attempt is one run of a cell.
type attempt struct {
	*Scene
	Cell
}

// site returns the site that the operation is about.
func (a *attempt) site() string {
	if a.Relation == OtherSite {
		return a.Other
	}
	return a.Own
}

// by returns the key of the asking user, whose grant for a VN names vn, or another one in a cell about
// other VNs.
func (a *attempt) by(vn string) ed25519.PrivateKey {
	switch a.Scope {
	case "site":
		return a.user(a.Role, "site/"+a.Own, a.Delegated)
	case "vn":
		if a.Relation == OtherVN || vn == "" {
			vn = "mine"
		}
		return a.user(a.Role, "vn/"+vn, a.Delegated)
	default:
		return a.user(a.Role, a.Scope, a.Delegated)
	}
}

// create has the administrator make a VN with a host at the site.
func (a *attempt) create() string {
	name := a.name("vn")
	a.must(policy.OpVNCreate, policy.VNCreateArgs{Name: name, Hosts: []netip.Addr{a.host(a.site(), 0)}})
	return name
}

// end has the administrator shut a VN down, if the attempt has not.
func (a *attempt) end(vn string) { a.ask(a.Admin, policy.OpVNShutdown, policy.VNArgs{VN: vn}) }

// attempts has for each operation of the matrix an attempt, and what restores the scene.
var attempts = map[string]func(a *attempt) (state, reason string){
	policy.OpAdmit: func(a *attempt) (string, string) {
		key, name := a.newcomer(a.site())
		defer a.ask(a.Admin, policy.OpRefuse, policy.RefuseArgs{Fingerprint: tables.PublicOf(key).Fingerprint()})
		defer a.ask(a.Admin, policy.OpRevoke, policy.RevokeArgs{VR: name})
		return a.ask(a.by(""), policy.OpAdmit, policy.AdmitArgs{Fingerprint: tables.PublicOf(key).Fingerprint()})
	},
	policy.OpRefuse: func(a *attempt) (string, string) {
		key, _ := a.newcomer(a.site())
		defer a.ask(a.Admin, policy.OpRefuse, policy.RefuseArgs{Fingerprint: tables.PublicOf(key).Fingerprint()})
		return a.ask(a.by(""), policy.OpRefuse, policy.RefuseArgs{Fingerprint: tables.PublicOf(key).Fingerprint()})
	},
	"invite": func(a *attempt) (string, string) {
		key, name := a.Scene.key(), a.name("new")
		root, _ := a.View().Root()
		token, err := tables.NewToken(a.Random, tables.Invite{Authority: root.Authorities[0].Key, NotAfter: a.Now().Unix() + 3600}, a.by(""))
		if err != nil {
			panic(failure{err})
		}
		defer a.ask(a.Admin, policy.OpRevoke, policy.RevokeArgs{VR: name})
		return a.ask(key, policy.OpJoin, policy.JoinArgs{
			Name: name, Site: a.site(), Link: tables.LinkKey{1},
			Invite: token.Document().Bytes(), Proof: token.Prove(a.View().FederationID(), tables.PublicOf(key)),
		})
	},
	policy.OpRevoke: func(a *attempt) (string, string) {
		name := a.enrolled()
		defer a.ask(a.Admin, policy.OpRevoke, policy.RevokeArgs{VR: name})
		return a.ask(a.by(""), policy.OpRevoke, policy.RevokeArgs{VR: name, Reason: "test"})
	},
	policy.OpConsent: func(a *attempt) (string, string) {
		a.must(policy.OpSiteSet, policy.SiteSetArgs{Site: a.site(), Consent: "ask"})
		defer a.must(policy.OpSiteSet, policy.SiteSetArgs{Site: a.site(), Consent: "open"})
		vn := a.name("vn")
		vna := a.grant(tables.RoleVNA, "vn/"+vn)
		state, reason, id := a.request(vna, policy.OpVNCreate, policy.VNCreateArgs{Name: vn, Hosts: []netip.Addr{a.host(a.site(), 0)}})
		if state != tables.StatePending {
			return "not asked: " + state, reason
		}
		defer a.end(vn)
		defer a.ask(a.Admin, policy.OpConsent, policy.ConsentArgs{Request: id, Site: a.site(), Refuse: true})
		return a.ask(a.by(vn), policy.OpConsent, policy.ConsentArgs{Request: id, Site: a.site()})
	},
	policy.OpWithdraw: func(a *attempt) (string, string) {
		vn := a.create()
		defer a.must(policy.OpSiteSet, policy.SiteSetArgs{Site: a.site(), Consent: "open"})
		defer a.end(vn)
		return a.ask(a.by(vn), policy.OpWithdraw, policy.WithdrawArgs{Site: a.site(), VN: vn})
	},
	policy.OpSiteSet: func(a *attempt) (string, string) {
		contact := a.name("somebody")
		return a.ask(a.by(""), policy.OpSiteSet, policy.SiteSetArgs{Site: a.site(), Contact: &contact})
	},
	policy.OpUserGrant: func(a *attempt) (string, string) {
		return a.ask(a.by(""), policy.OpUserGrant, policy.UserGrantArgs{
			User: tables.PublicOf(a.Scene.key()), Name: a.name("user"), Role: tables.RoleEU, Scope: a.scope(), NotAfter: a.Now().Unix() + 3600,
		})
	},
	policy.OpUserRevoke: func(a *attempt) (string, string) {
		key := a.grant(tables.RoleEU, a.scope())
		return a.ask(a.by(""), policy.OpUserRevoke, policy.UserRevokeArgs{User: tables.PublicOf(key)})
	},
	policy.OpVNCreate: func(a *attempt) (string, string) {
		vn := a.name("vn")
		defer a.end(vn)
		return a.ask(a.by(vn), policy.OpVNCreate, policy.VNCreateArgs{Name: vn, Hosts: []netip.Addr{a.host(a.site(), 0)}})
	},
	policy.OpVNJoin: func(a *attempt) (string, string) {
		vn := a.create()
		defer a.end(vn)
		return a.ask(a.by(vn), policy.OpVNJoin, policy.VNHostsArgs{VN: vn, Hosts: []netip.Addr{a.host(a.site(), 1)}})
	},
	policy.OpVNLeave: func(a *attempt) (string, string) {
		vn := a.create()
		defer a.end(vn)
		return a.ask(a.by(vn), policy.OpVNLeave, policy.VNHostsArgs{VN: vn, Hosts: []netip.Addr{a.host(a.site(), 0)}})
	},
	policy.OpVNShutdown: func(a *attempt) (string, string) {
		vn := a.create()
		defer a.end(vn)
		return a.ask(a.by(vn), policy.OpVNShutdown, policy.VNArgs{VN: vn})
	},
	policy.OpVNMerge: func(a *attempt) (string, string) {
		vn, part := a.pair(), a.name("vn")
		defer a.end(vn)
		key := a.by(vn) // before the split, so that a grant for the one VN is one for the other
		a.must(policy.OpVNSplit, policy.VNSplitArgs{VN: vn, Into: part, Hosts: []netip.Addr{a.host(a.site(), 1)}})
		defer a.end(part)
		return a.ask(key, policy.OpVNMerge, policy.VNMergeArgs{VN: vn, From: part})
	},
	policy.OpVNSplit: func(a *attempt) (string, string) {
		vn, part := a.pair(), a.name("vn")
		defer a.end(vn)
		defer a.end(part)
		return a.ask(a.by(vn), policy.OpVNSplit, policy.VNSplitArgs{VN: vn, Into: part, Hosts: []netip.Addr{a.host(a.site(), 1)}})
	},
	policy.OpVNUpdate: func(a *attempt) (string, string) {
		vn := a.create()
		defer a.end(vn)
		return a.ask(a.by(vn), policy.OpVNUpdate, policy.VNUpdateArgs{VN: vn, Seal: tables.SealAuth})
	},
	policy.OpVNRestore: func(a *attempt) (string, string) {
		vn := a.pair()
		defer a.end(vn)
		return a.ask(a.by(vn), policy.OpVNRestore, policy.VNRestoreArgs{VN: vn, Number: 1})
	},
	policy.OpVRDisable: func(a *attempt) (string, string) {
		name := a.enrolled()
		defer a.ask(a.Admin, policy.OpRevoke, policy.RevokeArgs{VR: name})
		return a.ask(a.by(""), policy.OpVRDisable, policy.VRArgs{VR: name})
	},
	policy.OpVREnable: func(a *attempt) (string, string) {
		name := a.enrolled()
		defer a.ask(a.Admin, policy.OpRevoke, policy.RevokeArgs{VR: name})
		a.must(policy.OpVRDisable, policy.VRArgs{VR: name})
		return a.ask(a.by(""), policy.OpVREnable, policy.VRArgs{VR: name})
	},
}

// pair has the administrator make a VN of two hosts at the site.
func (a *attempt) pair() string {
	vn := a.create()
	a.must(policy.OpVNJoin, policy.VNHostsArgs{VN: vn, Hosts: []netip.Addr{a.host(a.site(), 1)}})
	return vn
}

// enrolled has the administrator admit a VR at the site.
func (a *attempt) enrolled() string {
	key, name := a.newcomer(a.site())
	a.must(policy.OpAdmit, policy.AdmitArgs{Fingerprint: tables.PublicOf(key).Fingerprint()})
	return name
}

// scope returns the scope of the grants that an operation about users is about: that of the asking
// user, or that of the relation.
func (a *attempt) scope() string {
	switch {
	case a.Relation == OtherVN:
		return "vn/yours"
	case a.Relation == OtherSite:
		return "site/" + a.Other
	case a.Scope == "site":
		return "site/" + a.Own
	default:
		return "vn/mine"
	}
}
