package tables_test

import (
	"bytes"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// FuzzEnvelope: what parses gives the same bytes again, and no truncation of it parses.
func FuzzEnvelope(f *testing.F) {
	for _, d := range samples() {
		f.Add(d.Bytes())
		f.Add(d.Bytes()[:len(d.Bytes())/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := tables.ParseEnvelope(b)
		if err != nil {
			return
		}
		used := b[:len(b)-len(rest)]
		if again := tables.AppendEnvelope(nil, e); !bytes.Equal(again, used) {
			t.Fatalf("%x came back as %x", used, again)
		}
		for _, n := range []int{0, 1, len(used) / 2, len(used) - 1} {
			if _, _, err := tables.ParseEnvelope(used[:n]); err == nil {
				t.Fatalf("parses when cut to %d bytes", n)
			}
		}
	})
}

// FuzzBody: a body of any kind that parses is one that a signer could have made, byte for byte.
func FuzzBody(f *testing.F) {
	for _, d := range samples() {
		e, _, _ := tables.ParseEnvelope(d.Bytes())
		f.Add(uint8(e.Kind), e.Body)
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		body, err := tables.DecodeBody(tables.Kind(kind), b)
		if err != nil {
			return
		}
		if again := tables.EncodeBody(body); !bytes.Equal(again, b) {
			t.Fatalf("%x came back as %x", b, again)
		}
		for n := range b {
			if _, err := tables.DecodeBody(tables.Kind(kind), b[:n]); err == nil {
				t.Fatalf("parses when cut to %d bytes", n)
			}
		}
		if body.Kind() != tables.Kind(kind) {
			t.Fatalf("kind %d parses as %s", kind, body.Kind())
		}
	})
}

// FuzzToken: hostile text of an invite token, and of a sealed key file, is safe.
func FuzzToken(f *testing.F) {
	f.Add("AAAA")
	f.Add("-----BEGIN VINE SEALED KEY-----\nAAAA\n-----END VINE SEALED KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		if token, err := tables.ParseToken(text); err == nil && token.Text() != text {
			t.Fatalf("%q came back as %q", text, token.Text())
		}
		tables.ParseMarks([]byte(text))   //nolint:errcheck // nor must this
		tables.SealedPublic([]byte(text)) //nolint:errcheck // it must not panic
	})
}
