package node

import (
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// TestAccept: whose handshake it is that proved a link key. It is that of the router whose own link
// record comes with it. Once it was that of any record with this key: whoever signed a record that
// claimed another's key took its place, and cut it off.
func TestAccept(t *testing.T) {
	const nobody = "nobody"
	for _, c := range []struct {
		name  string
		hello func(s *still, liar, victim *resident) []byte
		want  string // whom the victim's key, once proved, stands for
	}{
		{"a key on record", func(s *still, _, victim *resident) []byte {
			s.keep(s.record(victim, victim.static.Public()))
			return nil
		}, "victim"},
		{"a first hello", func(s *still, _, victim *resident) []byte {
			return envelopesOf(s.record(victim, victim.static.Public()))
		}, "victim"},
		{"no hello, and no record", func(*still, *resident, *resident) []byte { return nil }, nobody},
		{"a liar's newer record claims the key", func(s *still, liar, victim *resident) []byte {
			own := s.record(victim, victim.static.Public())
			s.keep(own)
			liar.version = 1 << 40
			s.keep(s.record(liar, victim.static.Public()))
			return envelopesOf(own)
		}, "victim"},
		{"a liar's record came first", func(s *still, liar, victim *resident) []byte {
			s.keep(s.record(liar, victim.static.Public()))
			return envelopesOf(s.record(victim, victim.static.Public()))
		}, "victim"},
		{"the record in the hello is of another key", func(s *still, liar, _ *resident) []byte {
			return envelopesOf(s.record(liar, liar.static.Public()))
		}, nobody},
		{"the key was changed since", func(s *still, liar, victim *resident) []byte {
			old := s.record(victim, victim.static.Public())
			s.keep(s.record(victim, tables.LinkKey{9: 1}))
			return envelopesOf(old)
		}, nobody},
		{"rubbish", func(s *still, _, victim *resident) []byte {
			s.keep(s.record(victim, victim.static.Public()))
			return []byte{1, 2, 3}
		}, nobody},
	} {
		t.Run(c.name, func(t *testing.T) {
			withStill(t, func(t *testing.T, s *still) {
				liar, victim := s.enrol("liar", "liar"), s.enrol("victim", "victim")
				hello := c.hello(s, liar, victim)
				got, err := s.l.accept(victim.static.Public(), hello)
				name := nobody
				if err == nil {
					name = s.l.name(got)
				}
				if name != c.want {
					t.Errorf("it is the handshake of %s, want %s (%v)", name, c.want, err)
				}
			})
		})
	}
}
