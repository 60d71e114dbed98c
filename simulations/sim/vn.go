package sim

import (
	"github.com/vine-mesh/vine/simulations/scenario"
)

// authority is the VR that signs: the first of the file. It does not churn and is not killed at random.
const authority = int32(0)

// A vnet is a virtual network: its documents, the members of each of its versions, and which version each VR uses.
type vnet struct {
	name                       string
	header, manifest, fragment int32
	// members[n-1] are the VRs with a host in version n, signed at signed[n-1]. A network that is shut
	// down has a last version with no members.
	members   []set
	signed    []int64
	installed []uint32
	// with[n-1] are the versions of other networks without which version n is not installed: of a merge or a split.
	with [][]partner
}

type partner struct {
	net     *vnet
	version uint32
}

// A set is a set of VRs.
type set []uint64

func newSet(n int) set         { return make(set, (n+63)/64) }
func (s set) add(v int32)      { s[v/64] |= 1 << (v % 64) }
func (s set) remove(v int32)   { s[v/64] &^= 1 << (v % 64) }
func (s set) has(v int32) bool { return s[v/64]>>(v%64)&1 == 1 }
func (s set) join(o set) (r set) {
	r = append(r, s...)
	for i := range o {
		r[i] |= o[i]
	}
	return r
}

func (s set) list() (vs []int32) {
	for v := int32(0); v < int32(len(s)*64); v++ {
		if s.has(v) {
			vs = append(vs, v)
		}
	}
	return vs
}

// uses returns the members of the version of a network that a VR uses; nil if it uses none.
func (n *vnet) uses(v int32) set {
	if at := n.installed[v]; at > 0 {
		return n.members[at-1]
	}
	return nil
}

// now returns the members of the last version that was signed.
func (n *vnet) now() set { return n.members[len(n.members)-1] }

// An operation is what somebody has asked of the authority.
type operation struct {
	event  *scenario.Event
	revoke int32 // a VR, or -1
}

// operate has the authority do what was asked, unless it is away.
func (e *Engine) operate() {
	if e.now < e.authorityBack {
		e.q.add(e.authorityBack, evAuthority, 0, 0, 0)
		return
	}
	for _, o := range e.asked {
		if o.revoke >= 0 {
			e.revoke(o.revoke)
		} else {
			e.operateVN(o.event)
		}
	}
	e.asked = e.asked[:0]
}

func (e *Engine) network(name string) *vnet {
	for _, n := range e.vns {
		if n.name == name {
			return n
		}
	}
	return nil
}

// newNetwork makes the documents of a network of which there is no version yet.
func (e *Engine) newNetwork(name string) *vnet {
	of := int32(len(e.vns))
	n := &vnet{name: name, installed: make([]uint32, len(e.vrs))}
	n.header = e.addDocument(vnHeader, of, headerBytes)
	n.manifest = e.addDocument(vnManifest, of, manifestFixed)
	n.fragment = e.addDocument(vnFragment, of, fragmentBytes)
	e.vns = append(e.vns, n)
	return n
}

// publish signs the next version of a network. All its documents are one bundle.
func (e *Engine) publish(n *vnet, members set) {
	n.members = append(n.members, members)
	n.signed = append(n.signed, e.now)
	n.with = append(n.with, nil)
	e.docs[n.manifest].size = int32(min(manifestFixed+manifestEach*len(members.list()), 256<<10))
	e.fault = max(e.fault, e.now)
	for _, doc := range []int32{n.fragment, n.manifest, n.header} {
		e.sign(authority, doc)
	}
	if e.s.Bounds.Converge > 0 {
		e.q.add(e.now+int64(e.s.Bounds.Converge), evConverged, n.header, 0, int32(len(n.members)))
	}
}

// groupMembers are the VRs of groups, at most sample of them (0: all).
func (e *Engine) groupMembers(groups []string, sample int) set {
	s := newSet(len(e.vrs))
	var all []int32
	for v := range e.vrs {
		if e.inGroups(int32(v), groups) {
			all = append(all, int32(v))
		}
	}
	if sample > 0 && sample < len(all) {
		for i := range sample {
			j := i + int(e.rnd.below(int64(len(all)-i)))
			all[i], all[j] = all[j], all[i]
		}
		all = all[:sample]
	}
	for _, v := range all {
		s.add(v)
	}
	return s
}

