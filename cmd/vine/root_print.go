package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// printRoot prints the root of a view.
func (e *Env) printRoot(v *tables.View) error {
	root, _ := v.Root()
	if e.json {
		authorities := []document{}
		for _, a := range root.Authorities {
			authorities = append(authorities, document{"fingerprint": a.Key.Fingerprint(), "until": time.Unix(a.NotAfter, 0).UTC()})
		}
		keys := []string{}
		for _, k := range root.RootKeys {
			keys = append(keys, k.Fingerprint())
		}
		return e.printJSON(document{"federation": root.Federation, "federation_id": v.FederationID().String(), "version": root.Version,
			"threshold": root.Threshold, "root_keys": keys, "authorities": authorities})
	}
	pairs := []string{"federation", fmt.Sprintf("%s (%s)", root.Federation, v.FederationID()), "version", fmt.Sprint(root.Version),
		"threshold", fmt.Sprintf("%d of %d root keys", root.Threshold, len(root.RootKeys))}
	for _, k := range root.RootKeys {
		pairs = append(pairs, "root key", k.Fingerprint())
	}
	for _, a := range root.Authorities {
		pairs = append(pairs, "authority", fmt.Sprintf("%s until %s", a.Key.Fingerprint(), day(time.Unix(a.NotAfter, 0))))
	}
	return e.pairs(pairs...)
}

// changes says what a proposal changes, one thing a line: what, and how.
func (p *proposal) changes() (list [][2]string) {
	say := func(what, format string, args ...any) {
		list = append(list, [2]string{what, fmt.Sprintf(format, args...)})
	}
	if p.old.Threshold != p.next.Threshold || len(p.old.RootKeys) != len(p.next.RootKeys) {
		say("threshold", "%d of %d root keys, was %d of %d", p.next.Threshold, len(p.next.RootKeys), p.old.Threshold, len(p.old.RootKeys))
	}
	for _, k := range p.next.RootKeys {
		if !slices.Contains(p.old.RootKeys, k) {
			say("new root key", "%s", k.Fingerprint())
		}
	}
	for _, k := range p.old.RootKeys {
		if !slices.Contains(p.next.RootKeys, k) {
			say("root key goes", "%s", k.Fingerprint())
		}
	}
	find := func(r tables.Root, key tables.PublicKey) (tables.AuthorityKey, bool) {
		i := slices.IndexFunc(r.Authorities, func(a tables.AuthorityKey) bool { return a.Key == key })
		if i < 0 {
			return tables.AuthorityKey{}, false
		}
		return r.Authorities[i], true
	}
	for _, a := range p.next.Authorities {
		switch before, had := find(p.old, a.Key); {
		case !had:
			say("new authority", "%s until %s", a.Key.Fingerprint(), day(time.Unix(a.NotAfter, 0)))
		case before.NotAfter != a.NotAfter:
			say("authority", "%s until %s, was until %s", a.Key.Fingerprint(), day(time.Unix(a.NotAfter, 0)), day(time.Unix(before.NotAfter, 0)))
		}
	}
	for _, a := range p.old.Authorities {
		if _, stays := find(p.next, a.Key); !stays {
			say("authority goes", "%s", a.Key.Fingerprint())
		}
	}
	if !slices.Equal(p.old.Space, p.next.Space) {
		say("ViNe space", "%s, was %s", join(p.next.Space), join(p.old.Space))
	}
	if p.old.AuthThreshold != p.next.AuthThreshold {
		say("authorities", "%d have to sign, was %d", p.next.AuthThreshold, p.old.AuthThreshold)
	}
	if p.stand > 0 {
		say("stand", "%d documents of authority keys that are retired", p.stand)
	}
	if len(list) == 0 {
		say("changes", "nothing")
	}
	return list
}

// signatures says who has signed.
func (p *proposal) signatures() (list []string) {
	for _, k := range p.proposed.Signers() {
		if p.isRootKey(k) {
			list = append(list, k.Fingerprint())
		}
	}
	return list
}

// sayProposal tells on standard error what is about to be signed.
func (e *Env) sayProposal(p *proposal) {
	fmt.Fprintf(e.Stderr, "root version %d of %s (%s):\n", p.next.Version, p.next.Federation, p.before.FederationID())
	for _, c := range p.changes() {
		fmt.Fprintf(e.Stderr, "  %s: %s\n", c[0], clean(c[1]))
	}
}

// printProposal prints a proposal, and with now which documents of that would fall or come back.
func (e *Env) printProposal(p *proposal, now *tables.Store) error {
	old, next := p.missing()
	var falls, returns []string
	if now != nil {
		falls, returns = p.falls(now.Snapshot())
	}
	if e.json {
		changes := []document{}
		for _, c := range p.changes() {
			changes = append(changes, document{"what": c[0], "how": c[1]})
		}
		return e.printJSON(document{"federation": p.next.Federation, "federation_id": p.before.FederationID().String(), "version": p.next.Version,
			"changes": changes, "signed": append([]string{}, p.signatures()...), "missing_old": old, "missing_new": next, "whole": p.whole(),
			"falls": append([]string{}, falls...), "returns": append([]string{}, returns...)})
	}
	pairs := []string{"federation", fmt.Sprintf("%s (%s)", p.next.Federation, p.before.FederationID()), "root", fmt.Sprintf("version %d", p.next.Version)}
	for _, c := range p.changes() {
		pairs = append(pairs, c[0], c[1])
	}
	for _, text := range falls {
		pairs = append(pairs, "falls", text)
	}
	for _, text := range returns {
		pairs = append(pairs, "counts again", text)
	}
	for _, k := range p.signatures() {
		pairs = append(pairs, "signed by", k)
	}
	pairs = append(pairs, "missing", fmt.Sprintf("%d of the root keys before, %d of its own", old, next))
	return e.pairs(pairs...)
}

// falls returns which documents of v would stop counting, and which of those that the proposal brings would count in their place or
// again.
func (p *proposal) falls(v *tables.View) (falls, returns []string) {
	adopted := map[tables.Digest]bool{}
	for _, d := range p.adoptions {
		for _, a := range d.Body().(tables.Adoption).Documents {
			adopted[tables.Digest{Key: a.Key(), Version: a.Version, Hash: a.Hash}] = true
			if have := v.Get(a.Key()); have == nil || have.Hash() != a.Hash {
				returns = append(returns, fmt.Sprintf("%s version %d", a.Key(), a.Version))
			}
		}
	}
	for _, d := range policy.Orphans(v, p.next) {
		if !adopted[d.Digest()] {
			falls = append(falls, fmt.Sprintf("%s version %d", d.Key(), d.Version()))
		}
	}
	return falls, returns
}
