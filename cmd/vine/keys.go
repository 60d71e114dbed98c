package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/vine-mesh/vine/tables"
)

const (
	// passphraseMin keeps out what falls to the first guesses. Argon2id makes each guess dear; it
	// cannot mend a passphrase that is on every list.
	passphraseMin = 8
	secretFileMax = 4096 // a key with three delegations has 2,000 bytes
)

// readSecret reads a file that holds a secret. One that others may read is refused.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return nil, fmt.Errorf("%s is a directory", path)
	case st.Mode().IsRegular() && st.Mode().Perm()&0o077 != 0:
		return nil, hinted(fmt.Errorf("%s is open to others (mode %04o)", path, st.Mode().Perm()), "chmod 600 %s", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, secretFileMax+1))
	if err == nil && len(text) > secretFileMax {
		err = fmt.Errorf("%s is longer than %d bytes", path, secretFileMax)
	}
	return text, err
}

// passphrase returns the passphrase in file or, without one, asks for it on the terminal; twice for
// a new one.
func (e *Env) passphrase(ctx context.Context, file string, again bool) ([]byte, error) {
	var text []byte
	var err error
	if file != "" {
		if text, err = readSecret(file); err != nil {
			return nil, fmt.Errorf("passphrase file: %w", err)
		}
		text = bytes.TrimRight(text, "\r\n")
	} else if text, err = e.askPassphrase(ctx, again); err != nil {
		return nil, err
	}
	switch {
	case !again:
		return text, nil
	case bytes.ContainsAny(text, "\r\n"):
		return nil, errors.New("the passphrase has more than one line")
	case len(text) < passphraseMin:
		return nil, fmt.Errorf("the passphrase has %d bytes; it needs at least %d", len(text), passphraseMin)
	}
	return text, nil
}

func (e *Env) askPassphrase(ctx context.Context, again bool) ([]byte, error) {
	stdin, ok := e.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(stdin.Fd())) {
		return nil, usage("there is no terminal to ask for the passphrase on; give --passphrase-file")
	}
	first, err := e.askHidden(ctx, stdin, "Passphrase of the root key: ")
	if err != nil || !again {
		return first, err
	}
	second, err := e.askHidden(ctx, stdin, "The same again: ")
	if err == nil && !bytes.Equal(first, second) {
		err = errors.New("the two passphrases differ")
	}
	return first, err
}

// askHidden reads a line that the terminal does not show. When ctx ends it gives the terminal back as
// it was.
func (e *Env) askHidden(ctx context.Context, terminal *os.File, prompt string) ([]byte, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("ask for passphrase: %w", err)
	}
	fmt.Fprint(e.Stderr, prompt)
	defer fmt.Fprintln(e.Stderr)
	line, err := unless(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if ctx.Err() != nil {
		term.Restore(fd, before)
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("ask for passphrase: %w", err)
	}
	return line, nil
}

// unless returns what read returns, unless ctx ends first: a read from a terminal cannot be
// interrupted, so it is left to go on in vain until the process ends.
func unless[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		v, err := read()
		answered <- answer{v, err}
	}()
	select {
	case a := <-answered:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// readKey returns the signing key in a file: the 64 hexadecimal digits of a state directory's key, or
// a sealed key, which takes the passphrase.
func (e *Env) readKey(ctx context.Context, path, passphraseFile string) (ed25519.PrivateKey, error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if strings.HasPrefix(string(text), "-----BEGIN VINE SEALED KEY") {
		passphrase, err := e.passphrase(ctx, passphraseFile, false)
		if err != nil {
			return nil, err
		}
		e.say("opening the sealed key; this takes a moment, on purpose")
		key, err := tables.OpenKey(passphrase, text)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", path, err)
		}
		return key, nil
	}
	// The content is not quoted: it may be a secret. Delegations may follow the key.
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	seed, err := hex.DecodeString(strings.TrimSpace(first))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("key file %s holds no key: want %d hexadecimal digits or a sealed key", path, 2*ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// userKey returns the key that signs for the user: from path, $VINE_USER or the state directory.
func (e *Env) userKey(ctx context.Context, path string) (ed25519.PrivateKey, error) {
	c, err := e.credential(ctx, path)
	return c.key, err
}
