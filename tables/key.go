package tables

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// kindNames are the names of the kinds. They are part of what is signed (see AppendPreAuth).
var kindNames = [...]string{
	KindRoot:       "root",
	KindEnrolment:  "enrolment",
	KindSite:       "site",
	KindGrant:      "grant",
	KindVN:         "vn",
	KindManifest:   "manifest",
	KindFragment:   "fragment",
	KindRoster:     "roster",
	KindRevocation: "revocation",
	KindHead:       "head",
	KindLinkRecord: "link-record",
	KindRequest:    "request",
	KindReceipt:    "receipt",
	KindInvite:     "invite",
	KindEntry:      "entry",
	KindAdoption:   "adoption",
}

// Valid reports whether k is one of the kinds above.
func (k Kind) Valid() bool { return k >= KindRoot && k <= KindAdoption }

// String returns the name of the kind, such as "enrolment".
func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// A DocKey names a document; the versions of one document share it. ID is readable:
//
//	root          "1", "2", ...: every root version is kept
//	enrolment     "17": router ID         link record  "17"
//	site          "NAME"
//	grant         "USER/ROLE/SCOPE", and "USER/ROLE/SCOPE/by/PARENT" when a user delegates, so
//	              that no user can outbid a grant of the authority with a higher version
//	vn            "7": VN ID              manifest     "7"
//	fragment      "7/3+4": VN ID, SetID   roster       "7/SITE"
//	revocation    IDENTITY                head         SIGNER
//	request       64 hexadecimal digits of its body hash; a receipt has that of its request
//	invite        KEY
//	entry         "7/00000000000000000012": VN ID, number in 20 digits, so that they sort
//	adoption      64 hexadecimal digits of its body hash
//
// Words in capitals other than names are key fingerprints.
type DocKey struct {
	Kind Kind
	ID   string
}

// String returns "kind:ID".
func (k DocKey) String() string { return k.Kind.String() + ":" + k.ID }

// Compare orders keys by kind and then by the bytes of ID.
func (k DocKey) Compare(other DocKey) int {
	return cmp.Or(cmp.Compare(k.Kind, other.Kind), strings.Compare(k.ID, other.ID))
}

// A Digest says which version of a document somebody has. Hash is the body hash.
type Digest struct {
	Key     DocKey
	Version uint64
	Hash    Hash
}

// SetID names a delivery set by its routers: ascending decimal router IDs joined with "+".
// The order of routers does not matter; the slice is not changed.
func SetID(routers []RouterID) string {
	sorted := slices.Clone(routers)
	slices.Sort(sorted)
	var b []byte
	for i, r := range sorted {
		if i > 0 {
			b = append(b, '+')
		}
		b = strconv.AppendUint(b, uint64(r), 10)
	}
	return string(b)
}

// EnrolmentKey, and the functions like it below, give the DocKey of one document.
func EnrolmentKey(id RouterID) DocKey { return DocKey{KindEnrolment, decimal(id)} }

// RootKey returns the key of the root with that version.
func RootKey(version uint64) DocKey { return DocKey{KindRoot, decimal(version)} }

// SiteKey returns the key of the site called name.
func SiteKey(name string) DocKey { return DocKey{KindSite, name} }

// VNKey returns the key of the VN header.
func VNKey(id VNID) DocKey { return DocKey{KindVN, decimal(id)} }

// ManifestKey returns the key of the VN's manifest.
func ManifestKey(id VNID) DocKey { return DocKey{KindManifest, decimal(id)} }

// FragmentKey returns the key of the VN's fragment for the delivery set called set.
func FragmentKey(id VNID, set string) DocKey { return DocKey{KindFragment, decimal(id) + "/" + set} }

// RosterKey returns the key of the VN's roster for site.
func RosterKey(id VNID, site string) DocKey { return DocKey{KindRoster, decimal(id) + "/" + site} }

// RevocationKey returns the key of the revocation of identity.
func RevocationKey(identity PublicKey) DocKey {
	return DocKey{KindRevocation, identity.Fingerprint()}
}

// HeadKey returns the key of the head that signer signs.
func HeadKey(signer PublicKey) DocKey { return DocKey{KindHead, signer.Fingerprint()} }

// LinkRecordKey returns the key of the router's link record.
func LinkRecordKey(id RouterID) DocKey { return DocKey{KindLinkRecord, decimal(id)} }

// RequestKey returns the key of the request with that body hash.
func RequestKey(h Hash) DocKey { return DocKey{KindRequest, hex.EncodeToString(h[:])} }

