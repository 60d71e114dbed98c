package tables

import "slices"

// insert puts d in the place of what had its key. It is for the Store, on a View that nobody
// else has.
func (v *View) insert(d *Document) {
	v.replace(d)
	i, _ := slices.BinarySearchFunc(v.order, d.key, byKey)
	v.order = slices.Insert(v.order, i, d)
	v.docs[d.key] = d
	switch b := d.body.(type) {
	case Root:
		v.insertRoot(d, b)
	case Enrolment:
		v.enrolments[b.Router] = d
		v.byName[b.Name] = b.Router
		v.byIdentity[b.Identity] = b.Router
		if !b.Invite.IsZero() {
			v.byInvite[b.Invite] = b.Router
		}
		for _, p := range b.Blocks {
			at, _ := slices.BinarySearch(v.byBlock[p], b.Router)
			v.byBlock[p] = slices.Insert(slices.Clone(v.byBlock[p]), at, b.Router)
		}
	case Adoption:
		v.readAdoptions()
	case Grant:
		v.grants[b.User] = with(v.grants[b.User], d)
		if !b.Parent.IsZero() {
			v.delegated[b.Parent] = with(v.delegated[b.Parent], d)
		}
	case VN:
		v.vnByName[b.Name] = b.ID
	case Manifest:
		v.insertLeaf(b.VN, d)
	case Fragment:
		v.insertLeaf(b.VN, d)
	case Roster:
		v.insertLeaf(b.VN, d)
	case Revocation:
		v.revoked[b.Identity] = d
	case LinkRecord:
		if _, taken := v.byLinkKey[b.Link]; !taken {
			v.byLinkKey[b.Link] = b.Router
		}
	}
}

// replace takes out what has the key of d. A router that renews its link record keeps its claim
// to the link key, whoever else claims that too.
func (v *View) replace(d *Document) {
	old := v.docs[d.key]
	if old == nil {
		return
	}
	before, _ := old.body.(LinkRecord)
	after, isLink := d.body.(LinkRecord)
	keeps := isLink && before.Link == after.Link && v.byLinkKey[after.Link] == after.Router
	v.remove(d.key)
	if keeps {
		v.byLinkKey[after.Link] = after.Router
	}
}

// insertRoot makes d the current root if it is the highest, and works out which authority keys
// are out of office.
func (v *View) insertRoot(d *Document, b Root) {
	if v.root != nil && v.root.Version() > b.Version {
		return
	}
	v.root = d
	if b.Version == 1 {
		v.federation = d.hash
	}
	clear(v.retired)
	for _, old := range v.kind(KindRoot) {
		for _, a := range old.body.(Root).Authorities {
			if _, listed := v.authority(a.Key); !listed {
				v.retired[a.Key] = true
			}
		}
	}
	v.readAdoptions()
}

func (v *View) insertLeaf(id VNID, d *Document) {
	if v.leaves[id] == nil {
		v.leaves[id] = map[DocKey]*Document{}
	}
	v.leaves[id][d.key] = d
}

// remove takes the document called key out, if it is there. Roots are never removed.
func (v *View) remove(key DocKey) {
	d := v.docs[key]
	if d == nil {
		return
	}
	i, _ := slices.BinarySearchFunc(v.order, key, byKey)
	v.order = slices.Delete(v.order, i, i+1)
	delete(v.docs, key)
	switch b := d.body.(type) {
	case Enrolment:
		delete(v.enrolments, b.Router)
		delete(v.byName, b.Name)
		delete(v.byIdentity, b.Identity)
		delete(v.byInvite, b.Invite)
		for _, p := range b.Blocks {
			v.byBlock[p] = slices.DeleteFunc(slices.Clone(v.byBlock[p]), func(id RouterID) bool { return id == b.Router })
		}
	case Grant:
		v.grants[b.User] = without(v.grants[b.User], d)
		v.delegated[b.Parent] = without(v.delegated[b.Parent], d)
	case VN:
		delete(v.vnByName, b.Name)
	case Manifest:
		delete(v.leaves[b.VN], key)
	case Fragment:
		delete(v.leaves[b.VN], key)
	case Roster:
		delete(v.leaves[b.VN], key)
	case Revocation:
		delete(v.revoked, b.Identity)
	case LinkRecord:
		v.removeLinkKey(b)
	}
}

// removeLinkKey frees the key of a record that goes, for another record that claims it too.
func (v *View) removeLinkKey(b LinkRecord) {
	if v.byLinkKey[b.Link] != b.Router {
		return
	}
	delete(v.byLinkKey, b.Link)
	for _, d := range v.kind(KindLinkRecord) {
		if r := d.body.(LinkRecord); r.Link == b.Link {
			v.byLinkKey[r.Link] = r.Router
			return
		}
	}
}

// with returns a new list that also has d, in order of key. The old list may be in a View that
// others read.
func with(list []*Document, d *Document) []*Document {
	i, _ := slices.BinarySearchFunc(list, d.key, byKey)
	return slices.Insert(slices.Clone(list), i, d)
}

func without(list []*Document, d *Document) []*Document {
	return slices.DeleteFunc(slices.Clone(list), func(e *Document) bool { return e == d })
}
