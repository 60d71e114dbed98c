package tables

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits on fields. Each keeps a body below SizeMax of its kind or, where it is smaller,
// says what people can still look through.
const (
	nameMax        = 63   // as a DNS label
	textMax        = 256  // contact, location, reason, result
	softwareMax    = 32   // LinkRecord.Software
	opMax          = 32   // Request.Op
	rootKeysMax    = 16   // as signaturesMax / 2 would allow, and then all of one side
	authoritiesMax = 16   // authority keys in one root
	prefixesMax    = 64   // ViNe space, blocks of one VR, subnets of one site
	endpointsMax   = 8    // LinkRecord.Endpoints
	queuesMax      = 8    // LinkRecord.Queues
	streamsMax     = 4    // LinkRecord.Streams: two protocols, two families
	setMax         = 16   // routers in one delivery set
	policyMax      = 64   // names or keys in one list of a site's policy
	leavesMax      = 4096 // fragments or rosters of one manifest: 256 KiB / 60 bytes
	withMax        = 256  // VN.With: 16 KiB / 17 bytes, and room for the rest
)

// RequestLifeMax is how long a request may be open. Quotas count open requests, so an
// unanswered one must end by itself.
const RequestLifeMax = 30 * 24 * 3600 // seconds

// ValidName reports whether s may name a federation, VR, site, user or VN: 1 to 63 characters
// of [a-z0-9-]. Such names need no quoting in any file, shell, URL or DNS label.
func ValidName(s string) bool {
	if len(s) < 1 || len(s) > nameMax {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// ValidScope reports whether s is a grant scope: "federation", "site/NAME" or "vn/NAME".
func ValidScope(s string) bool {
	if s == "federation" {
		return true
	}
	kind, name, ok := strings.Cut(s, "/")
	return ok && (kind == "site" || kind == "vn") && ValidName(name)
}

// ValidRole reports whether r is one of the four roles.
func ValidRole(r Role) bool {
	return r == RoleADM || r == RoleSA || r == RoleVNA || r == RoleEU
}

// bad returns an ErrFormat that names the field. It never quotes the field's value.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func when(ok bool, what string) error {
	if ok {
		return nil
	}
	return bad("%s", what)
}

func checkName(field, s string) error {
	return when(ValidName(s), field+" is not a name of 1 to 63 characters a-z, 0-9 and -")
}

// checkText admits valid UTF-8 without control characters, so that it can be shown in a
// terminal.
func checkText(field, s string, most int) error {
	if len(s) > most {
		return bad("%s is longer than %d bytes", field, most)
	}
	if !utf8.ValidString(s) {
		return bad("%s is not UTF-8", field)
	}
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || bidi(r) {
			return bad("%s has a control character", field)
		}
	}
	return nil
}

// bidi reports whether r changes the direction of text, which can make one text look like
// another.
func bidi(r rune) bool {
	return r >= 0x200e && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// checkSorted admits lists of at least least and at most most elements in ascending order
// without repetition.
func checkSorted[E any](field string, list []E, least, most int, compare func(a, b E) int) error {
	if len(list) < least || len(list) > most {
		return bad("%s has %d elements, not %d to %d", field, len(list), least, most)
	}
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) >= 0 {
			return bad("%s is not sorted and distinct at %d", field, i)
		}
	}
	return nil
}

func compareKeys(a, b PublicKey) int { return bytes.Compare(a[:], b[:]) }

// ComparePrefixes orders prefixes as documents do: by address (IPv4 before IPv6), then the
// shorter first.
func ComparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func checkKey(field string, k PublicKey) error {
	return when(k.usable(), field+" is not a usable Ed25519 key")
}

// discard is the discard-only prefix (RFC 6666). Nobody is there, and within a VR its addresses name paths by
// way of others: a record with one would have its readers send to whom it likes.
var discard = netip.MustParsePrefix("100::/64")

func checkAddr(field string, a netip.Addr) error {
	return when(a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() && !discard.Contains(a),
		field+" has an address that is not plain unicast")
}

// checkPrefixes admits masked prefixes of plain addresses, sorted and distinct.
func checkPrefixes(field string, list []netip.Prefix, least, most int) error {
	for i, p := range list {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().IsMulticast() {
			return bad("%s has a prefix that is not masked unicast at %d", field, i)
		}
	}
	return checkSorted(field, list, least, most, ComparePrefixes)
}

