package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// A Founding says how a new federation begins.
type Founding struct {
	Name     string         // of the federation
	VR, Site string         // of the first VR
	Space    []netip.Prefix // none: DefaultSpace
	UserName string         // of the first administrator
	Rand     io.Reader
}

// A Founded is what Found made, beside what is in the state directory.
type Founded struct {
	FederationID tables.Hash
	Root         ed25519.PrivateKey // in no file yet: the caller seals it, or it is lost
	Enrolment    tables.Enrolment
	Space        []netip.Prefix
}

// ErrEnrolled says that the state directory belongs to a VR already.
var ErrEnrolled = errors.New("this machine already belongs to a federation")

// Found makes a new federation and this machine its first VR and authority. The keys "identity",
// "link", "authority" and "user" and the founding documents are put into the state directory, the
// documents last and as one bundle: without them the directory counts as not enrolled.
//
// seal is given the root key before anything is written, and an error of it ends Found.
func Found(now time.Time, dir *state.Dir, f Founding, seal func(root ed25519.PrivateKey) error) (Founded, error) {
	if documents, _, err := dir.Load(); err != nil {
		return Founded{}, err
	} else if len(documents) > 0 {
		return Founded{}, ErrEnrolled
	}
	if len(f.Space) == 0 {
		space, err := DefaultSpace(f.Rand)
		if err != nil {
			return Founded{}, err
		}
		f.Space = space
	}
	root, err := newKey(f.Rand)
	if err != nil {
		return Founded{}, err
	}
	// Names and space are judged before any key is written.
	trial := policy.Founding{
		Name: f.Name, Space: f.Space, VR: f.VR, Site: f.Site, UserName: f.UserName, Root: tables.PublicOf(root),
	}
	keys := map[string]ed25519.PrivateKey{}
	for _, name := range []string{"identity", "authority", "user"} {
		if keys[name], err = newKey(f.Rand); err != nil {
			return Founded{}, err
		}
	}
	trial.Identity, trial.Authority, trial.User = tables.PublicOf(keys["identity"]), tables.PublicOf(keys["authority"]), tables.PublicOf(keys["user"])
	founded, err := policy.Found(now, trial)
	if err != nil {
		return Founded{}, err
	}
	store, err := foundingStore(now, founded, root, keys["authority"])
	if err != nil {
		return Founded{}, fmt.Errorf("found federation: %w", err)
	}
	if err := seal(root); err != nil {
		return Founded{}, err
	}
	for name, key := range keys {
		if err := dir.SetKey(name, [32]byte(key.Seed())); err != nil {
			return Founded{}, err
		}
	}
	if _, err := MakeKey(dir, "link", f.Rand); err != nil {
		return Founded{}, err
	}
	var raw [][]byte
	for d := range store.Documents() {
		raw = append(raw, d.Bytes())
	}
	if err := dir.Append(raw...); err != nil {
		return Founded{}, err
	}
	e, _ := store.EnrolmentByIdentity(trial.Identity)
	return Founded{store.FederationID(), root, e, f.Space}, nil
}

// foundingStore signs the founding documents and shows that they hold, by putting them into a
// store as every VR will.
func foundingStore(now time.Time, f policy.Founded, root, authority ed25519.PrivateKey) (*tables.Store, error) {
	store := tables.NewStore(tables.Hash{})
	put := func(body tables.Body, key ed25519.PrivateKey) error {
		d, err := tables.Sign(body, key)
		if err != nil {
			return err
		}
		_, err = store.Put(now, d, tables.FromDisk)
		return err
	}
	if err := put(f.Root, root); err != nil {
		return nil, err
	}
	for _, body := range f.Authority {
		if err := put(body, authority); err != nil {
			return nil, err
		}
	}
	key := tables.PublicOf(authority)
	return store, put(tables.BuildHead(store.Snapshot(), key, now.Unix(), now.Add(headLife).Unix()), authority)
}

func newKey(random io.Reader) (ed25519.PrivateKey, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed[:]), nil
}

// DefaultSpace returns the ViNe space of a federation that asks for none in particular:
// 10.192.0.0/10, and a random IPv6 /48 (RFC 4193, Section 3.2.2) so that two federations do not clash.
func DefaultSpace(random io.Reader) ([]netip.Prefix, error) {
	ula := [16]byte{0xfd}
	if _, err := io.ReadFull(random, ula[1:6]); err != nil {
		return nil, fmt.Errorf("choose space: %w", err)
	}
	return []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10"), netip.PrefixFrom(netip.AddrFrom16(ula), 48)}, nil
}
