package tables

import (
	"fmt"
	"time"
)

// OpJoin is the one operation that a key without a grant may request.
const OpJoin = "join"

// JoinArgs are the arguments of OpJoin: they ask for the enrolment of the identity that signs the
// request. They stand here and not in package policy since every store judges them: a request
// from a key that nobody knows is kept by every VR.
type JoinArgs struct {
	Name   string  `cbor:"1,keyasint"` // wanted name; a taken one gets a number
	Site   string  `cbor:"2,keyasint"`
	Link   LinkKey `cbor:"3,keyasint"`
	Invite []byte  `cbor:"4,keyasint"` // invite envelope, or empty
	Proof  []byte  `cbor:"5,keyasint"` // by the invite's key over the identity

	// With came later and is left out of the encoding when it is empty: the name of a VR of the site, whose blocks the newcomer
	// is to share.
	With string `cbor:"6,keyasint,omitempty"`
}

const (
	// JoinLife is how long a join request without a valid invite is kept: a weekend, so that an
	// administrator sees it. Anybody can make such requests, and every VR keeps them.
	JoinLife = 48 * time.Hour
	// refusedJoinLife is how long a join request is kept after it was refused: long enough for the
	// newcomer to come back to another member and hear why.
	refusedJoinLife = time.Hour
	// joinArgsMax is how long the arguments may be: two names, a key, a proof and an invite of
	// about 400 bytes.
	joinArgsMax = 2 << 10
)

// The quotas of joins come on top of openPerUser.
const (
	// openJoins bounds open join requests of strangers, who share this one quota.
	openJoins = 64
	// openInvited bounds those that come with a valid invite: strangers cannot fill it.
	openInvited = 256
	// openPerInvite bounds those with the same invite: it can be redeemed once, and its holder may
	// have started anew.
	openPerInvite = 4
	// refusedJoins bounds refused ones that are still kept: what a flood of requests that are
	// refused at once can take.
	refusedJoins = 256
)

// CheckJoin returns the arguments of a join request, or an error that is ErrFormat, ErrTooBig or
// ErrSignature where no federation would enrol on it. It knows no federation: the proof and the
// inviter are for the Store.
func (b Request) CheckJoin() (JoinArgs, error) {
	args, _, err := b.joinArgs()
	return args, err
}

// joinArgs is CheckJoin that returns the invite too, zero if there is none.
func (b Request) joinArgs() (args JoinArgs, invite Invite, err error) {
	if len(b.Args) > joinArgsMax {
		return args, invite, fmt.Errorf("%w: the arguments of join have %d bytes, limit %d", ErrTooBig, len(b.Args), joinArgsMax)
	}
	if err := DecodeArgs(b.Args, &args); err != nil {
		return args, invite, fmt.Errorf("the arguments of join: %w", err)
	}
	err = firstError(
		when(args.Name == "" || ValidName(args.Name), "the VR name is not 1 to 63 characters a-z, 0-9 and -"),
		when(args.Site == "" || ValidName(args.Site), "the site name is not 1 to 63 characters a-z, 0-9 and -"),
		when(args.With == "" || ValidName(args.With), "the name of the VR to share blocks with is not 1 to 63 characters a-z, 0-9 and -"),
		when(!args.Link.IsZero(), "link key is zero"),
		when(len(args.Invite) > 0 || len(args.Proof) == 0, "a proof without an invite"),
	)
	if err != nil || len(args.Invite) == 0 {
		return args, invite, err
	}
	d, err := ParseDocument(args.Invite)
	if err != nil {
		return args, invite, fmt.Errorf("invite: %w", err)
	}
	invite, ok := d.body.(Invite)
	switch {
	case !ok:
		return args, invite, bad("the invite is a document of another kind")
	case !d.SignedBy(invite.User):
		return args, invite, fmt.Errorf("invite: %w", ErrSignature)
	}
	return args, invite, nil
}