// checkDisjoint admits a sorted list in which no prefix contains another.
func checkDisjoint(field string, sorted []netip.Prefix) error {
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1].Overlaps(sorted[i]) {
			return bad("%s overlaps itself at %d", field, i)
		}
	}
	return nil
}

func checkVersion(v uint64) error { return when(v > 0, "version is zero") }

// checkTime admits seconds from 1970 to year 9999, so that every conversion is safe.
func checkTime(field string, t int64) error {
	return when(t > 0 && t < 253402300800, field+" is not a time")
}

func (b Root) check() error {
	err := firstError(
		checkVersion(b.Version),
		checkName("federation", b.Federation),
		checkSorted("root keys", b.RootKeys, 1, rootKeysMax, compareKeys),
		when(b.Threshold >= 1 && int(b.Threshold) <= len(b.RootKeys), "threshold is not 1 to the number of root keys"),
		checkSorted("authorities", b.Authorities, 1, authoritiesMax, func(a, c AuthorityKey) int { return compareKeys(a.Key, c.Key) }),
		when(b.AuthThreshold == 1, "authority threshold is not 1"),
		checkPrefixes("space", b.Space, 1, prefixesMax),
		checkDisjoint("space", b.Space),
		checkSorted("adoptions", b.Adopts, 0, AdoptionsMax, compareHashes),
	)
	for _, k := range b.RootKeys {
		err = firstError(err, checkKey("root key", k))
	}
	for _, a := range b.Authorities {
		err = firstError(err, checkKey("authority", a.Key), checkTime("authority end", a.NotAfter))
	}
	return err
}

func (b Enrolment) check() error {
	return firstError(
		checkVersion(b.Version),
		when(b.Router != 0, "router ID is zero"),
		checkName("name", b.Name),
		checkName("site", b.Site),
		checkKey("identity", b.Identity),
		checkPrefixes("blocks", b.Blocks, 0, prefixesMax),
		checkDisjoint("blocks", b.Blocks),
		checkTime("start", b.NotBefore),
		checkTime("end", b.NotAfter),
		when(b.NotBefore < b.NotAfter, "end is not after start"),
	)
}

func (b Site) check() error {
	return firstError(
		checkVersion(b.Version),
		checkName("name", b.Name),
		checkText("contact", b.Contact, textMax),
		checkText("location", b.Location, textMax),
		checkPrefixes("subnets", b.Subnets, 0, prefixesMax),
		when(b.Consent == "ask" || b.Consent == "open" || b.Consent == "never", "consent is not ask, open or never"),
		checkSorted("users", b.Users, 0, policyMax, compareKeys),
		checkNames("allowed VNs", b.Allowed),
		checkNames("sites", b.With),
		checkNames("withdrawn VNs", b.Withdrawn),
	)
}

// checkNames admits up to policyMax names, sorted and distinct.
func checkNames(field string, list []string) error {
	for _, name := range list {
		if !ValidName(name) {
			return checkName(field, name)
		}
	}
	return checkSorted(field, list, 0, policyMax, strings.Compare)
}

func (b Grant) check() error {
	err := firstError(
		checkVersion(b.Version),
		checkKey("user", b.User),
		checkName("name", b.Name),
		when(ValidRole(b.Role), "role is not adm, sa, vna or eu"),
		when(ValidScope(b.Scope), "scope is not federation, site/NAME or vn/NAME"),
		checkTime("end", b.NotAfter),
	)
	if err == nil && !b.Parent.IsZero() {
		err = firstError(checkKey("parent", b.Parent), when(b.Parent != b.User, "parent is the user itself"),
			when(b.By.IsZero(), "a delegation by request"))
	}
	if err == nil && !b.By.IsZero() {
		err = checkKey("by", b.By)
	}
	return err
}

