package tables_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

func TestInvite(t *testing.T) {
	f := tablestest.New(1, 1)
	user := f.AddUser("ann", tables.RoleADM, "federation")
	authority := tables.PublicOf(f.Authority)
	token, err := tables.NewToken(f.Random, tables.Invite{Authority: authority, NotAfter: f.Now.Unix() + 3600}, user)
	if err != nil {
		t.Fatal(err)
	}
	read, err := tables.ParseToken(token.Text())
	if err != nil || read.Text() != token.Text() || strings.Contains(token.String(), token.Text()) {
		t.Fatal(err)
	}
	s := f.Store()
	joiner, thief := tables.PublicOf(f.Key()), tables.PublicOf(f.Key())
	d, proof := read.Document(), read.Prove(s.FederationID(), joiner)
	other := tables.PublicOf(f.Key())
	for _, tt := range []struct {
		name string
		err  error
		got  error
	}{
		{"good", nil, s.CheckInvite(f.Now, d, joiner, proof, authority)},
		{"spent on another identity", tables.ErrSignature, s.CheckInvite(f.Now, d, thief, proof, authority)},
		{"proof for another federation", tables.ErrSignature, s.CheckInvite(f.Now, d, joiner, read.Prove(tables.Hash{1}, joiner), authority)},
		{"no proof", tables.ErrSignature, s.CheckInvite(f.Now, d, joiner, nil, authority)},
		{"another authority", tables.ErrSigner, s.CheckInvite(f.Now, d, joiner, proof, other)},
		{"after its end", tables.ErrExpired, s.CheckInvite(f.Now.AddDate(0, 0, 1), d, joiner, proof, authority)},
		{"user without grant", tables.ErrSigner, tablestest.New(1, 1).Store().CheckInvite(f.Now, d, joiner, proof, authority)},
		{"not an invite", tables.ErrFormat, s.CheckInvite(f.Now, f.View().Get(tables.RootKey(1)), joiner, proof, authority)},
	} {
		if !errors.Is(tt.got, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.err)
		}
	}
	e := enrolment(f, 1)
	e.Identity, e.Invite = joiner, token.Invite().Key
	put(t, s, f.Now, tablestest.Sign(e, f.Authority), tables.Kept, nil)
	if err := s.CheckInvite(f.Now, d, joiner, proof, authority); !errors.Is(err, tables.ErrConflict) {
		t.Errorf("spent: %v", err)
	}
	put(t, s, f.Now, d, tables.Refused, tables.ErrFormat) // invites travel by hand
	text := token.Text()
	for n := range text {
		if _, err := tables.ParseToken(text[:n]); err == nil {
			t.Fatalf("cut to %d characters and accepted", n)
		}
	}
	if _, err := tables.ParseToken("A" + text[1:]); err == nil && text[0] != 'A' {
		t.Error("another seed accepted")
	}
}

func TestSealedKey(t *testing.T) {
	f := tablestest.Found(1, 1)
	key := f.RootKeys[0]
	text, err := tables.SealKeyCheap([]byte("correct horse"), key, f.Random)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tables.OpenKey([]byte("correct horse"), text)
	if err != nil || !got.Equal(key) {
		t.Fatalf("%v", err)
	}
	if _, err := tables.OpenKey([]byte("correct horse"), bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))); err != nil {
		t.Errorf("with CR LF: %v", err)
	}
	if public, err := tables.SealedPublic(text); err != nil || public != tables.PublicOf(key) {
		t.Errorf("public key %v, %v", public, err)
	}
	if _, err := tables.OpenKey([]byte("wrong"), text); !errors.Is(err, tables.ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if bytes.Contains(text, key.Seed()) {
		t.Error("seed in the clear")
	}
	for n := range text[:len(text)-1] {
		if _, err := tables.OpenKey([]byte("correct horse"), text[:n]); err == nil {
			t.Fatalf("cut to %d bytes and opened", n)
		}
	}
	const cost = len("-----BEGIN VINE SEALED KEY-----\n") + 14 // those that follow say what opening may cost
	for i := cost; i < len(text); i++ {
		damaged := bytes.Clone(text)
		damaged[i] ^= 2
		if got, err := tables.OpenKey([]byte("correct horse"), damaged); err == nil && !got.Equal(key) {
			t.Fatalf("byte %d changed: another key", i)
		}
	}
}

// The real cost is what RFC 9106 recommends, and the file says so.
func TestSealedKeyCost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 64 MiB")
	}
	f := tablestest.Found(1, 1)
	text, err := tables.SealKey(f.Random, []byte("p"), f.RootKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	var got ed25519.PrivateKey
	if got, err = tables.OpenKey([]byte("p"), text); err != nil || !got.Equal(f.RootKeys[0]) {
		t.Fatal(err)
	}
}
