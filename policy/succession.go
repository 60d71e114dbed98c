package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vine-mesh/vine/tables"
)

// Orphans returns the documents of v that stop counting under the root next unless it adopts them: every key that has signed
// them was an authority key and is none in next. They come in order of key.
func Orphans(v *tables.View, next tables.Root) []*tables.Document {
	office, known := map[tables.PublicKey]bool{}, map[tables.PublicKey]bool{}
	for d := range v.Documents() {
		if root, ok := d.Body().(tables.Root); ok {
			for _, a := range root.Authorities {
				known[a.Key] = true
			}
		}
	}
	for _, a := range next.Authorities {
		office[a.Key] = true
	}
	var list []*tables.Document
	for d := range v.Documents() {
		counts := slices.ContainsFunc(d.Signers(), func(k tables.PublicKey) bool { return office[k] || !known[k] })
		if d.Kind().Adoptable() && !counts {
			list = append(list, d)
		}
	}
	return list
}

// A Choice names documents: one, or a VN with all its parts and its log.
type Choice struct{ key tables.DocKey }

// ParseChoice reads a Choice, such as "enrolment:3", "grant:FINGERPRINT/adm/federation" or "vn:7".
func ParseChoice(text string) (Choice, error) {
	name, id, ok := strings.Cut(text, ":")
	for k := tables.KindRoot; ok && id != "" && k.Valid(); k++ {
		if k.String() == name && k.Adoptable() {
			return Choice{tables.DocKey{Kind: k, ID: id}}, nil
		}
	}
	return Choice{}, fmt.Errorf("%s names no document that can be adopted, such as enrolment:3, site:osaka or vn:7", short(text))
}

// Names reports whether c names the document called key.
func (c Choice) Names(key tables.DocKey) bool {
	if key == c.key {
		return true
	}
	if _, err := strconv.ParseUint(c.key.ID, 10, 32); c.key.Kind != tables.KindVN || err != nil {
		return false
	}
	vn, _, _ := strings.Cut(key.ID, "/")
	switch key.Kind {
	case tables.KindManifest, tables.KindFragment, tables.KindRoster, tables.KindEntry:
		return vn == c.key.ID
	}
	return false
}

// A Succession is what becomes of the documents of retired authority keys.
type Succession struct {
	Stand   []*tables.Document // what the next root adopts, in order of key
	Fall    []*tables.Document // what counts now and will not
	Returns []*tables.Document // what counts again or otherwise: of Stand, that which is not the present version
}

// Succeed works out what the root next is to adopt. All that counts in now stands; or, if honest is not nil, what counted there,
// and of now only what also names. What without names falls.
func Succeed(now, honest *tables.View, next tables.Root, also, without []Choice) (s Succession, err error) {
	named := func(list []Choice, d *tables.Document) bool {
		return slices.ContainsFunc(list, func(c Choice) bool { return c.Names(d.Key()) })
	}
	stand := map[tables.DocKey]*tables.Document{}
	present := Orphans(now, next)
	if honest == nil {
		honest = now
	}
	before := Orphans(honest, next)
	for _, d := range before {
		stand[d.Key()] = d
	}
	for _, d := range present {
		if named(also, d) {
			stand[d.Key()] = d
		}
	}
	for key, d := range stand {
		if named(without, d) {
			delete(stand, key)
		}
	}
	for _, c := range slices.Concat(also, without) {
		if !slices.ContainsFunc(slices.Concat(present, before), func(d *tables.Document) bool { return c.Names(d.Key()) }) {
			return s, fmt.Errorf("%s is not among the documents of authority keys that go", c.key)
		}
	}
	for _, d := range present {
		if kept := stand[d.Key()]; kept == nil || kept.Hash() != d.Hash() {
			s.Fall = append(s.Fall, d)
		}
	}
	for _, d := range stand {
		s.Stand = append(s.Stand, d)
		if have := now.Get(d.Key()); have == nil || have.Hash() != d.Hash() {
			s.Returns = append(s.Returns, d)
		}
	}
	byKey := func(a, b *tables.Document) int { return a.Key().Compare(b.Key()) }
	slices.SortFunc(s.Stand, byKey)
	slices.SortFunc(s.Returns, byKey)
	return s, nil
}
