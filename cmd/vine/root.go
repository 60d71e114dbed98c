package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
)

func newRootKeysCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "root",
		Short: "The keys above the federation: replace the authority key or root keys",
		Long: `The root document says which keys are the authority and which root keys, how many of them together, may say otherwise.
Its next version counts when enough of the root keys before it and enough of its own have signed it.

"draft" writes a proposal for it into a file. The file goes from one holder of a root key to the next, on machines that
need no network: "show" says plainly what changes and how many signatures are missing, "sign" adds one. When it is whole,
"publish" gives it to any VR. docs/drills.md has the steps for a lost key and for a stolen one.`,
		Example: `  vine authority export --out known.vine
  vine root draft known.vine --retire-authority k5yq7hd2mzraw3cslt4exo6vbn2pjf5g --add-authority 5f3c0e… --out root-2.vine
  vine root show root-2.vine
  vine root sign root-2.vine --key root.key.sealed --out root-2-signed.vine
  vine root publish root-2-signed.vine`,
	}, newRootKeyCommand(e), newRootDraftCommand(e), newRootShowCommand(e), newRootSignCommand(e), newRootPublishCommand(e))
}

func newRootKeyCommand(e *Env) *cobra.Command {
	var out, passphrase string
	c := &cobra.Command{
		Use:   "key --out FILE",
		Short: "Make a root key, sealed by a passphrase",
		Long: `Makes a key for somebody who is to hold a root key, on a machine of his own, into a file that is sealed by a passphrase.
It prints the public half, which goes to whoever writes the draft with "vine root draft --add-root-key".`,
		Example: "  vine root key --out second.key.sealed",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "" {
				return usage("give --out FILE")
			}
			text, err := e.passphrase(c.Context(), passphrase, true)
			if err != nil {
				return err
			}
			_, key, err := ed25519.GenerateKey(e.Rand)
			if err != nil {
				return fmt.Errorf("make root key: %w", err)
			}
			e.say("sealing the root key; this takes a moment, on purpose")
			sealed, err := tables.SealKey(e.Rand, text, key)
			if err != nil {
				return err
			}
			return e.newKey(out, sealed, key, "vine root draft FILE --add-root-key ")
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write, which must not exist yet")
	c.Flags().StringVar(&passphrase, "passphrase-file", "", "`FILE` with the passphrase of the key (default: ask)")
	return c
}

func newAuthorityKeyCommand(e *Env) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "key --out FILE",
		Short: "Make a key for an authority that is to come",
		Long: `Makes an authority key. It is one only when a root says so: the public half, which this prints, goes to whoever writes the
draft with "vine root draft --add-authority". Then the file works with "vine authority sign", or, as authority.key in the
state directory of a VR, with that VR.`,
		Example: "  vine authority key --out authority.key",
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return usage("give --out FILE")
			}
			_, key, err := ed25519.GenerateKey(e.Rand)
			if err != nil {
				return fmt.Errorf("make authority key: %w", err)
			}
			return e.newKey(out, credential{key: key}.text(), key, "vine root draft FILE --add-authority ")
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write, which must not exist yet")
	return c
}

// newKey writes a new key file and prints the public half, with the command that it is for.
func (e *Env) newKey(out string, content []byte, key ed25519.PrivateKey, command string) error {
	if err := writeNew(out, content, 0o600); err != nil {
		return err
	}
	public := tables.PublicOf(key)
	text := hex.EncodeToString(public[:])
	if e.json {
		return e.printJSON(document{"file": absolute(out), "fingerprint": public.Fingerprint(), "key": text, "command": command + text})
	}
	return e.pairs("file", absolute(out), "fingerprint", public.Fingerprint(), "key", text)
}