func (e *Engine) operateVN(ev *scenario.Event) {
	n := e.network(ev.VN)
	if ev.Do == "vn-create" {
		if n == nil {
			n = e.newNetwork(ev.VN)
			e.publish(n, e.groupMembers(ev.Groups, 0))
			e.samplePairs(n)
		}
		return
	}
	if n == nil {
		return
	}
	switch ev.Do {
	case "vn-update":
		e.publish(n, n.now())
	case "vn-shutdown":
		e.publish(n, newSet(len(e.vrs)))
	case "vn-merge":
		with := e.network(ev.With)
		if with == nil {
			return
		}
		into := e.network(ev.Into)
		switch {
		case ev.Into == "":
			into = n
		case into == nil:
			into = e.newNetwork(ev.Into)
		}
		all := n.now().join(with.now())
		together := []*vnet{into}
		for _, o := range []*vnet{n, with} {
			if o != into {
				e.publish(o, newSet(len(e.vrs)))
				together = append(together, o)
			}
		}
		e.publish(into, all)
		bind(together)
		e.samplePairs(into)
	case "vn-split":
		into := e.network(ev.Into)
		if into == nil {
			into = e.newNetwork(ev.Into)
		}
		stay, go_ := newSet(len(e.vrs)), newSet(len(e.vrs))
		for _, v := range n.now().list() {
			if e.inGroups(v, ev.Groups) {
				go_.add(v)
			} else {
				stay.add(v)
			}
		}
		e.publish(n, stay)
		e.publish(into, go_)
		bind([]*vnet{n, into})
		e.samplePairs(into)
	}
}

// bind has the last versions of networks be installed together.
func bind(nets []*vnet) {
	for _, n := range nets {
		for _, o := range nets {
			if o != n {
				last := len(n.with) - 1
				n.with[last] = append(n.with[last], partner{o, uint32(len(o.members))})
			}
		}
	}
}

// complete reports whether v holds all documents of a version of a network, or of a later one.
func (e *Engine) complete(v int32, n *vnet, version uint32) bool {
	return e.version(v, n.header) >= version && e.version(v, n.manifest) >= version && e.version(v, n.fragment) >= version
}

// install takes a document into use at a VR that has stored it.
func (e *Engine) install(v, doc int32, version uint32) {
	d := &e.docs[doc]
	switch d.kind {
	case vnHeader, vnManifest, vnFragment:
		e.installVN(v, e.vns[d.of])
	case revocation:
		e.obey(v, d)
	}
}

// installVN uses the version of the header that a VR holds if all of it is here: whole or not at all, and together with what it
// was merged with or split from.
func (e *Engine) installVN(v int32, n *vnet) {
	version := e.version(v, n.header)
	if version <= n.installed[v] || !e.complete(v, n, version) {
		return
	}
	for _, p := range n.with[version-1] {
		if !e.complete(v, p.net, p.version) {
			return
		}
	}
	was := n.uses(v)
	n.installed[v] = version
	members := n.members[version-1]
	if signed := n.signed[version-1]; e.recording() && (members.has(v) || was != nil && was.has(v)) && e.vrs[v].since <= signed {
		e.converge.add(e.now - signed)
	}
	for _, p := range n.with[version-1] {
		e.installVN(v, p.net)
	}
}

// revoke ends the trust in a VR.
func (e *Engine) revoke(s int32) {
	if e.revocationOf[s] >= 0 {
		return
	}
	e.vrs[s].revoked = true
	doc := e.addDocument(revocation, s, revocationBytes)
	e.revocationOf[s] = doc
	e.revokedAt = append(e.revokedAt, e.now)
	e.anyRevoked = true
	e.sign(authority, doc)
	if e.s.Bounds.Converge > 0 {
		e.q.add(e.now+int64(e.s.Bounds.Converge), evConverged, doc, 0, 1)
	}
}

// obey is the effect of a revocation at one VR. The one revoked stops.
func (e *Engine) obey(v int32, d *document) {
	s := d.of
	if v == s {
		e.stop(v, false)
		return
	}
	if e.vrs[v].since <= e.signedAt(s) {
		e.revoked.add(e.now - e.signedAt(s))
	}
	col := e.open(s)
	if c := &col.cells[v]; c.state != left {
		e.become(v, col, c, left, c.number)
	}
}

// signedAt is when the revocation of a VR was signed.
func (e *Engine) signedAt(s int32) int64 {
	i := 0
	for o := range e.docs {
		if e.docs[o].kind == revocation {
			if e.docs[o].of == s {
				return e.revokedAt[i]
			}
			i++
		}
	}
	return 0
}

// revokedBy reports whether v holds the revocation of s.
func (e *Engine) revokedBy(v, s int32) bool {
	return e.anyRevoked && e.revocationOf[s] >= 0 && e.version(v, e.revocationOf[s]) > 0
}
