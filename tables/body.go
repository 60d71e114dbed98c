package tables

import "net/netip"

// A Kind says what a document is. The numbers are part of the wire format.
type Kind uint8

// The kinds of document. docs/wire.md has the table of who signs which.
const (
	KindRoot       Kind = 1  // federation name, root keys, authority keys
	KindEnrolment  Kind = 2  // one VR: identity, name, site, blocks
	KindSite       Kind = 3  // one site: contact, subnets, policy
	KindGrant      Kind = 4  // one user key and its role
	KindVN         Kind = 5  // one virtual network
	KindManifest   Kind = 6  // the exact leaves of one VN version
	KindFragment   Kind = 7  // (VN, delivery set): the prefixes it delivers
	KindRoster     Kind = 8  // (VN, site): the member hosts
	KindRevocation Kind = 9  // an identity that is no longer trusted
	KindHead       Kind = 10 // what an authority key currently stands by
	KindLinkRecord Kind = 11 // what a VR says of itself
	KindRequest    Kind = 12 // a management operation asked for
	KindReceipt    Kind = 13 // its signed outcome
	KindInvite     Kind = 14 // permission for one VR to join; travels by hand, never by gossip
	KindEntry      Kind = 15 // (VN, number): one change of a VN, in its log
	KindAdoption   Kind = 16 // documents that count although root has retired their signer
)

// The bodies below are encoded as deterministic CBOR (RFC 8949, Section 4.2.1) maps with
// small integer keys. Times are Unix seconds. A Body's fields are immutable once signed.

// A Root says who may sign. Version 1 founds the federation: the hash of its body is the
// federation ID. Version n+1 is valid when Threshold root keys of version n and of version
// n+1 have signed it (TUF specification, Section 5.3).
type Root struct {
	Version       uint64         `cbor:"1,keyasint"`
	Federation    string         `cbor:"2,keyasint"` // name, [a-z0-9-]{1,63}
	RootKeys      []PublicKey    `cbor:"3,keyasint"` // sorted, distinct
	Threshold     uint32         `cbor:"4,keyasint"` // 1 <= Threshold <= len(RootKeys)
	Authorities   []AuthorityKey `cbor:"5,keyasint"` // sorted by key, distinct
	AuthThreshold uint32         `cbor:"6,keyasint"` // how many authority keys sign; 1 for now
	Space         []netip.Prefix `cbor:"7,keyasint"` // the ViNe space; masked, no overlap

	// Adopts came later and is left out of the encoding when it is empty: the body hashes of the adoptions
	// that list all that stands of retired authority keys. Sorted.
	Adopts []Hash `cbor:"8,keyasint,omitempty"`
}

// An AuthorityKey is one key that may sign as the authority until NotAfter.
type AuthorityKey struct {
	Key      PublicKey `cbor:"1,keyasint"`
	NotAfter int64     `cbor:"2,keyasint"`
}

// An Enrolment admits one VR. Router IDs and names are never reused.
type Enrolment struct {
	Version   uint64         `cbor:"1,keyasint"`
	Router    RouterID       `cbor:"2,keyasint"`
	Name      string         `cbor:"3,keyasint"` // [a-z0-9-]{1,63}, unique in the federation
	Site      string         `cbor:"4,keyasint"` // [a-z0-9-]{1,63}
	Identity  PublicKey      `cbor:"5,keyasint"`
	Blocks    []netip.Prefix `cbor:"6,keyasint"` // parts of the ViNe space for this VR's hosts
	MayQueue  bool           `cbor:"7,keyasint"` // may be elected queue-VR
	NotBefore int64          `cbor:"8,keyasint"`
	NotAfter  int64          `cbor:"9,keyasint"`
	Invite    PublicKey      `cbor:"10,keyasint"` // the invite spent on it, zero if none
	Request   Hash           `cbor:"11,keyasint"` // the join request it answers, zero for the founder

	// Disabled came later and is left out of the encoding when it is false. The VR stays a member, and
	// its rows stay in the tables, but no VR uses them.
	Disabled bool `cbor:"12,keyasint,omitempty"`
}

