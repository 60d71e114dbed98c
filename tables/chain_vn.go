package tables

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// authoriseVN keeps to one signer for each version of a VN, so that there is never a fork to
// merge:
//
//   - The first version that a router sees must be signed by an authority key. (Of a VN whose
//     home was delegated, a newcomer therefore needs a version that an authority signed.)
//   - The version right after the one we hold must be signed by the home named in that.
//   - After a gap the signer may be that home or any authority key: peers keep only the latest
//     version, so the one in which the home moved may not exist any more.
//   - If that home is revoked, or an authority key that root has retired, any authority key may
//     sign in its place.
func (s *Store) authoriseVN(now time.Time, d *Document, b VN, origin Origin) error {
	old, known := bodyOf[VN](s.view, d.key)
	byAuthority := s.byAuthority(now, d, origin)
	if !known {
		if byAuthority != nil && b.Version > 1 {
			return notYet(byAuthority, d.key, RootKey(s.root.Version()+1))
		}
		if byAuthority != nil {
			return byAuthority
		}
		if id, taken := s.vnByName[b.Name]; taken {
			return fmt.Errorf("%w: the name belongs to %s", ErrConflict, id)
		}
		return nil
	}
	homeGone := s.Revoked(old.Home) || s.retired[old.Home]
	byHome := d.SignedBy(old.Home) && !homeGone && s.inOffice(now, old.Home, origin)
	anyAuthority := byAuthority == nil && (homeGone || b.Version != old.Version+1)
	if !byHome && !anyAuthority && !s.skip["home"] {
		// The version in between may come and name this signer.
		return notYet(fmt.Errorf("%w: not the home of %s", ErrSigner, b.ID), d.key, RootKey(s.root.Version()+1))
	}
	if old.Name != b.Name {
		return fmt.Errorf("%w: %s is called otherwise", ErrConflict, b.ID)
	}
	if old.State == VNShutdown && b.Version > old.Version {
		return fmt.Errorf("%w: %s is shut down", ErrConflict, b.ID)
	}
	if b.Home != old.Home {
		return s.fresh(now, d, origin)
	}
	return nil
}

// inOffice reports whether key, if it is an authority key, has not ended.
func (s *Store) inOffice(now time.Time, key PublicKey, origin Origin) bool {
	a, ok := s.authority(key)
	return !ok || origin == FromDisk || !ended(a.NotAfter, now)
}

// authoriseLeaf admits a manifest, fragment or roster that the VN's home signed, and a manifest
// or fragment that the VN pins by its hash, whoever signed that: the home may have moved since.
func (s *Store) authoriseLeaf(now time.Time, d *Document, origin Origin) error {
	id, inSpace := s.leaf(d)
	vn, known := s.VN(id)
	if !known {
		return notYet(nil, VNKey(id))
	}
	if d.SignedBy(vn.Home) && !s.Revoked(vn.Home) && s.inOffice(now, vn.Home, origin) || s.pinned(vn, d) || s.skip["home"] {
		if !inSpace {
			return fmt.Errorf("%w: addresses outside the ViNe space", ErrConflict)
		}
		return nil
	}
	return notYet(fmt.Errorf("%w: not the home of %s", ErrSigner, id), VNKey(id), ManifestKey(id), RootKey(s.root.Version()+1))
}

// pinned reports whether the current version of the VN names d by its hash.
func (s *Store) pinned(vn VN, d *Document) bool {
	if d.Kind() == KindManifest {
		return d.hash == vn.Manifest
	}
	m := s.docs[ManifestKey(vn.ID)]
	f, ok := d.body.(Fragment)
	if !ok || m == nil || m.hash != vn.Manifest {
		return false
	}
	leaf := FragmentLeaf{SetID(f.Routers), f.Version, d.hash}
	return slices.Contains(m.body.(Manifest).Fragments, leaf)
}

// leaf returns the VN of a leaf and whether all addresses in it are ViNe addresses.
func (s *Store) leaf(d *Document) (id VNID, inSpace bool) {
	switch b := d.body.(type) {
	case Manifest:
		return b.VN, true
	case Fragment:
		return b.VN, !slices.ContainsFunc(b.Prefixes, func(p netip.Prefix) bool { return !s.InSpace(p) })
	case Roster:
		return b.VN, !slices.ContainsFunc(b.Hosts, func(a netip.Addr) bool { return !s.InSpaceAddr(a) })
	default:
		panic("tables: internal error: " + d.Kind().String() + " is no leaf")
	}
}
