package tables

import (
	"fmt"
	"slices"
	"time"
)

// A delegation is a grant that a user signs with his own key: the proxy certificate of the
// dissertation (section 5.2). It counts only as long as a chain of grants, each of which covers the
// next, leads from a grant of the authority to it.

const (
	// DelegationDepth is how many delegations a chain may have: a user to his middleware, that to one
	// of its jobs, that to a helper. Whoever looks at a right has to understand where it comes from.
	DelegationDepth = 3
	// DelegationLifeMax is how long a delegation may count, in seconds: nobody keeps an eye on keys
	// that middleware holds.
	DelegationLifeMax = 30 * 24 * 3600
	// delegatedPerUser bounds the delegations whose chains begin with one user, as all VRs keep them.
	delegatedPerUser = 64
)

func (s *Store) authoriseGrant(now time.Time, d *Document, b Grant, origin Origin) error {
	if b.Parent.IsZero() {
		if err := s.byAuthority(now, d, origin); err != nil {
			return err
		}
	} else {
		if ended(b.forgotten(), now) {
			return ErrExpired
		}
		if origin == FromNetwork && b.NotAfter > now.Add(Grace).Unix()+DelegationLifeMax && !s.skip["life"] {
			return fmt.Errorf("%w: ends later than 30 days from now", ErrExpired)
		}
		if err := s.authoriseDelegation(d, b); err != nil {
			return err
		}
	}
	old, known := bodyOf[Grant](s.view, d.key)
	if b.Revoked || known && !old.Revoked && b.NotAfter <= old.NotAfter {
		return nil // takes rights away, or gives none
	}
	return s.fresh(now, d, origin)
}

// authoriseDelegation admits a grant that its parent signed and whose chain holds.
func (s *Store) authoriseDelegation(d *Document, b Grant) error {
	if !d.SignedBy(b.Parent) {
		return fmt.Errorf("%w: not the parent", ErrSigner)
	}
	if s.Revoked(b.Parent) {
		return fmt.Errorf("%w: the parent", ErrRevoked)
	}
	depth := DelegationDepth
	if s.skip["depth"] {
		depth = 4 * DelegationDepth
	}
	from, ok := s.chain(b, depth)
	if !ok {
		return notYet(fmt.Errorf("%w: no chain of at most %d delegations from a grant of the authority covers this", ErrSigner, DelegationDepth), grantsOf(b.Parent))
	}
	if s.docs[d.key] == nil && s.delegatedBelow(from) >= delegatedPerUser {
		return fmt.Errorf("%w: delegations of one user", ErrQuota)
	}
	return nil
}

// chain looks for a chain of at most depth delegations that ends with b, and returns the user whose
// grant by the authority it begins with. It follows every link of the chain anew, so the order in
// which documents came and went does not matter, and two users who delegate to each other hold up
// nothing.
func (s *Store) chain(b Grant, depth int) (from PublicKey, ok bool) {
	if depth == 0 || s.Revoked(b.Parent) {
		return from, false
	}
	covers := func(g Grant) bool { return !g.Revoked && (g.Covers(b) || s.skip["cover"]) }
	for _, d := range s.grants[b.Parent] {
		if g := d.body.(Grant); g.Parent.IsZero() && covers(g) {
			return g.User, true
		}
	}
	for _, d := range s.grants[b.Parent] {
		if g := d.body.(Grant); !g.Parent.IsZero() && covers(g) {
			if from, ok = s.chain(g, depth-1); ok {
				return from, true
			}
		}
	}
	return from, false
}

// Covers reports whether a holder of g may delegate given: a role that is the same or lower, in a
// scope that is the same or narrower, ending no later. An administrator of the federation may
// give any role anywhere; an end user's role is the lowest.
func (b Grant) Covers(given Grant) bool {
	role := b.Role == given.Role || b.Role == RoleADM || given.Role == RoleEU
	scope := b.Scope == given.Scope || b.Scope == "federation"
	return role && scope && given.NotAfter <= b.NotAfter
}

// forgotten returns when a delegation may be forgotten with its mark, in Unix seconds. A first
// version is worth nothing from its end on. A later one keeps an earlier one away, which may have
// been given up to DelegationLifeMax more when it was accepted; clocks differ twice.
func (b Grant) forgotten() int64 {
	if b.Version == 1 {
		return b.NotAfter
	}
	return b.NotAfter + DelegationLifeMax + 2*int64(Grace/time.Second)
}

// Delegates returns everybody who has a delegation that may rest on a grant of user, whoever signed
// that, over at most DelegationDepth steps, the nearer first.
func (v *View) Delegates(user PublicKey) []PublicKey { return v.below(user)[1:] }

// below returns user and everybody who has a delegation that may rest on a grant of user, over at
// most DelegationDepth steps. Each is there once.
func (v *View) below(user PublicKey) []PublicKey {
	users := []PublicKey{user}
	seen := map[PublicKey]bool{user: true}
	from := 0
	for range DelegationDepth {
		level := users[from:]
		from = len(users)
		for _, u := range level {
			for _, d := range v.delegated[u] {
				if g := d.body.(Grant); !seen[g.User] {
					seen[g.User] = true
					users = append(users, g.User)
				}
			}
		}
	}
	return users
}

// delegatedBelow counts the delegations that may rest on a grant of user.
func (s *Store) delegatedBelow(user PublicKey) (n int) {
	for _, u := range s.below(user) {
		n += len(s.delegated[u])
	}
	return n
}

// recheckDelegations takes out the delegations whose chains went through grants of user and hold no
// longer, and then the requests that rested on them.
func (s *Store) recheckDelegations(now time.Time, user PublicKey) {
	users := s.below(user)
	if s.skip["cascade"] {
		users = users[:1]
	}
	for _, u := range users {
		for _, d := range slices.Clone(s.delegated[u]) {
			g := d.body.(Grant)
			if err := s.authoriseDelegation(d, g); err != nil {
				s.withdraw(d, err)
				s.recheckRequests(now, g.User)
			}
		}
	}
}

// expireDelegations forgets delegations that have ended.
func (s *Store) expireDelegations(now time.Time) {
	for _, d := range slices.Clone(s.kind(KindGrant)) {
		if g := d.body.(Grant); !g.Parent.IsZero() && ended(g.forgotten(), now) {
			s.forget(d)
			s.recheckDelegations(now, g.User)
		}
	}
}
