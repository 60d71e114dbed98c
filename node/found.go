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
	// Keys are the founder's that exist already, by their names in the state directory; the others
	// are made. They may come from a join that was given up.
	Keys map[string][32]byte
	Rand io.Reader
}

// A Federation is a new federation, in memory.
type Federation struct {
	Root      ed25519.PrivateKey // in no file yet: the caller seals it, or it is lost
	Keys      map[string][32]byte
	View      *tables.View
	Enrolment tables.Enrolment // of the first VR
}

// FounderKeys are the names of a founder's keys in the state directory. "authority" and "user" make
// it the authority and the first administrator.
func FounderKeys() []string { return []string{"identity", "link", "authority", "user"} }

// ErrEnrolled says that the state directory belongs to a VR already.
var ErrEnrolled = errors.New("this machine already belongs to a federation")

// Found makes the keys and documents of a new federation, and shows that they hold by putting them
// into a store as every VR will. It writes nothing: see Federation.Store.
func Found(now time.Time, f Founding) (*Federation, error) {
	m := &Federation{Keys: map[string][32]byte{}}
	private := map[string]ed25519.PrivateKey{}
	for _, name := range append([]string{"root"}, FounderKeys()...) {
		seed, there := f.Keys[name]
		if !there {
			if _, err := io.ReadFull(f.Rand, seed[:]); err != nil {
				return nil, fmt.Errorf("make key: %w", err)
			}
		}
		private[name] = ed25519.NewKeyFromSeed(seed[:])
		if name != "root" {
			m.Keys[name] = seed
		}
	}
	m.Root = private["root"]
	if len(f.Space) == 0 {
		space, err := DefaultSpace(f.Rand)
		if err != nil {
			return nil, err
		}
		f.Space = space
	}
	founded, err := policy.Found(now, policy.Founding{
		Name: f.Name, Space: f.Space, VR: f.VR, Site: f.Site, UserName: f.UserName,
		Root: tables.PublicOf(m.Root), Authority: tables.PublicOf(private["authority"]),
		Identity: tables.PublicOf(private["identity"]), User: tables.PublicOf(private["user"]),
	})
	if err != nil {
		return nil, err
	}
	store, err := foundingStore(now, founded, m.Root, private["authority"])
	if err != nil {
		return nil, fmt.Errorf("found federation: %w", err)
	}
	m.View = store.Snapshot()
	m.Enrolment, _ = m.View.EnrolmentByIdentity(tables.PublicOf(private["identity"]))
	return m, nil
}

// Store makes the state directory that of the first VR: the keys, and last the documents as one
// bundle, without which it counts as not enrolled. On an error it takes back the keys that it wrote.
func (f *Federation) Store(dir *state.Dir) (err error) {
	if documents, _, err := dir.Load(); err != nil {
		return err
	} else if len(documents) > 0 {
		return ErrEnrolled
	}
	for _, name := range FounderKeys() {
		if _, there, err := dir.Key(name); err != nil {
			return err
		} else if there {
			continue // from a join that was given up, and used
		}
		defer func() {
			if err != nil {
				dir.RemoveKey(name)
			}
		}()
		if err := dir.SetKey(name, f.Keys[name]); err != nil {
			return err
		}
	}
	var raw [][]byte
	for d := range f.View.Documents() {
		raw = append(raw, d.Bytes())
	}
	return dir.Append(raw...)
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
	return store, put(tables.BuildHead(store.Snapshot(), key, now.Unix(), now.Add(policy.HeadLife).Unix()), authority)
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
