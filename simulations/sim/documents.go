package sim

import (
	"encoding/binary"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// A document is a key, a size, and which version each VR holds. Whether it is valid was decided when it was made:
// verifying it once more at each of 10,000 VRs would show nothing and take hours.
type document struct {
	key    tables.DocKey
	size   int32  // of the envelope
	latest uint32 // the highest version ever signed
	// held is the version at each VR, nil while all hold base. Invariant: no entry is over latest.
	held []uint32
	base uint32
	kind documentKind
	of   int32 // VR of a link record or revocation, network of the documents of a VN
}

type documentKind uint8

const (
	linkRecord documentKind = iota
	vnHeader
	vnManifest
	vnFragment
	revocation
)

// addDocument makes a document that nobody holds in any version.
func (e *Engine) addDocument(kind documentKind, of int32, size int32) int32 {
	n := int32(len(e.docs))
	id := binary.BigEndian.AppendUint32(nil, uint32(n))
	k := [...]tables.Kind{tables.KindLinkRecord, tables.KindVN, tables.KindManifest, tables.KindFragment, tables.KindRevocation}[kind]
	d := document{key: tables.DocKey{Kind: k, ID: string(id)}, size: size, kind: kind, of: of}
	e.docs = append(e.docs, d)
	e.docOf[d.key] = n
	return n
}

// docName names a document for people.
func (e *Engine) docName(doc int32) string {
	switch d := &e.docs[doc]; d.kind {
	case linkRecord:
		return "the link record of " + e.name(d.of)
	case revocation:
		return "the revocation of " + e.name(d.of)
	default:
		return "the " + [...]string{vnHeader: "header", vnManifest: "manifest", vnFragment: "fragment"}[d.kind] + " of " + e.vns[d.of].name
	}
}

// version returns which version of a document a VR holds, 0: none.
func (e *Engine) version(v, doc int32) uint32 {
	if d := &e.docs[doc]; d.held != nil {
		return d.held[v]
	}
	return e.docs[doc].base
}

// sign makes the next version of a document, at the VR that signs it.
func (e *Engine) sign(v, doc int32) {
	d := &e.docs[doc]
	d.latest++
	if d.held == nil {
		d.held = make([]uint32, len(e.vrs))
		for i := range d.held {
			d.held[i] = d.base
		}
	}
	e.hold(v, doc, d.latest)
}

// term is what a version of a document adds to the root of an index.
func term(doc int32, version uint32) [2]uint64 {
	if version == 0 {
		return [2]uint64{}
	}
	x := uint64(uint32(doc))<<32 | uint64(version)
	return [2]uint64{finish(x), finish(x ^ 0xa5a5a5a5a5a5a5a5)}
}

// hold has a VR store a version of a document, pass it on and install it. It does nothing if the VR holds it or a later one.
func (e *Engine) hold(v, doc int32, version uint32) bool {
	d := &e.docs[doc]
	have := e.version(v, doc)
	if version <= have && !(e.defects.rollBack && version < have) {
		return false
	}
	if version < have {
		e.broke(invariantBack, "%s goes from version %d back to %d of %s", e.name(v), have, version, e.docName(doc))
		return false
	}
	r := &e.vrs[v]
	was, is := term(doc, have), term(doc, version)
	r.root[0] += is[0] - was[0]
	r.root[1] += is[1] - was[1]
	d.held[v] = version
	e.queueRumour(v, doc, version)
	if r.view != nil {
		e.viewRoot(v)
	}
	e.q.add(e.now+storeTakes, evInstall, v, doc, int32(version))
	return true
}

// A rumour is a queued news of a document, as in mesh.Rumours.
type rumour struct {
	doc     int32
	version uint32
	size    int32
	sent    int32
}

// queueRumour is mesh.Rumours.Add.
func (e *Engine) queueRumour(v, doc int32, version uint32) {
	r := &e.vrs[v]
	for i := range r.rumours {
		if r.rumours[i].doc == doc {
			if r.rumours[i].version >= version {
				return
			}
			r.rumours = slices.Delete(r.rumours, i, i+1)
			break
		}
	}
	if len(r.rumours) >= rumoursMax {
		most := r.rumours[len(r.rumours)-1].sent
		i := slices.IndexFunc(r.rumours, func(o rumour) bool { return o.sent == most })
		r.rumours = slices.Delete(r.rumours, i, i+1)
	}
	size := int32(rumourHead)
	if e.inline(doc) {
		size += e.docs[doc].size
	}
	i := slices.IndexFunc(r.rumours, func(o rumour) bool { return o.sent > 0 })
	if i < 0 {
		i = len(r.rumours)
	}
	r.rumours = slices.Insert(r.rumours, i, rumour{doc: doc, version: version, size: size})
	e.wakeGossip(v)
}

// inline reports whether a rumour carries the document whole.
func (e *Engine) inline(doc int32) bool { return e.docs[doc].size <= inlineMax }

// takeRumours is mesh.Rumours.Take: those sent least often first, of these the oldest first.
func (e *Engine) takeRumours(r *vr, p int32, limit int) (used int) {
	limit -= compoundPart + userHead
	if limit <= 0 {
		return 0
	}
	limit += compoundPart + userHead
	most := int32(r.transmissions())
	pk := &e.packets[p]
	again := e.scratchRumours[:0]
	kept := r.rumours[:0]
	misfits, count := 0, 0
	for i := range r.rumours {
		u := r.rumours[i]
		cost := int(u.size) + compoundPart + userHead
		switch {
		case misfits >= misfitsMax:
			kept = append(kept, u)
		case u.sent >= most && !e.defects.keepsRumours:
		case cost > limit-used:
			misfits++
			kept = append(kept, u)
		default:
			used += cost
			if count++; count <= rumoursInPacket && len(pk.messages) < 255 {
				pk.messages = append(pk.messages, message{kind: sayRumour, subject: u.doc, from: pk.from, number: u.version})
			}
			if u.sent++; u.sent < most || e.defects.keepsRumours {
				again = append(again, u)
			}
		}
	}
	e.scratchRumours = again
	r.rumours = kept
	for _, u := range again {
		i := len(r.rumours)
		r.rumours = append(r.rumours, u)
		for i > 0 && r.rumours[i-1].sent > u.sent {
			r.rumours[i] = r.rumours[i-1]
			i--
		}
		r.rumours[i] = u
	}
	return used
}

// hearRumour is mesh.Heard and what follows.
func (e *Engine) hearRumour(v, doc int32, holder int32, version uint32) {
	have := e.version(v, doc)
	switch {
	case e.defects.noEntropy && e.rnd.below(2) == 0:
	case version == have || version < have && !e.defects.rollBack:
	case e.inline(doc):
		e.hold(v, doc, version)
	default:
		e.wantPull(v, holder, doc, version)
	}
}