func (b VN) check() error {
	return firstError(
		checkVersion(b.Version),
		when(b.ID != 0, "VN ID is zero"),
		checkName("name", b.Name),
		when(b.State == VNActive || b.State == VNShutdown, "state is not active or shutdown"),
		checkKey("home", b.Home),
		when(b.Seal == SealEncrypt || b.Seal == SealAuth, "seal is not encrypt or auth"),
		checkSorted("versions to install with", b.With, 0, withMax, func(a, c VNVersion) int { return cmp.Compare(a.VN, c.VN) }),
		when(!slices.ContainsFunc(b.With, func(w VNVersion) bool { return w.VN == 0 || w.VN == b.ID || w.Version == 0 }),
			"a version to install with is of no other VN"),
		when(b.Into == 0 || b.State == VNShutdown && b.Into != b.ID, "only a VN that is shut down was merged into another"),
	)
}

func (b Entry) check() error {
	err := firstError(
		when(b.VN != 0, "VN ID is zero"),
		when(b.Number > 0, "number is zero"),
		when(b.Before.IsZero() == (b.Number == 1), "the first entry has none before, and no other"),
		checkVersion(b.Version),
		when(validOp(b.Op), "operation is not 1 to 32 characters a-z, 0-9, - and ."),
		checkKey("user", b.User),
		checkTime("issued", b.Issued),
		when(b.State == VNActive || b.State == VNShutdown, "state is not active or shutdown"),
		when(b.Seal == SealEncrypt || b.Seal == SealAuth, "seal is not encrypt or auth"),
		checkSorted("hosts that joined", b.Joined, 0, elementsMax, netip.Addr.Compare),
		checkSorted("hosts that left", b.Left, 0, elementsMax, netip.Addr.Compare),
		checkSets("prefixes gained", b.Gained),
		checkSets("prefixes lost", b.Lost),
		checkPrefixes("prefixes switched", b.Switched, 0, elementsMax),
	)
	for _, h := range slices.Concat(b.Joined, b.Left) {
		err = firstError(err, checkAddr("hosts", h))
	}
	return err
}

// checkSets admits delivery sets in order of their routers, each with a prefix.
func checkSets(field string, sets []DeliverySet) error {
	err := checkSorted(field, sets, 0, leavesMax, func(a, c DeliverySet) int { return slices.Compare(a.Routers, c.Routers) })
	for _, s := range sets {
		err = firstError(err,
			checkSorted(field, s.Routers, 1, setMax, cmp.Compare),
			when(!slices.Contains(s.Routers, 0), field+": router ID is zero"),
			checkPrefixes(field, s.Prefixes, 1, elementsMax),
		)
	}
	return err
}

func (b Manifest) check() error {
	err := firstError(
		checkVersion(b.Version),
		when(b.VN != 0, "VN ID is zero"),
		checkSorted("fragments", b.Fragments, 0, leavesMax, func(a, c FragmentLeaf) int { return strings.Compare(a.Set, c.Set) }),
		checkSorted("rosters", b.Rosters, 0, leavesMax, func(a, c RosterLeaf) int { return strings.Compare(a.Site, c.Site) }),
	)
	for _, f := range b.Fragments {
		err = firstError(err, checkVersion(f.Version), when(validSetID(f.Set), "fragment set is not router IDs joined with +"))
	}
	for _, r := range b.Rosters {
		err = firstError(err, checkVersion(r.Version), checkName("roster site", r.Site))
	}
	return err
}

func (b Fragment) check() error {
	return firstError(
		checkVersion(b.Version),
		when(b.VN != 0, "VN ID is zero"),
		checkSorted("routers", b.Routers, 1, setMax, cmp.Compare),
		when(!slices.Contains(b.Routers, 0), "router ID is zero"),
		checkPrefixes("prefixes", b.Prefixes, 1, elementsMax),
		checkDisjoint("prefixes", b.Prefixes),
		checkPrefixes("disabled prefixes", b.Disabled, 0, elementsMax),
		when(!slices.ContainsFunc(b.Disabled, func(p netip.Prefix) bool { return !slices.Contains(b.Prefixes, p) }),
			"a disabled prefix is none of the prefixes"),
	)
}

func (b Roster) check() error {
	for _, h := range b.Hosts {
		if err := checkAddr("hosts", h); err != nil {
			return err
		}
	}
	return firstError(
		checkVersion(b.Version),
		when(b.VN != 0, "VN ID is zero"),
		checkName("site", b.Site),
		checkSorted("hosts", b.Hosts, 0, elementsMax, netip.Addr.Compare),
	)
}