func newRootShowCommand(e *Env) *cobra.Command {
	var against string
	c := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the root, or what a proposal changes and what it lacks",
		Long: `Shows the root that the running VR knows; or, of a file of "vine root draft" or "sign", what the proposed root changes, who
has signed it, and how many signatures are missing. It checks the file: whoever wrote it is not believed.

With --against it also shows which documents of a file of "vine authority export" would stop counting: make that export
yourself, at a VR that you trust.`,
		Example: `  vine root show
  vine root show root-2.vine --against known.vine`,
		Args: takes("[FILE]"),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
					raw, err := vr.Documents(ctx)
					if err != nil {
						return err
					}
					view, err := viewOf(raw, "the VR's answer", e.Now())
					if err != nil {
						return err
					}
					return e.printRoot(view)
				})
			}
			p, err := readProposal(e.Now(), args[0])
			if err != nil {
				return err
			}
			var now *tables.Store
			if against != "" {
				if now, err = loadBundles(e.Now(), against, ""); err != nil {
					return err
				}
				if now.FederationID() != p.before.FederationID() {
					return fmt.Errorf("%s is of another federation than %s", against, args[0])
				}
			}
			return e.printProposal(p, now)
		},
	}
	c.Flags().StringVar(&against, "against", "", "`FILE` of vine authority export: show what of it would stop counting")
	return c
}

func newRootSignCommand(e *Env) *cobra.Command {
	var key, passphrase, out string
	var sure bool
	c := &cobra.Command{
		Use:   "sign FILE --key FILE --out FILE",
		Short: "Sign a proposed root with a root key",
		Long: `Shows what the proposed root changes, asks, and writes the proposal with one more signature into a new file. No network is
needed. What has too few signatures counts nowhere: no VR keeps it.`,
		Example: "  vine root sign root-2.vine --key root.key.sealed --out root-2-signed.vine",
		Args:    takes("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case key == "":
				return usage("say with --key which root key signs")
			case out == "":
				return usage("give --out FILE")
			}
			p, err := readProposal(e.Now(), args[0])
			if err != nil {
				return err
			}
			e.sayProposal(p)
			if err := e.confirm(c.Context(), sure, fmt.Sprintf("Sign this as root version %d of %s?", p.next.Version, p.next.Federation)); err != nil {
				return err
			}
			private, err := e.readKey(c.Context(), key, passphrase)
			if err != nil {
				return err
			}
			if err := p.sign(private); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			if err := writeNew(out, p.bundle(), 0o644); err != nil {
				return err
			}
			e.say("the proposal with this signature is in %s: %s", out, p.advice())
			return e.printProposal(p, nil)
		},
	}
	c.Flags().StringVar(&key, "key", "", "`FILE` with a root key, as it is before the change or is to be after it")
	c.Flags().StringVar(&passphrase, "passphrase-file", "", "`FILE` with the passphrase of the key (default: ask)")
	c.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write, which must not exist yet")
	c.Flags().BoolVar(&sure, "yes", false, "do not ask")
	return c
}

func newRootPublishCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "publish FILE",
		Short: "Give a VR a root that enough keys have signed",
		Long: `Gives the running VR a proposal that lacks no signature, with all that belongs to it; the VR tells the others. Where no VR
that others listen to can be reached, "vine authority import FILE" at each VR does the same.`,
		Example: "  vine root publish root-2-signed.vine",
		Args:    takes("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := readProposal(e.Now(), args[0])
			if err != nil {
				return err
			}
			if !p.whole() {
				return fmt.Errorf("%s cannot count yet: %s", args[0], p.advice())
			}
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				got, err := vr.Import(ctx, raw)
				if err != nil {
					return err
				}
				known, err := vr.Documents(ctx)
				if err != nil {
					return err
				}
				view, err := viewOf(known, "the VR's answer", e.Now())
				if err != nil {
					return err
				}
				if d := view.Get(p.proposed.Key()); d == nil || d.Hash() != p.proposed.Hash() {
					for _, reason := range got.Reasons {
						e.say("refused: %s", clean(reason))
					}
					return fmt.Errorf("the VR has not taken the root: %w", control.ErrRefused)
				}
				if e.json {
					return e.printJSON(document{"imported": got, "version": p.next.Version})
				}
				return e.pairs("root", fmt.Sprintf("version %d counts at this VR", p.next.Version), "kept", fmt.Sprint(got.Kept), "known", fmt.Sprint(got.Known), "refused", fmt.Sprint(got.Refused))
			})
		},
	}
}

// bundleOf is state.AppendBundle of documents.
func bundleOf(documents []*tables.Document) []byte {
	raw := make([][]byte, len(documents))
	for i, d := range documents {
		raw[i] = d.Bytes()
	}
	return state.AppendBundle(nil, raw)
}
