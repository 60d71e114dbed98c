package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
)

func newAuthorityCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "authority",
		Short: "An authority on a machine without a network",
		Long: `The authority key can be on a machine that is connected to nothing. What is asked for piles up at the VRs.
"export" writes all that a VR knows into a file, which is carried to that machine; there "pending" shows what was
asked for and what would be decided, and "sign" signs it, into a file that "import" gives to any VR. Each step can be
done again at any time.

Documents are the same as those of an authority inside a VR, so no VR can tell. Only one of the two may use a key.`,
		Example: `  vine authority export --out asked.vine
  vine authority pending asked.vine --key authority.key
  vine authority sign asked.vine --key authority.key --out signed.vine
  vine authority import signed.vine`,
	}, newAuthorityKeyCommand(e), newAuthorityExportCommand(e), newAuthorityPendingCommand(e), newAuthoritySignCommand(e), newAuthorityImportCommand(e))
}

func newAuthorityExportCommand(e *Env) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "export --out FILE",
		Short:   "Write what a VR knows into a file for the authority",
		Long:    `Writes every document that the running VR has into a file, with the requests that wait for an answer.`,
		Example: "  vine authority export --out asked.vine",
		Args:    takes(),
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "" {
				return usage("give --out FILE")
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				documents, err := vr.Bundle(ctx)
				if err != nil {
					return err
				}
				if err := writeNew(out, state.AppendBundle(nil, documents), 0o644); err != nil {
					return err
				}
				e.say("%d documents are in %s", len(documents), out)
				if e.json {
					return e.printJSON(document{"file": out, "documents": len(documents)})
				}
				return nil
			})
		},
	}
	c.Flags().StringVarP(&out, "out", "o", "", "`FILE` to write, which must not exist yet")
	return c
}

func newAuthorityImportCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Give a VR what the authority has signed",
		Long: `Gives the running VR the documents of a file. Each has to prove itself, as if it came from another VR; those that
are news are stored, used and told to the others.`,
		Example: "  vine authority import signed.vine",
		Args:    takes("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			raw, err := readBundleFile(args[0])
			if err != nil {
				return err
			}
			return e.call(c.Context(), func(ctx context.Context, vr *control.Client) error {
				got, err := vr.Import(ctx, raw)
				if err != nil {
					return err
				}
				for _, reason := range got.Reasons {
					e.say("refused: %s", clean(reason))
				}
				if e.json {
					return e.printJSON(document{"imported": got})
				}
				return e.pairs("kept", fmt.Sprint(got.Kept), "known", fmt.Sprint(got.Known), "refused", fmt.Sprint(got.Refused))
			})
		},
	}
}

// readBundleFile reads a file that holds a bundle, as a whole.
func readBundleFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, control.BundleBytesMax+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > control.BundleBytesMax:
		return nil, fmt.Errorf("%s is longer than %d bytes", path, control.BundleBytesMax)
	}
	if _, err := state.ParseBundle(raw); err != nil {
		return nil, fmt.Errorf("%s is not a file of vine authority export or sign, or it is damaged", path)
	}
	return raw, nil
}

// loadBundles returns a store with the documents of bundle files, one of which may be missing where that is said. All have to be
// of one federation.
func loadBundles(now time.Time, path, maybe string) (*tables.Store, error) {
	var documents []*tables.Document
	for _, name := range []string{maybe, path} {
		raw, err := readBundleFile(name)
		if errors.Is(err, os.ErrNotExist) && name == maybe {
			continue
		}
		if err != nil {
			return nil, err
		}
		envelopes, _ := state.ParseBundle(raw)
		for _, b := range envelopes {
			d, err := tables.ParseDocument(b)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if root, ok := d.Body().(tables.Root); ok && root.Version == 1 && len(documents) > 0 && documents[0].Kind() == tables.KindRoot && d.Hash() != documents[0].Hash() {
				return nil, fmt.Errorf("%s is of another federation than %s", path, maybe)
			}
			documents = append(documents, d)
		}
		tables.SortForLoad(documents)
	}
	store := tables.NewStore(tables.Hash{})
	store.Load(now, documents, tables.FromDisk) // what is not acceptable is not current
	if store.FederationID().IsZero() {
		return nil, fmt.Errorf("%s holds no federation: write it with vine authority export", path)
	}
	store.TakeChanges()
	return store, nil
}

// requestName is how commands call a request: the beginning of its ID.
func requestName(id tables.Hash) string { return hex.EncodeToString(id[:8]) }

// findRequest returns the one open request whose ID begins so.
func findRequest(v *tables.View, text string) (id tables.Hash, err error) {
	found := 0
	for _, d := range v.Requests() {
		h := d.Hash()
		if v.Open(h) && strings.HasPrefix(hex.EncodeToString(h[:]), strings.ToLower(text)) && len(text) >= 8 {
			id, found = h, found+1
		}
	}
	switch found {
	case 0:
		return id, usage("no open request is called %q: vine authority pending lists them", text)
	case 1:
		return id, nil
	}
	return id, usage("%q is the beginning of %d requests: give more of it", text, found)
}
