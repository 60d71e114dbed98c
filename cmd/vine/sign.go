package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vine-mesh/vine/tables"
)

func newSignCommand(e *Env) *cobra.Command {
	var key, passphrase, kind, out string
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a document with a key, offline",
		Long: `Signs a document, without a VR or a network. With --kind, FILE is the body of a new document as
"vine show --json" prints bodies; without it, FILE is a signed document that gets one more signature.
"-" reads standard input.

The signed document goes to standard output, or to the file that --out names. A program signs only
what every VR could accept; whether it does depends on who signed. For the next root "vine root" does more:
it shows what changes, keeps what a retired key has signed, and says which signatures are missing.`,
		Example: `  vine sign --key root.key.sealed --kind root root-2.json --out root-2.vine
  vine sign --key other-root.key.sealed root-2.vine --out root-2-both.vine`,
		Args: takes("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" {
				return usage("say which key signs with --key")
			}
			seal := countersign
			if kind != "" {
				k, err := parseKind(kind)
				if err != nil {
					return err
				}
				seal = func(raw []byte, s signer) (tables.Envelope, error) { return signBody(k, raw, s) }
			}
			if out == "" && !e.json && isTerminal(e.Stdout) {
				return usage("a signed document is no text for a terminal; give --out FILE")
			}
			raw, err := e.readDocumentFile(c.Context(), args[0])
			if err != nil {
				return err
			}
			if kind != "" { // a wrong body is told before a passphrase is asked for
				if _, err := seal(raw, nil); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
			}
			private, err := e.readKey(c.Context(), key, passphrase)
			if err != nil {
				return err
			}
			envelope, err := seal(raw, signer(private))
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return e.putDocument(tables.AppendEnvelope(nil, envelope), out)
		},
	}
	c.Flags().StringVar(&key, "key", "", "`FILE` with the key: a .key of a state directory, or a sealed root key")
	c.Flags().StringVar(&passphrase, "passphrase-file", "", "`FILE` with the passphrase of a sealed key (default: ask)")
	c.Flags().StringVar(&kind, "kind", "", "`KIND` of the new document, such as root")
	c.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write, which must not exist yet (default: standard output)")
	return c
}

// A signer is an Ed25519 private key; none to see only whether a body could be signed.
type signer []byte

func signBody(k tables.Kind, raw []byte, s signer) (tables.Envelope, error) {
	body, err := newBody(k)
	if err != nil {
		return tables.Envelope{}, err
	}
	if err := readBody(bytes.NewReader(raw), body); err != nil {
		return tables.Envelope{}, err
	}
	if s == nil {
		return tables.Envelope{}, nil
	}
	return tables.SealBody(reflect.ValueOf(body).Elem().Interface().(tables.Body), []byte(s))
}

func countersign(raw []byte, s signer) (tables.Envelope, error) {
	envelope, rest, err := tables.ParseEnvelope(raw)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the document", len(rest))
	}
	if err != nil {
		return tables.Envelope{}, err
	}
	if err := envelope.Verify(); err != nil {
		return tables.Envelope{}, err
	}
	return tables.Countersign(envelope, []byte(s))
}

// putDocument writes a document to the file out or, without one, to standard output.
func (e *Env) putDocument(raw []byte, out string) error {
	s, err := describe(raw)
	if err == nil {
		err = s.problem
	}
	if err != nil {
		return fmt.Errorf("the document is not one that a VR could accept: %w", err)
	}
	if out != "" {
		if err := writeNew(out, raw, 0o644); err != nil {
			return err
		}
		e.say("signed %s %s, version %d, by %s", s.envelope.Kind, s.key, s.version, s.signers())
	}
	if e.json {
		d := document{"document": s.json()}
		if out == "" {
			d["envelope"] = base64.StdEncoding.EncodeToString(raw)
		}
		return e.printJSON(d)
	}
	if out == "" {
		_, err = e.Stdout.Write(raw)
	}
	return err
}

// writeNew writes a file that does not exist yet, whole or not at all, and durably.
func writeNew(path string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; it is not replaced", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	syncDir(filepath.Dir(path))
	return nil
}

// syncDir makes changes of names in a directory last. Not every file system can.
func syncDir(path string) {
	if d, err := os.Open(path); err == nil {
		d.Sync()
		d.Close()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