// A Site describes one site.
type Site struct {
	Version  uint64         `cbor:"1,keyasint"`
	Name     string         `cbor:"2,keyasint"`
	Contact  string         `cbor:"3,keyasint"`
	Location string         `cbor:"4,keyasint"`
	Subnets  []netip.Prefix `cbor:"5,keyasint"` // physical subnets of the LAN
	Consent  string         `cbor:"6,keyasint"` // "ask" (default), "open", "never"; see package policy

	// What follows came later and is left out of the encoding when there is nothing to say.

	// With Consent "ask": what the site need not be asked about. Of the lists that are not empty, all
	// must fit.
	Allowed []string    `cbor:"7,keyasint,omitempty"` // names of VNs
	With    []string    `cbor:"8,keyasint,omitempty"` // the other sites that a VN has hosts of
	Users   []PublicKey `cbor:"9,keyasint,omitempty"` // who asks
	// Withdrawn are the names of VNs that the site has left: it is asked about them, whatever else holds.
	Withdrawn []string `cbor:"10,keyasint,omitempty"`
}

// A Role is a set of rights (dissertation table 5-1).
type Role string

// The roles. Their rights stand in package policy.
const (
	RoleADM Role = "adm" // federation administrator
	RoleSA  Role = "sa"  // site administrator
	RoleVNA Role = "vna" // virtual network administrator
	RoleEU  Role = "eu"  // end user
)

// A Grant gives User a Role within Scope.
type Grant struct {
	Version  uint64    `cbor:"1,keyasint"`
	User     PublicKey `cbor:"2,keyasint"`
	Name     string    `cbor:"3,keyasint"` // what people call the user, [a-z0-9-]{1,63}
	Role     Role      `cbor:"4,keyasint"`
	Scope    string    `cbor:"5,keyasint"` // "federation", "site/NAME" or "vn/NAME"
	NotAfter int64     `cbor:"6,keyasint"`
	Parent   PublicKey `cbor:"7,keyasint"` // zero: the authority; else the delegating user
	Revoked  bool      `cbor:"8,keyasint"`
	// By is the user at whose request the authority signed; zero for the first administrator and for
	// delegations, and then left out of the encoding. It is for people: nothing depends on it.
	By PublicKey `cbor:"9,keyasint,omitzero"`
}

// A VNState says whether a VN carries packets.
type VNState string

// The states of a VN.
const (
	VNActive   VNState = "active"
	VNShutdown VNState = "shutdown" // final: the VN ID and name are not used again
)

// A Seal says how a VN's packets are protected (dissertation table 3-7, State).
type Seal string

// The two seals.
const (
	SealEncrypt Seal = "encrypt" // authenticated and encrypted
	SealAuth    Seal = "auth"    // authenticated only
)

// A VN is the header of one version of a virtual network. Manifest pins its content, so that
// a version is installed whole or not at all.
type VN struct {
	Version  uint64    `cbor:"1,keyasint"`
	ID       VNID      `cbor:"2,keyasint"`
	Name     string    `cbor:"3,keyasint"` // [a-z0-9-]{1,63}, unique in the federation
	State    VNState   `cbor:"4,keyasint"`
	Home     PublicKey `cbor:"5,keyasint"` // the one key that may sign the next version
	Seal     Seal      `cbor:"6,keyasint"`
	Manifest Hash      `cbor:"7,keyasint"` // body hash of the Manifest with the same version
	Request  Hash      `cbor:"8,keyasint"` // the request it answers, zero if none

	// What follows came later; it is left out of the encoding when there is nothing to say.

	// With are versions of other VNs without which this one is not installed: what merges or splits
	// VNs takes effect in all of them at once. Later versions go on naming them.
	With []VNVersion `cbor:"9,keyasint,omitempty"`
	Into VNID        `cbor:"10,keyasint,omitempty"` // of a VN that was merged into another, and is shut down: that one
}