// ReceiptKey returns the key of the receipt of the request with that body hash.
func ReceiptKey(h Hash) DocKey { return DocKey{KindReceipt, hex.EncodeToString(h[:])} }

// EntryKey returns the key of the entry with that number in the log of the VN.
func EntryKey(id VNID, number uint64) DocKey {
	return DocKey{KindEntry, fmt.Sprintf("%d/%020d", uint32(id), number)}
}

func decimal[T ~uint32 | ~uint64](n T) string { return strconv.FormatUint(uint64(n), 10) }

// A Body is one of the bodies of body.go, held by value: Root, Enrolment, Site, Grant, VN,
// Manifest, Fragment, Roster, Revocation, Head, LinkRecord, Request, Receipt, Invite, Entry,
// Adoption.
type Body interface {
	// Kind returns the kind of document the body belongs to.
	Kind() Kind
	// key returns the document's key; hash is the body hash.
	key(hash Hash) DocKey
	// version returns the document's version; 1 for kinds that have none.
	version() uint64
	// check reports the first field that breaks a rule of docs/wire.md.
	check() error
}

func (b Root) Kind() Kind       { return KindRoot }
func (b Enrolment) Kind() Kind  { return KindEnrolment }
func (b Site) Kind() Kind       { return KindSite }
func (b Grant) Kind() Kind      { return KindGrant }
func (b VN) Kind() Kind         { return KindVN }
func (b Manifest) Kind() Kind   { return KindManifest }
func (b Fragment) Kind() Kind   { return KindFragment }
func (b Roster) Kind() Kind     { return KindRoster }
func (b Revocation) Kind() Kind { return KindRevocation }
func (b Head) Kind() Kind       { return KindHead }
func (b LinkRecord) Kind() Kind { return KindLinkRecord }
func (b Request) Kind() Kind    { return KindRequest }
func (b Receipt) Kind() Kind    { return KindReceipt }
func (b Invite) Kind() Kind     { return KindInvite }
func (b Entry) Kind() Kind      { return KindEntry }
func (b Adoption) Kind() Kind   { return KindAdoption }

func (b Root) key(Hash) DocKey       { return RootKey(b.Version) }
func (b Enrolment) key(Hash) DocKey  { return EnrolmentKey(b.Router) }
func (b Site) key(Hash) DocKey       { return SiteKey(b.Name) }
func (b Grant) key(Hash) DocKey      { return b.Key() }
func (b VN) key(Hash) DocKey         { return VNKey(b.ID) }
func (b Manifest) key(Hash) DocKey   { return ManifestKey(b.VN) }
func (b Fragment) key(Hash) DocKey   { return FragmentKey(b.VN, SetID(b.Routers)) }
func (b Roster) key(Hash) DocKey     { return RosterKey(b.VN, b.Site) }
func (b Revocation) key(Hash) DocKey { return RevocationKey(b.Identity) }
func (b Head) key(Hash) DocKey       { return HeadKey(b.Signer) }
func (b LinkRecord) key(Hash) DocKey { return LinkRecordKey(b.Router) }
func (b Request) key(h Hash) DocKey  { return RequestKey(h) }
func (b Receipt) key(Hash) DocKey    { return ReceiptKey(b.Request) }
func (b Invite) key(Hash) DocKey     { return DocKey{KindInvite, b.Key.Fingerprint()} }
func (b Entry) key(Hash) DocKey      { return EntryKey(b.VN, b.Number) }
func (b Adoption) key(h Hash) DocKey { return AdoptionKey(h) }

func (b Root) version() uint64       { return b.Version }
func (b Enrolment) version() uint64  { return b.Version }
func (b Site) version() uint64       { return b.Version }
func (b Grant) version() uint64      { return b.Version }
func (b VN) version() uint64         { return b.Version }
func (b Manifest) version() uint64   { return b.Version }
func (b Fragment) version() uint64   { return b.Version }
func (b Roster) version() uint64     { return b.Version }
func (b Revocation) version() uint64 { return b.Version }
func (b Head) version() uint64       { return b.Version }
func (b LinkRecord) version() uint64 { return b.Version }
func (b Request) version() uint64    { return 1 }
func (b Receipt) version() uint64    { return b.Version }
func (b Invite) version() uint64     { return 1 }
func (b Entry) version() uint64      { return 1 }
func (b Adoption) version() uint64   { return 1 }

// Key returns the key of the grant: see DocKey.
func (b Grant) Key() DocKey {
	id := b.User.Fingerprint() + "/" + string(b.Role) + "/" + b.Scope
	if !b.Parent.IsZero() {
		id += "/by/" + b.Parent.Fingerprint()
	}
	return DocKey{KindGrant, id}
}
