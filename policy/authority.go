package policy

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vine-mesh/vine/tables"
)

// An Authority decides on requests for the holder of an authority key.
type Authority struct {
	Key tables.PublicKey
	// AutoAdmit says who joins without a person's word: with "open" everybody, with "invite" who
	// brings a valid invite, with "never" and anything else nobody.
	AutoAdmit string
}

// A Decision is the outcome of one request.
type Decision struct {
	State  string        // tables.StateDone, StateRefused or StatePending
	Reason string        // for people, when it is not done; fit for a Receipt
	Result string        // what was made, such as "vn7"
	Bodies []tables.Body // to be signed with the authority key and stored together, in order

	changes []change // what becomes of VNs, for Plan
}

// Decide answers the request whose body hash is id. The same view, request and time give the
// same decision. Only a decision in state done has Bodies; they follow on v, so they must be
// stored before the next request is decided. They may hold receipts of other requests.
//
// A pending decision is final only when a person, or the lack that Reason names, ends it: ask
// again when v has changed.
func (a Authority) Decide(now time.Time, v *tables.View, id tables.Hash, r tables.Request) Decision {
	return a.decide(now, v, id, r, false)
}

// decide is Decide; with planning, whose key the VN's home is does not matter.
func (a Authority) decide(now time.Time, v *tables.View, id tables.Hash, r tables.Request, planning bool) Decision {
	if receipt, ok := v.Receipt(id); ok && receipt.State != tables.StatePending {
		return Decision{State: receipt.State, Reason: receipt.Reason, Result: receipt.Result}
	}
	if !v.Authority(a.Key, now) {
		return pending("the authority key has ended: the root key has to sign a new root")
	}
	if now.Unix() >= r.NotAfter {
		return refused("the request has ended before the authority saw it: ask again")
	}
	c := &clerk{Authority: a, now: now, v: v, id: id, r: r, planning: planning}
	return c.decide()
}

// decide is Decide for a request that is still open.
func (c *clerk) decide() Decision {
	r := c.r
	switch r.Op {
	case OpJoin:
		return with(c, c.join)
	case OpAdmit:
		return with(c, c.admit)
	case OpRefuse:
		return with(c, c.turnAway)
	case OpVNCreate:
		return with(c, c.vnCreate)
	case OpVNJoin:
		return with(c, c.vnJoin)
	case OpVNLeave:
		return with(c, c.vnLeave)
	case OpVNShutdown:
		return with(c, c.vnShutdown)
	case OpVNMerge:
		return with(c, c.vnMerge)
	case OpVNSplit:
		return with(c, c.vnSplit)
	case OpVNUpdate:
		return with(c, c.vnUpdate)
	case OpVNRestore:
		return with(c, c.vnRestore)
	case OpVRDisable, OpVREnable:
		return with(c, c.vrSwitch)
	case OpRevoke:
		return with(c, c.revoke)
	case OpUserGrant:
		return with(c, c.userGrant)
	case OpUserRevoke:
		return with(c, c.userRevoke)
	case OpSiteSet:
		return with(c, c.siteSet)
	case OpConsent:
		return with(c, c.agree)
	case OpWithdraw:
		return with(c, c.withdraw)
	default:
		return refused("operation %s is unknown to this authority: it may run an older version", short(r.Op))
	}
}

// A clerk works on one request.
type clerk struct {
	Authority
	now time.Time
	v   *tables.View
	id  tables.Hash
	r   tables.Request
	// planning says that nothing will be signed: whose VN it is does not matter.
	planning bool

	waits []string // the sites whose consent the request waits for
}

// with decodes the arguments of the request for decide.
func with[A any](c *clerk, decide func(A) Decision) Decision {
	var args A
	if err := tables.DecodeArgs(c.r.Args, &args); err != nil {
		return refused("the arguments of %s are malformed: update vine and ask again", c.r.Op)
	}
	return decide(args)
}

// may reports whether the asking user may do op to s.
func (c *clerk) may(op string, s subject) bool { return may(c.v, c.now, c.r.User, op, s) }

// receipt returns the outcome of another request.
func (c *clerk) receipt(id tables.Hash, state, reason, result string) tables.Receipt {
	return tables.Receipt{
		Version: c.v.NextVersion(tables.ReceiptKey(id)), Request: id, State: state,
		Reason: reason, Result: result, Issued: c.now.Unix(),
	}
}

func done(result string, bodies ...tables.Body) Decision {
	return Decision{State: tables.StateDone, Result: result, Bodies: bodies}
}

func refused(format string, args ...any) Decision {
	return Decision{State: tables.StateRefused, Reason: reason(format, args...)}
}

// Refuse returns the decision of a person who refuses a request, with a reason for its user. Too long a reason is cut.
func Refuse(text string) Decision { return refused("%s", text) }

func pending(format string, args ...any) Decision {
	return Decision{State: tables.StatePending, Reason: reason(format, args...)}
}

// reasonMax is what a receipt has room for.
const reasonMax = 256

// reason formats what a receipt says. Text of others comes in through short.
func reason(format string, args ...any) string {
	s := fmt.Sprintf(format, args...)
	if len(s) <= reasonMax {
		return s
	}
	const dots = "..."
	s = s[:reasonMax-len(dots)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + dots
}

// short quotes text that a stranger chose, or the beginning of it.
func short(s string) string {
	const most = 64 // the longest name is 63
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// plain reports whether s can be shown in a terminal and stored as a reason.
func plain(s string) bool {
	return len(s) <= reasonMax && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// nameRule says why s is not a name.
func nameRule(s string) string {
	return short(s) + " is not 1 to 63 characters of a-z, 0-9 and -"
}

// Renewals returns the bodies that time has made due: enrolments past half their life, also
// those that have ended meanwhile, each with a new life. With several authority keys, one renews
// what it has signed; what nobody in office has signed falls to the first.
func (a Authority) Renewals(now time.Time, v *tables.View) []tables.Body {
	if !v.Authority(a.Key, now) {
		return nil
	}
	var bodies []tables.Body
	for _, e := range v.Enrolments() {
		if now.Unix() < e.NotBefore+(e.NotAfter-e.NotBefore)/2 || !a.responsible(now, v, tables.EnrolmentKey(e.Router)) {
			continue
		}
		e.Version++
		e.NotBefore, e.NotAfter = now.Unix(), now.Add(enrolmentLife).Unix()
		bodies = append(bodies, e)
	}
	return bodies
}

// responsible keeps two authorities from signing the same version.
func (a Authority) responsible(now time.Time, v *tables.View, key tables.DocKey) bool {
	root, _ := v.Root()
	first := tables.PublicKey{}
	for _, k := range root.Authorities {
		if !v.Authority(k.Key, now) {
			continue
		}
		if v.Get(key).SignedBy(k.Key) {
			return k.Key == a.Key
		}
		if first.IsZero() {
			first = k.Key
		}
	}
	return first == a.Key
}
