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
