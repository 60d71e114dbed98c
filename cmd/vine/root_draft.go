package main

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// drafting are the flags of vine root draft.
type drafting struct {
	out, until, honest                                 string
	addAuthority, retireAuthority, addRoot, retireRoot []string
	also, without                                      []string
	threshold                                          uint32
}

func newRootDraftCommand(e *Env) *cobra.Command {
	var f drafting
	c := &cobra.Command{
		Use:   "draft FILE --out FILE",
		Short: "Write a proposal for the next root",
		Long: `Reads what a VR knows, from a file of "vine authority export", and writes a proposal for the next version of the root: other
authority keys, other root keys, another number of them that has to sign. It signs nothing.

What only a retired authority key has signed, members, users, VNs, revocations, counts no more, but for what the root adopts. A
draft adopts all of it. After a theft it must not: with --honest, a file that was exported before the theft, it adopts what
stood in that file, and of what has come since only what --also names. Each VR then goes back to those versions.

Keys are given as 64 hexadecimal digits; those that go, by their fingerprint too. Documents are named as "vine show --state"
lists them, such as enrolment:3; vn:7 stands for a VN with all its parts.`,
		Example: `  vine root draft known.vine --retire-authority k5yq7hd2mzraw3cslt4exo6vbn2pjf5g --add-authority 5f3c0e… --out root-2.vine
  vine root draft known.vine --add-root-key 77ab09… --add-root-key c0ffee… --threshold 2 --out root-2.vine
  vine root draft known.vine --honest monday.vine --also enrolment:9 --retire-authority k5yq… --add-authority 5f3c0e… --out root-2.vine`,
		Args: takes("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if f.out == "" {
				return usage("give --out FILE")
			}
			p, now, err := f.draft(e, args[0])
			if err != nil {
				return err
			}
			if err := writeNew(f.out, p.bundle(), 0o644); err != nil {
				return err
			}
			e.say("the proposal is in %s: %s", f.out, p.advice())
			return e.printProposal(p, now)
		},
	}
	fs := c.Flags()
	fs.StringVarP(&f.out, "out", "o", "", "`FILE` to write, which must not exist yet")
	fs.StringSliceVar(&f.addAuthority, "add-authority", nil, "`KEY` that is to be an authority, or to be one until another day (can be given several times)")
	fs.StringSliceVar(&f.retireAuthority, "retire-authority", nil, "`KEY` that is to be an authority no more (can be given several times)")
	fs.StringVar(&f.until, "until", "730d", "`END` of the authority keys that are added: a day, or a time from now")
	fs.StringSliceVar(&f.addRoot, "add-root-key", nil, "`KEY` that is to be a root key (can be given several times)")
	fs.StringSliceVar(&f.retireRoot, "retire-root-key", nil, "`KEY` that is to be a root key no more (can be given several times)")
	fs.Uint32Var(&f.threshold, "threshold", 0, "`NUMBER` of root keys that have to sign (default: as before)")
	fs.StringVar(&f.honest, "honest", "", "`FILE` of vine authority export from before a theft: what stood in it stands, and nothing else")
	fs.StringSliceVar(&f.also, "also", nil, "`DOCUMENT` that stands although it is not in the file of --honest (can be given several times)")
	fs.StringSliceVar(&f.without, "without", nil, "`DOCUMENT` that does not stand (can be given several times)")
	return c
}

// draft returns the proposal, and what the file holds.
func (f *drafting) draft(e *Env, path string) (*proposal, *tables.Store, error) {
	now, err := loadBundles(e.Now(), path, "")
	if err != nil {
		return nil, nil, err
	}
	p := &proposal{before: tables.NewStore(now.FederationID())}
	p.old, _ = now.Root()
	if p.next, err = f.root(e, p.old); err != nil {
		return nil, nil, err
	}
	var honest *tables.View
	if f.honest != "" {
		store, err := loadBundles(e.Now(), f.honest, "")
		if err != nil {
			return nil, nil, err
		}
		if store.FederationID() != now.FederationID() {
			return nil, nil, fmt.Errorf("%s is of another federation than %s", f.honest, path)
		}
		honest = store.Snapshot()
	} else if len(f.also) > 0 {
		return nil, nil, usage("--also goes with --honest: without it everything stands")
	}
	also, err := parseChoices(f.also)
	if err != nil {
		return nil, nil, err
	}
	without, err := parseChoices(f.without)
	if err != nil {
		return nil, nil, err
	}
	s, err := policy.Succeed(now.Snapshot(), honest, p.next, also, without)
	if err != nil {
		return nil, nil, usage("%w", err)
	}
	p.rest, p.stand = s.Returns, len(s.Stand)
	if honest != nil {
		for d := range honest.Documents() { // where VRs find each other that a thief had them take for revoked
			if d.Kind() == tables.KindLinkRecord {
				p.rest = append(p.rest, d)
			}
		}
	}
	if err := p.make(e, s.Stand); err != nil {
		return nil, nil, err
	}
	for d := range now.Snapshot().Documents() {
		if d.Kind() != tables.KindRoot {
			continue
		}
		if outcome, err := p.before.Put(e.Now(), d, tables.FromDisk); outcome != tables.Kept {
			return nil, nil, fmt.Errorf("root version %d is %s: %w", d.Version(), outcome, err)
		}
	}
	return p, now, p.check()
}