// A VNVersion names a version of a VN, or any later one.
type VNVersion struct {
	VN      VNID   `cbor:"1,keyasint"`
	Version uint64 `cbor:"2,keyasint"`
}

// A Manifest lists the exact leaves of one VN version.
type Manifest struct {
	Version   uint64         `cbor:"1,keyasint"` // the VN's version
	VN        VNID           `cbor:"2,keyasint"`
	Fragments []FragmentLeaf `cbor:"3,keyasint"` // sorted by Set
	Rosters   []RosterLeaf   `cbor:"4,keyasint"` // sorted by Site
}

// A FragmentLeaf pins one fragment by content.
type FragmentLeaf struct {
	Set     string `cbor:"1,keyasint"` // SetID of the fragment's routers
	Version uint64 `cbor:"2,keyasint"`
	Hash    Hash   `cbor:"3,keyasint"` // body hash
}

// A RosterLeaf gives the lowest version of a site's roster that belongs with this VN version.
type RosterLeaf struct {
	Site    string `cbor:"1,keyasint"`
	Version uint64 `cbor:"2,keyasint"`
}

// A Fragment is the part of a VN's GNDT that concerns one delivery set (dissertation table
// 3-5): packets to Prefixes go to one of Routers. Never an IP fragment.
type Fragment struct {
	Version  uint64         `cbor:"1,keyasint"`
	VN       VNID           `cbor:"2,keyasint"`
	Routers  []RouterID     `cbor:"3,keyasint"` // the delivery set: sorted, distinct, of one site
	Prefixes []netip.Prefix `cbor:"4,keyasint"` // exact, masked, sorted, inside the ViNe space

	// Disabled came later and is left out of the encoding when it is empty: those of Prefixes that are
	// kept and not used.
	Disabled []netip.Prefix `cbor:"5,keyasint,omitempty"`
}

// A Roster is the LNDT part of a VN for one site (dissertation table 3-4).
type Roster struct {
	Version uint64       `cbor:"1,keyasint"`
	VN      VNID         `cbor:"2,keyasint"`
	Site    string       `cbor:"3,keyasint"`
	Hosts   []netip.Addr `cbor:"4,keyasint"` // sorted, distinct
}

// An Entry is one change of a VN: who asked for what, and what it changed. The entries of a VN are
// numbered from 1 without a gap, each holds the hash of the one before, and whoever signs the VN's
// versions signs them, so the log of a VN can be read at every VR and not be rewritten. Nothing else
// depends on it. From the present and the entries every earlier state of the VN can be told.
type Entry struct {
	VN      VNID      `cbor:"1,keyasint"`
	Number  uint64    `cbor:"2,keyasint"`
	Before  Hash      `cbor:"3,keyasint"` // body hash of the entry before; zero for the first
	Version uint64    `cbor:"4,keyasint"` // of the VN after the change: rosters change without a new one
	Op      string    `cbor:"5,keyasint"` // of the request
	User    PublicKey `cbor:"6,keyasint"` // who asked
	Request Hash      `cbor:"7,keyasint"` // the request
	Issued  int64     `cbor:"8,keyasint"`
	State   VNState   `cbor:"9,keyasint"`  // after the change
	Seal    Seal      `cbor:"10,keyasint"` // after the change
	// Joined and Left are the member hosts that came and went, Gained and Lost the prefixes.
	Joined []netip.Addr  `cbor:"11,keyasint,omitempty"` // sorted, distinct
	Left   []netip.Addr  `cbor:"12,keyasint,omitempty"` // likewise
	Gained []DeliverySet `cbor:"13,keyasint,omitempty"` // by routers
	Lost   []DeliverySet `cbor:"14,keyasint,omitempty"` // likewise
	With   VNID          `cbor:"15,keyasint,omitempty"` // the other VN of a merge or split
	// Switched are the prefixes that were disabled, or enabled if they had been disabled before.
	Switched []netip.Prefix `cbor:"16,keyasint,omitempty"`
}

