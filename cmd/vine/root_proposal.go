package main

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
)

// A proposal is a root that may have too few signatures yet, as it goes from desk to desk: a bundle with the roots before it, the
// proposed one, its adoptions, and documents that they adopt and VRs may not have.
//
// Every document has a signature. Where nobody has signed yet it is by a key that was made for that and thrown away, and that
// counts for nothing; the first signature takes its place.
type proposal struct {
	before    *tables.Store // the roots before
	proposed  *tables.Document
	old, next tables.Root
	adoptions []*tables.Document
	rest      []*tables.Document
	stand     int // how many documents are adopted
}

// readProposal reads a file and checks it: that its roots follow on each other, and that the adoptions are those that the proposed
// root names.
func readProposal(now time.Time, path string) (*proposal, error) {
	raw, err := readBundleFile(path)
	if err != nil {
		return nil, err
	}
	envelopes, _ := state.ParseBundle(raw)
	p := &proposal{before: tables.NewStore(tables.Hash{})}
	var all, roots []*tables.Document
	for _, b := range envelopes {
		d, err := tables.ParseDocument(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		root, ok := d.Body().(tables.Root)
		switch {
		case !ok:
			all = append(all, d)
		case p.proposed == nil || root.Version > p.next.Version:
			if p.proposed != nil {
				roots = append(roots, p.proposed)
			}
			p.proposed, p.next = d, root
		default:
			roots = append(roots, d)
		}
	}
	if p.proposed == nil || len(roots) == 0 {
		return nil, fmt.Errorf("%s proposes no root: write one with vine root draft", path)
	}
	tables.SortForLoad(roots)
	for _, d := range roots {
		if outcome, err := p.before.Put(now, d, tables.FromDisk); outcome != tables.Kept {
			return nil, fmt.Errorf("%s: its root version %d is %s: %w", path, d.Version(), outcome, err)
		}
	}
	p.old, _ = p.before.Root()
	if p.next.Version != p.old.Version+1 {
		return nil, fmt.Errorf("%s proposes root version %d after version %d", path, p.next.Version, p.old.Version)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, d := range all {
		if a, ok := d.Body().(tables.Adoption); ok && slices.Contains(p.next.Adopts, d.Hash()) {
			p.adoptions = append(p.adoptions, d)
			p.stand += len(a.Documents)
			continue
		}
		p.rest = append(p.rest, d)
	}
	if len(p.adoptions) != len(p.next.Adopts) {
		return nil, fmt.Errorf("%s has %d adoptions and its root names %d: the file is not whole", path, len(p.adoptions), len(p.next.Adopts))
	}
	return p, nil
}

// check reports a change that no VR would take, however many have signed it.
func (p *proposal) check() error {
	if p.next.Federation != p.old.Federation {
		return fmt.Errorf("the proposed root renames the federation")
	}
	for _, prefix := range p.old.Space {
		if !slices.ContainsFunc(p.next.Space, func(s netip.Prefix) bool { return s.Bits() <= prefix.Bits() && s.Contains(prefix.Addr()) }) {
			return fmt.Errorf("the proposed root takes %s out of the ViNe space", prefix)
		}
	}
	return nil
}

// signedOf counts the keys of root that have signed.
func (p *proposal) signedOf(root tables.Root) (n int) {
	for _, k := range root.RootKeys {
		if p.proposed.SignedBy(k) {
			n++
		}
	}
	return n
}

// missing returns how many more keys of the root before, and of the proposed one, have to sign.
func (p *proposal) missing() (old, next int) {
	return max(0, int(p.old.Threshold)-p.signedOf(p.old)), max(0, int(p.next.Threshold)-p.signedOf(p.next))
}

func (p *proposal) whole() bool {
	old, next := p.missing()
	return old == 0 && next == 0
}

// advice says what has to be done with the proposal.
func (p *proposal) advice() string {
	old, next := p.missing()
	var lacks []string
	if old > 0 {
		lacks = append(lacks, fmt.Sprintf("%d more of the root keys of version %d", old, p.old.Version))
	}
	if next > 0 {
		lacks = append(lacks, fmt.Sprintf("%d more of its own root keys", next))
	}
	if len(lacks) == 0 {
		return "it is whole; give it to any VR with vine root publish"
	}
	return "it has to be signed by " + strings.Join(lacks, " and by ") + ", with vine root sign"
}

// isRootKey reports whether key is a root key before or after the change.
func (p *proposal) isRootKey(key tables.PublicKey) bool {
	return slices.Contains(p.old.RootKeys, key) || slices.Contains(p.next.RootKeys, key)
}

// sign adds a signature to the root, and to adoptions that nobody has signed.
func (p *proposal) sign(key ed25519.PrivateKey) error {
	public := tables.PublicOf(key)
	switch {
	case !p.isRootKey(public):
		return fmt.Errorf("this key, %s, is no root key, neither before nor after the change", public.Fingerprint())
	case p.proposed.SignedBy(public):
		return fmt.Errorf("this key, %s, has signed already", public.Fingerprint())
	}
	var err error
	if p.proposed, err = p.countersign(p.proposed, key); err != nil {
		return err
	}
	for i, d := range p.adoptions {
		if slices.ContainsFunc(d.Signers(), p.isRootKey) {
			continue
		}
		if p.adoptions[i], err = p.countersign(d, key); err != nil {
			return err
		}
	}
	return nil
}

// countersign adds a signature to d and takes off those of keys that are no root keys.
func (p *proposal) countersign(d *tables.Document, key ed25519.PrivateKey) (*tables.Document, error) {
	envelope, _, err := tables.ParseEnvelope(d.Bytes())
	if err != nil {
		return nil, err
	}
	envelope.Signatures = slices.DeleteFunc(envelope.Signatures, func(s tables.Signature) bool { return !p.isRootKey(s.Key) })
	if envelope, err = tables.Countersign(envelope, key); err != nil {
		return nil, err
	}
	return envelope.Document()
}

// bundle returns the file of the proposal.
func (p *proposal) bundle() []byte {
	var documents []*tables.Document
	for d := range p.before.Snapshot().Documents() {
		documents = append(documents, d)
	}
	documents = append(documents, p.proposed)
	return bundleOf(slices.Concat(documents, p.adoptions, p.rest))
}
