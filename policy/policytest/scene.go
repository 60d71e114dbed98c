package policytest

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// A Scene is a federation in which cells are run. Its authority admits with invites only, and its
// sites are Own and Other, each with a VR.
type Scene struct {
	Now    func() time.Time
	Random io.Reader
	Admin  ed25519.PrivateKey // adm of the federation
	View   func() *tables.View
	Own    string // names of sites
	Other  string
	Host   func(site string) netip.Addr // a fresh one
	// Submit hands in a document that its user has signed, a request or a delegation, and returns the
	// outcome; of a delegation "done".
	Submit func(d *tables.Document) (state, reason string, err error)

	count int
	hosts map[string][]netip.Addr
	users map[string]ed25519.PrivateKey
	open  bool
}

// grantLife is how long what a Scene grants and delegates lasts.
const grantLife = 20 * 24 * time.Hour

// Run puts a cell to the test: it returns what became of the attempt.
func (s *Scene) Run(c Cell) (state, reason string, err error) {
	f := attempts[c.Right.Op]
	if f == nil {
		return "", "", fmt.Errorf("operation %s has no attempt in policy/policytest: add one", c.Right.Op)
	}
	if !s.open {
		s.open, s.hosts, s.users = true, map[string][]netip.Addr{}, map[string]ed25519.PrivateKey{}
		for _, site := range []string{s.Own, s.Other} {
			s.must(policy.OpSiteSet, policy.SiteSetArgs{Site: site, Consent: "open"})
		}
	}
	defer func() {
		if fault, ok := recover().(failure); ok {
			err = fault.err
		}
	}()
	state, reason = f(&attempt{s, c})
	return state, reason, err
}

// A failure is why a cell could not be put to the test.
type failure struct{ err error }

// ask signs a request and returns the outcome.
func (s *Scene) ask(key ed25519.PrivateKey, op string, args any) (state, reason string) {
	state, reason, _ = s.request(key, op, args)
	return state, reason
}

func (s *Scene) request(key ed25519.PrivateKey, op string, args any) (state, reason string, id tables.Hash) {
	d, err := policy.NewRequest(s.Now(), s.Random, key, op, args)
	if err == nil {
		state, reason, err = s.Submit(d)
	}
	if err != nil {
		panic(failure{fmt.Errorf("%s: %w", op, err)})
	}
	return state, reason, d.Hash()
}

// must asks for what the administrator may do.
func (s *Scene) must(op string, args any) {
	if state, reason := s.ask(s.Admin, op, args); state != tables.StateDone {
		panic(failure{fmt.Errorf("preparation: %s is %s: %s", op, state, reason)})
	}
}

func (s *Scene) key() ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(s.Random, seed); err != nil {
		panic(failure{err})
	}
	return ed25519.NewKeyFromSeed(seed)
}

// name returns a name that nobody has.
func (s *Scene) name(what string) string {
	s.count++
	return fmt.Sprintf("%s-%d", what, s.count)
}

// host returns a host of a site; how many there are is bounded, so that they are used again.
func (s *Scene) host(site string, n int) netip.Addr {
	for len(s.hosts[site]) <= n {
		s.hosts[site] = append(s.hosts[site], s.Host(site))
	}
	return s.hosts[site][n]
}

// grant has a user get a role, and returns his key.
func (s *Scene) grant(role tables.Role, scope string) ed25519.PrivateKey {
	key := s.key()
	s.must(policy.OpUserGrant, policy.UserGrantArgs{
		User: tables.PublicOf(key), Name: s.name("user"), Role: role, Scope: scope, NotAfter: s.Now().Add(grantLife).Unix(),
	})
	return key
}

// delegate has a user delegate a right of his, and returns the key of the holder.
func (s *Scene) delegate(from ed25519.PrivateKey, role tables.Role, scope string) ed25519.PrivateKey {
	key := s.key()
	grants := s.View().Grants(tables.PublicOf(from), s.Now())
	if len(grants) == 0 {
		panic(failure{errors.New("preparation: who delegates has no right")})
	}
	d, err := tables.Sign(tables.Grant{
		Version: 1, User: tables.PublicOf(key), Name: s.name("holder"), Role: role, Scope: scope,
		NotAfter: grants[0].NotAfter, Parent: tables.PublicOf(from),
	}, from)
	if err == nil {
		_, _, err = s.Submit(d)
	}
	if err != nil {
		panic(failure{fmt.Errorf("preparation: delegate: %w", err)})
	}
	return key
}

// newcomer has a fresh identity ask to join at a site.
func (s *Scene) newcomer(site string) (key ed25519.PrivateKey, name string) {
	key, name = s.key(), s.name("new")
	s.ask(key, policy.OpJoin, policy.JoinArgs{Name: name, Site: site, Link: tables.LinkKey{1}})
	return key, name
}

// user returns the key of a user with that grant, the same for the same.
func (s *Scene) user(role tables.Role, scope string, delegated bool) ed25519.PrivateKey {
	id := fmt.Sprint(role, scope, delegated)
	if key, ok := s.users[id]; ok {
		return key
	}
	var key ed25519.PrivateKey
	if delegated {
		key = s.delegate(s.user(role, scope, false), role, scope)
	} else {
		key = s.grant(role, scope)
	}
	s.users[id] = key
	return key
}