func (b Revocation) check() error {
	return firstError(
		when(b.Version == 1, "version is not 1"),
		checkKey("identity", b.Identity),
		checkText("reason", b.Reason, textMax),
		checkTime("issued", b.Issued),
	)
}

func (b Head) check() error {
	return firstError(
		checkVersion(b.Version),
		checkKey("signer", b.Signer),
		checkTime("issued", b.Issued),
		checkTime("expires", b.Expires),
		when(b.Issued < b.Expires && b.Expires-b.Issued <= HeadLifeMax, "life is not 1 second to 31 days"),
	)
}

func (b LinkRecord) check() error {
	err := firstError(
		checkVersion(b.Version),
		when(b.Router != 0, "router ID is zero"),
		when(!b.Link.IsZero(), "link key is zero"),
		when(len(b.Endpoints) <= endpointsMax, "more than 8 endpoints"),
		when(b.VRKind == "regular" || b.VRKind == "limited", "kind is not regular or limited"),
		when(len(b.Queues) <= queuesMax, "more than 8 queue-VRs"),
		checkText("software", b.Software, softwareMax),
		when(len(b.Streams) <= streamsMax, "more than 4 stream endpoints"),
	)
	for i, s := range b.Streams {
		err = firstError(err, when(s.Protocol == "tls" || s.Protocol == "tcp", "stream protocol is not tls or tcp"),
			checkAddr("stream endpoints", s.Endpoint.Addr()), when(s.Endpoint.Port() != 0, "stream endpoint without a port"),
			when(!slices.Contains(b.Streams[:i], s), "stream endpoint given twice"))
	}
	for i, ep := range b.Endpoints {
		err = firstError(err, checkAddr("endpoints", ep.Addr()), when(ep.Port() != 0, "endpoint without a port"),
			when(!slices.Contains(b.Endpoints[:i], ep), "endpoint given twice"))
	}
	for i, q := range b.Queues {
		err = firstError(err, when(q != 0 && q != b.Router && !slices.Contains(b.Queues[:i], q), "queue-VR is zero, itself or given twice"))
	}
	return err
}

func (b Request) check() error {
	return firstError(
		checkKey("user", b.User),
		when(validOp(b.Op), "operation is not 1 to 32 characters a-z, 0-9, - and ."),
		checkTime("issued", b.Issued),
		checkTime("end", b.NotAfter),
		when(b.Issued < b.NotAfter && b.NotAfter-b.Issued <= RequestLifeMax, "life is not 1 second to 30 days"),
	)
}

func (b Receipt) check() error {
	return firstError(
		checkVersion(b.Version),
		when(!b.Request.IsZero(), "request is zero"),
		when(b.State == StatePending || b.State == StateDone || b.State == StateRefused, "state is not pending, done or refused"),
		checkText("reason", b.Reason, textMax),
		checkText("result", b.Result, textMax),
		checkTime("issued", b.Issued),
	)
}

func (b Invite) check() error {
	err := firstError(
		checkKey("key", b.Key),
		checkKey("user", b.User),
		checkKey("authority", b.Authority),
		checkTime("end", b.NotAfter),
	)
	if err == nil && b.Site != "" {
		err = checkName("site", b.Site)
	}
	return err
}

// validOp reports whether s may be the operation of a request.
func validOp(s string) bool {
	return len(s) <= opMax && ValidName(strings.ReplaceAll(s, ".", "-"))
}

// validSetID reports whether s is what SetID gives for some delivery set.
func validSetID(s string) bool {
	routers, ok := parseSetID(s)
	return ok && len(routers) <= setMax && SetID(routers) == s
}

func parseSetID(s string) ([]RouterID, bool) {
	var routers []RouterID
	for part := range strings.SplitSeq(s, "+") {
		var n uint64
		if len(part) == 0 || len(part) > 10 || len(routers) == setMax {
			return nil, false
		}
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return nil, false
			}
			n = n*10 + uint64(c-'0')
		}
		if n == 0 || n > 1<<32-1 || len(routers) > 0 && RouterID(n) <= routers[len(routers)-1] {
			return nil, false
		}
		routers = append(routers, RouterID(n))
	}
	return routers, true
}