// checkJoin is CheckJoin with the proof. What it says of a request never changes.
func (s *Store) checkJoin(b Request) (Invite, error) {
	args, invite, err := b.joinArgs()
	if err != nil {
		return Invite{}, err
	}
	if !invite.Key.IsZero() && !Verify(invite.Key, proofMessage(s.federation, b.User), args.Proof) {
		return Invite{}, fmt.Errorf("invite: %w", ErrSignature)
	}
	return invite, nil
}

// invited reports whether the join request d came with an invite that counts at now: it has
// not ended, is not spent, an authority in office redeems it, and who signed it has a grant.
func (s *Store) invited(now time.Time, d *Document) bool {
	invite, known := s.invites[d.key]
	if !known {
		invite, _ = s.checkJoin(d.body.(Request)) // zero if it does not hold
	}
	_, office := s.authority(invite.Authority)
	return !invite.Key.IsZero() && office && !ended(invite.NotAfter, now) && !s.InviteSpent(invite.Key) &&
		len(s.Grants(invite.User, now)) > 0
}

// requestEnd returns when the request d ends, in Unix seconds. For joins that depends on whether it
// was refused and, before it is answered, on its invite.
func (s *Store) requestEnd(now time.Time, d *Document) int64 {
	b := d.body.(Request)
	if b.Op != OpJoin {
		return b.NotAfter
	}
	receipt, answered := s.Receipt(d.hash)
	switch {
	case answered && receipt.State == StateRefused:
		return min(b.NotAfter, receipt.Issued+int64(refusedJoinLife/time.Second))
	case answered && receipt.State == StateDone || s.invited(now, d):
		return b.NotAfter
	default:
		return min(b.NotAfter, b.Issued+int64(JoinLife/time.Second))
	}
}

// receiptEnded reports whether nobody needs the receipt any more. One that made something stays
// until its request has certainly ended. Another one stays as long as its request; without it, or
// where it refused a join, until the join request of a stranger could not come back, so that a VR
// that has not heard of the receipt does not make the others take the request again.
func (s *Store) receiptEnded(now time.Time, b Receipt) bool {
	r, there := s.Request(b.Request)
	switch {
	case ended(b.Issued+2*RequestLifeMax, now):
		return true
	case b.State == StateDone || there && (r.Op != OpJoin || b.State == StatePending):
		return false
	default:
		return ended(b.Issued+int64((JoinLife+Grace)/time.Second), now)
	}
}

// endJoin takes out the request with that hash if a receipt has just ended it.
func (s *Store) endJoin(now time.Time, request Hash) {
	if d := s.docs[RequestKey(request)]; d != nil && ended(s.requestEnd(now, d), now) {
		s.forget(d)
	}
}

// forget takes out what time has ended. It needs no mark: it cannot come back.
func (s *Store) forget(d *Document) {
	s.evict(d)
	s.dropMark(d.key)
}

// roomForRequest holds the quotas. A request that has its answer already counts in none, so that a
// VR that hears of both late ends up with both.
func (s *Store) roomForRequest(now time.Time, d *Document, b Request) error {
	if !s.Open(d.hash) {
		return nil
	}
	var invite Invite
	if b.Op == OpJoin && s.invited(now, d) {
		invite, _ = s.checkJoin(b)
	}
	own, joins, invited, same, refused := 0, 0, 0, 0, 0
	for _, r := range s.kind(KindRequest) {
		body := r.body.(Request)
		switch {
		case r.hash == d.hash || ended(s.requestEnd(now, r), now):
			continue
		case s.Open(r.hash):
			if body.User == b.User {
				own++
			}
			switch {
			case body.Op != OpJoin:
			case !s.invited(now, r):
				joins++
			default:
				invited++
				if s.invites[r.key].Key == invite.Key {
					same++
				}
			}
		case body.Op == OpJoin:
			if answer, _ := s.Receipt(r.hash); answer.State == StateRefused {
				refused++
			}
		}
	}
	full := false
	switch {
	case b.Op != OpJoin:
	case invite.Key.IsZero():
		full = joins >= openJoins || refused >= refusedJoins
	default:
		full = invited >= openInvited || same >= openPerInvite
	}
	if full || own >= openPerUser {
		return fmt.Errorf("%w: open requests", ErrQuota)
	}
	return nil
}