// A Revocation ends the trust in one identity, for good.
type Revocation struct {
	Version  uint64    `cbor:"1,keyasint"` // always 1
	Identity PublicKey `cbor:"2,keyasint"`
	Reason   string    `cbor:"3,keyasint"`
	Issued   int64     `cbor:"4,keyasint"`
}

// A Head says what an authority key stands by: the Merkle root over the (key, version, hash)
// of every current document that it signed. It lives short, so that hiding news from a VR shows.
type Head struct {
	Version uint64    `cbor:"1,keyasint"`
	Signer  PublicKey `cbor:"2,keyasint"`
	Count   uint64    `cbor:"3,keyasint"`
	Root    Hash      `cbor:"4,keyasint"`
	Issued  int64     `cbor:"5,keyasint"`
	Expires int64     `cbor:"6,keyasint"`
}

// A LinkRecord is what a VR says of itself. Its identity signs it.
type LinkRecord struct {
	Version   uint64           `cbor:"1,keyasint"` // (boot count << 32) + count since boot
	Router    RouterID         `cbor:"2,keyasint"`
	Link      LinkKey          `cbor:"3,keyasint"`
	Endpoints []netip.AddrPort `cbor:"4,keyasint"` // UDP, best first, at most 8
	VRKind    string           `cbor:"5,keyasint"` // "regular" or "limited"
	Queues    []RouterID       `cbor:"6,keyasint"` // the queue-VRs it is attached to
	Serving   bool             `cbor:"7,keyasint"` // runs the authority
	Draining  bool             `cbor:"8,keyasint"`
	Joinable  bool             `cbor:"9,keyasint"`  // answers join hellos
	Capacity  uint64           `cbor:"10,keyasint"` // bits per second; 0 unknown. A hint
	Software  string           `cbor:"11,keyasint"` // version text, at most 32 bytes

	// What follows came later; it is left out of the encoding when there is nothing to say, so that
	// records without it are as they were.

	Streams []StreamEndpoint `cbor:"12,keyasint,omitempty"` // where stream connections are taken, at most 4
	Full    bool             `cbor:"13,keyasint,omitempty"` // relays for nobody more
}

// A StreamEndpoint is where a VR takes stream connections.
type StreamEndpoint struct {
	Protocol string         `cbor:"1,keyasint"` // "tls": WebSocket over TLS; "tcp"
	Endpoint netip.AddrPort `cbor:"2,keyasint"`
}

// A Request asks for one management operation. Its ID is its body hash.
type Request struct {
	User     PublicKey `cbor:"1,keyasint"` // who asks and signs; for OpJoin the joining identity
	Op       string    `cbor:"2,keyasint"` // an operation of package policy
	Args     []byte    `cbor:"3,keyasint"` // deterministic CBOR, by operation
	Issued   int64     `cbor:"4,keyasint"`
	NotAfter int64     `cbor:"5,keyasint"`
	Nonce    [16]byte  `cbor:"6,keyasint"`
}

// The outcomes of a request.
const (
	StatePending = "pending" // seen by the authority, waits for a person
	StateDone    = "done"
	StateRefused = "refused"
)

// A Receipt is the signed outcome of a request.
type Receipt struct {
	Version uint64 `cbor:"1,keyasint"`
	Request Hash   `cbor:"2,keyasint"`
	State   string `cbor:"3,keyasint"`
	Reason  string `cbor:"4,keyasint"` // for people; empty when done
	Result  string `cbor:"5,keyasint"` // what was made, such as "vn7" or "vr3"
	Issued  int64  `cbor:"6,keyasint"`
}

// An Invite lets one VR join. It is signed by a user whose grant allows it. Whoever holds the
// private half of Key proves it by signing the joining identity, so a seed that sees the proof
// cannot spend the invite on another VR.
type Invite struct {
	Key       PublicKey `cbor:"1,keyasint"`
	User      PublicKey `cbor:"2,keyasint"` // who invites and signs
	Authority PublicKey `cbor:"3,keyasint"` // the one authority key that may redeem it
	Site      string    `cbor:"4,keyasint"` // empty: the newcomer says
	NotAfter  int64     `cbor:"5,keyasint"`
}
