package policy

import (
	"crypto/ed25519"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// The operations: the Op of a tables.Request. Each names the type of its arguments, which travel
// as deterministic CBOR (dissertation table 5-2).
const (
	OpJoin       = "join"        // JoinArgs; signed by the identity that wants to join
	OpAdmit      = "admit"       // AdmitArgs
	OpRefuse     = "refuse"      // RefuseArgs
	OpVNCreate   = "vn.create"   // VNCreateArgs
	OpVNJoin     = "vn.join"     // VNHostsArgs
	OpVNLeave    = "vn.leave"    // VNHostsArgs
	OpVNShutdown = "vn.shutdown" // VNArgs
	OpVNMerge    = "vn.merge"    // VNMergeArgs
	OpVNSplit    = "vn.split"    // VNSplitArgs
	OpVNUpdate   = "vn.update"   // VNUpdateArgs
	OpVNRestore  = "vn.restore"  // VNRestoreArgs
	OpVRDisable  = "vr.disable"  // VRArgs
	OpVREnable   = "vr.enable"   // VRArgs
	OpRevoke     = "revoke"      // RevokeArgs
	OpUserGrant  = "user.grant"  // UserGrantArgs
	OpUserRevoke = "user.revoke" // UserRevokeArgs
	OpSiteSet    = "site.set"    // SiteSetArgs
	OpConsent    = "consent"     // ConsentArgs
	OpWithdraw   = "withdraw"    // WithdrawArgs
)

// JoinArgs ask for the enrolment of the identity that signs the request.
type JoinArgs = tables.JoinArgs

// CheckJoin returns why no authority would enrol on a join request, whatever it knows: its
// arguments are malformed, too long, name what is no name, or hold an invite that its inviter did
// not sign. It costs one signature verification at most and needs no tables, so it stands before
// everything that keeps or tells.
func CheckJoin(r tables.Request) error {
	if r.Op != OpJoin {
		return fmt.Errorf("join request: %w: operation %s", tables.ErrFormat, short(r.Op))
	}
	if _, err := r.CheckJoin(); err != nil {
		return fmt.Errorf("join request: %w", err)
	}
	return nil
}

// AdmitArgs admit an identity that has asked to join.
type AdmitArgs struct {
	Fingerprint string `cbor:"1,keyasint"`
	Name        string `cbor:"2,keyasint"` // instead of what was asked for; may be empty
	Site        string `cbor:"3,keyasint"` // likewise
}

// RefuseArgs turn an identity away that has asked to join.
type RefuseArgs struct {
	Fingerprint string `cbor:"1,keyasint"`
	Reason      string `cbor:"2,keyasint"`
}

// VNCreateArgs ask for a new VN.
type VNCreateArgs struct {
	Name     string       `cbor:"1,keyasint"`
	Seal     tables.Seal  `cbor:"2,keyasint"` // empty: encrypt
	Hosts    []netip.Addr `cbor:"3,keyasint"`
	Prefixes []PrefixAt   `cbor:"4,keyasint"`
}

// A PrefixAt gives a prefix of the VN to a VR; without one, a host brings the block it is in.
type PrefixAt struct {
	Prefix netip.Prefix `cbor:"1,keyasint"`
	VR     string       `cbor:"2,keyasint"`
}

// VNHostsArgs ask that hosts join or leave a VN.
type VNHostsArgs struct {
	VN    string       `cbor:"1,keyasint"`
	Hosts []netip.Addr `cbor:"2,keyasint"`
}

// VNArgs name a VN.
type VNArgs struct {
	VN string `cbor:"1,keyasint"`
}

// VNMergeArgs ask that From ends and VN carries all that it carried.
type VNMergeArgs struct {
	VN   string `cbor:"1,keyasint"`
	From string `cbor:"2,keyasint"`
}

// VNSplitArgs ask that Hosts leave VN for a new VN called Into.
type VNSplitArgs struct {
	VN    string       `cbor:"1,keyasint"`
	Into  string       `cbor:"2,keyasint"`
	Hosts []netip.Addr `cbor:"3,keyasint"`
}

// VNUpdateArgs ask for other prefixes, or another seal.
type VNUpdateArgs struct {
	VN      string         `cbor:"1,keyasint"`
	Add     []PrefixAt     `cbor:"2,keyasint"`
	Remove  []netip.Prefix `cbor:"3,keyasint"` // no host may be left in them
	Disable []netip.Prefix `cbor:"4,keyasint"` // kept and not used
	Enable  []netip.Prefix `cbor:"5,keyasint"`
	Seal    tables.Seal    `cbor:"6,keyasint"` // empty: as it is
}

// VNRestoreArgs ask that a VN has again the hosts, prefixes and seal that it had after an entry of its log.
type VNRestoreArgs struct {
	VN     string `cbor:"1,keyasint"`
	Number uint64 `cbor:"2,keyasint"`
}

// VRArgs name a VR.
type VRArgs struct {
	VR string `cbor:"1,keyasint"`
}

// RevokeArgs ask that the identity of a VR is never trusted again.
type RevokeArgs struct {
	VR     string `cbor:"1,keyasint"`
	Reason string `cbor:"2,keyasint"`
}

// UserGrantArgs ask that a user gets a role.
type UserGrantArgs struct {
	User     tables.PublicKey `cbor:"1,keyasint"`
	Name     string           `cbor:"2,keyasint"` // what people call him
	Role     tables.Role      `cbor:"3,keyasint"`
	Scope    string           `cbor:"4,keyasint"`
	NotAfter int64            `cbor:"5,keyasint"` // Unix seconds
}

// UserRevokeArgs ask that rights of a user end; without a role and a scope all of them.
type UserRevokeArgs struct {
	User   tables.PublicKey `cbor:"1,keyasint"`
	Role   tables.Role      `cbor:"2,keyasint"`
	Scope  string           `cbor:"3,keyasint"`
	Reason string           `cbor:"4,keyasint"`
}

// SiteSetArgs change what a site says. An empty Consent leaves the policy as it is, a nil text that.
type SiteSetArgs struct {
	Site     string             `cbor:"1,keyasint"`
	Consent  string             `cbor:"2,keyasint"`
	AllowVNs []string           `cbor:"3,keyasint"` // what needs no asking: see tables.Site
	With     []string           `cbor:"4,keyasint"`
	Users    []tables.PublicKey `cbor:"5,keyasint"`
	Contact  *string            `cbor:"6,keyasint,omitempty"`
	Location *string            `cbor:"7,keyasint,omitempty"`
}

// ConsentArgs answer for a site to a request that waits for its consent.
type ConsentArgs struct {
	Request tables.Hash `cbor:"1,keyasint"`
	Site    string      `cbor:"2,keyasint"` // that the user speaks for
	Refuse  bool        `cbor:"3,keyasint"`
	Reason  string      `cbor:"4,keyasint"` // of a refusal
}

// WithdrawArgs ask that everything of a site leaves a VN.
type WithdrawArgs struct {
	Site string `cbor:"1,keyasint"`
	VN   string `cbor:"2,keyasint"`
}

// requestLife is how long a request may wait for an authority that is away.
const requestLife = 30 * 24 * time.Hour

// NewRequest signs a request of the user that key belongs to.
func NewRequest(now time.Time, random io.Reader, key ed25519.PrivateKey, op string, args any) (*tables.Document, error) {
	encoded, err := tables.EncodeArgs(args)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	r := tables.Request{
		User: tables.PublicOf(key), Op: op, Args: encoded,
		Issued: now.Unix(), NotAfter: now.Add(requestLife).Unix(),
	}
	if _, err := io.ReadFull(random, r.Nonce[:]); err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return tables.Sign(r, key)
}

// About says for people what a request is about, such as "blue 10.192.0.10"; "" if its arguments
// cannot be read. Names that a stranger chose are cut and quoted where they are none.
func About(r tables.Request) string {
	name := func(s string) string {
		if tables.ValidName(s) {
			return s
		}
		return short(s)
	}
	list := func(first string, hosts []netip.Addr) string {
		const most = 3
		text := name(first)
		for i, h := range hosts {
			if i == most {
				return fmt.Sprintf("%s and %d more", text, len(hosts)-most)
			}
			text += " " + h.String()
		}
		return text
	}
	var (
		create   VNCreateArgs
		hosts    VNHostsArgs
		vn       VNArgs
		grant    UserGrantArgs
		withdraw WithdrawArgs
		site     SiteSetArgs
		merge    VNMergeArgs
		split    VNSplitArgs
		update   VNUpdateArgs
		restore  VNRestoreArgs
		vr       VRArgs
	)
	switch {
	case r.Op == OpVNCreate && tables.DecodeArgs(r.Args, &create) == nil:
		return list(create.Name, create.Hosts)
	case (r.Op == OpVNJoin || r.Op == OpVNLeave) && tables.DecodeArgs(r.Args, &hosts) == nil:
		return list(hosts.VN, hosts.Hosts)
	case r.Op == OpVNShutdown && tables.DecodeArgs(r.Args, &vn) == nil:
		return name(vn.VN)
	case r.Op == OpUserGrant && tables.DecodeArgs(r.Args, &grant) == nil:
		return name(grant.Name)
	case r.Op == OpWithdraw && tables.DecodeArgs(r.Args, &withdraw) == nil:
		return name(withdraw.Site) + " " + name(withdraw.VN)
	case r.Op == OpSiteSet && tables.DecodeArgs(r.Args, &site) == nil:
		return name(site.Site)
	case r.Op == OpVNMerge && tables.DecodeArgs(r.Args, &merge) == nil:
		return name(merge.VN) + " " + name(merge.From)
	case r.Op == OpVNSplit && tables.DecodeArgs(r.Args, &split) == nil:
		return list(split.VN, split.Hosts) + " into " + name(split.Into)
	case r.Op == OpVNUpdate && tables.DecodeArgs(r.Args, &update) == nil:
		return name(update.VN)
	case r.Op == OpVNRestore && tables.DecodeArgs(r.Args, &restore) == nil:
		return fmt.Sprintf("%s %d", name(restore.VN), restore.Number)
	case (r.Op == OpVRDisable || r.Op == OpVREnable) && tables.DecodeArgs(r.Args, &vr) == nil:
		return name(vr.VR)
	}
	return ""
}