func parseChoices(texts []string) ([]policy.Choice, error) {
	var list []policy.Choice
	for _, text := range texts {
		c, err := policy.ParseChoice(text)
		if err != nil {
			return nil, usage("%w", err)
		}
		list = append(list, c)
	}
	return list, nil
}

// make adopts what stands, and puts signatures that count for nothing on the new documents.
func (p *proposal) make(e *Env, stand []*tables.Document) error {
	var digests []tables.Digest
	for _, d := range stand {
		digests = append(digests, d.Digest())
	}
	bodies, hashes, err := tables.Adoptions(digests)
	if err != nil {
		return err
	}
	_, nobody, err := ed25519.GenerateKey(e.Rand)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	p.next.Adopts = hashes
	if p.proposed, err = tables.Sign(p.next, nobody); err != nil {
		return err
	}
	for _, b := range bodies {
		d, err := tables.Sign(b, nobody)
		if err != nil {
			return err
		}
		p.adoptions = append(p.adoptions, d)
	}
	return nil
}

// root returns the next root as the flags say, but for what it adopts.
func (f *drafting) root(e *Env, old tables.Root) (tables.Root, error) {
	next := old
	next.Version++
	next.Adopts = nil
	next.Authorities, next.RootKeys = slices.Clone(old.Authorities), slices.Clone(old.RootKeys)
	until, err := parseUntil(e.Now(), f.until)
	if err != nil {
		return next, err
	}
	if !until.After(e.Now()) {
		return next, usage("--until %s is past", f.until)
	}
	for _, text := range f.retireAuthority {
		i := slices.IndexFunc(next.Authorities, func(a tables.AuthorityKey) bool { return isKey(a.Key, text) })
		if i < 0 {
			return next, usage("%s is no authority key of this federation: vine root show lists them", text)
		}
		next.Authorities = slices.Delete(next.Authorities, i, i+1)
	}
	for _, text := range f.addAuthority {
		key, ok := parseUserKey(text)
		if !ok {
			return next, usage("%q is no key: give the 64 hexadecimal digits that vine authority key prints", text)
		}
		next.Authorities = slices.DeleteFunc(next.Authorities, func(a tables.AuthorityKey) bool { return a.Key == key })
		next.Authorities = append(next.Authorities, tables.AuthorityKey{Key: key, NotAfter: until.Unix()})
	}
	for _, text := range f.retireRoot {
		i := slices.IndexFunc(next.RootKeys, func(k tables.PublicKey) bool { return isKey(k, text) })
		if i < 0 {
			return next, usage("%s is no root key of this federation: vine root show lists them", text)
		}
		next.RootKeys = slices.Delete(next.RootKeys, i, i+1)
	}
	for _, text := range f.addRoot {
		key, ok := parseUserKey(text)
		if !ok {
			return next, usage("%q is no key: give the 64 hexadecimal digits that vine root key prints", text)
		}
		if slices.Contains(next.RootKeys, key) {
			return next, usage("%s is a root key already", text)
		}
		next.RootKeys = append(next.RootKeys, key)
	}
	if f.threshold > 0 {
		next.Threshold = f.threshold
	}
	switch {
	case len(next.Authorities) == 0:
		return next, usage("no authority key would be left: name one with --add-authority")
	case len(next.RootKeys) == 0:
		return next, usage("no root key would be left: name one with --add-root-key")
	case int(next.Threshold) > len(next.RootKeys):
		return next, usage("%d root keys would have to sign and there would be %d: say --threshold", next.Threshold, len(next.RootKeys))
	}
	slices.SortFunc(next.Authorities, func(a, b tables.AuthorityKey) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	slices.SortFunc(next.RootKeys, func(a, b tables.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	return next, nil
}

// isKey reports whether text is key in hexadecimal digits, or its fingerprint.
func isKey(key tables.PublicKey, text string) bool {
	given, ok := parseUserKey(text)
	fingerprint, err := parseFingerprint(text)
	return ok && given == key || err == nil && fingerprint == key.Fingerprint()
}
