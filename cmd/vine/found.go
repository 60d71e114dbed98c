package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/state"
)

// checkVirgin refuses a state directory that belongs to a federation already. It changes nothing.
func checkVirgin(dir string) error {
	documents, err := state.Read(dir)
	if err != nil {
		return err
	}
	taken := len(documents) > 0
	for _, name := range []string{"authority", "user"} {
		if _, err := os.Lstat(filepath.Join(dir, name+".key")); err == nil {
			taken = true
		}
	}
	if taken {
		return hinted(fmt.Errorf("%s belongs to a VR of a federation already", dir),
			"`vine show --state` shows which; to begin anew, move the directory away or name another configuration with --config")
	}
	return nil
}

// found makes the federation in memory. Keys that an earlier `vine join` left are used.
func (f founder) found(ctx context.Context, e *Env, dir string) (*node.Federation, error) {
	keys := map[string][32]byte{}
	for _, name := range node.FounderKeys() {
		key, err := e.readKey(ctx, filepath.Join(dir, name+".key"), "")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys[name] = [32]byte(key.Seed())
	}
	return node.Found(e.Now(), node.Founding{
		Name: f.name, Space: f.space, VR: f.vr, Site: f.site, UserName: f.user, Keys: keys, Rand: e.Rand,
	})
}

// storeFederation writes a federation to disk: the root key, the configuration, and last the keys
// and documents. On an error it takes back what it made.
func storeFederation(m *node.Federation, dir, rootKey string, sealed []byte, edit *configEdit) (err error) {
	var undo []func()
	defer func() {
		if err == nil {
			return
		}
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}()
	if err := writeNew(rootKey, sealed, 0o600); err != nil {
		return fmt.Errorf("root key: %w", err)
	}
	undo = append(undo, func() { os.Remove(rootKey) })
	undo = append(undo, removeMade(dir))
	d, err := state.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if edit != nil {
		if err := edit.write(); err != nil {
			return err
		}
		undo = append(undo, edit.undo)
	}
	return m.Store(d)
}

// removeMade returns a function that removes dir, and those of its parents that do not exist yet,
// with what state.Open puts there. What holds anything else stays.
func removeMade(dir string) func() {
	var absent []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); err == nil || filepath.Dir(d) == d {
			break
		}
		absent = append(absent, d)
	}
	_, lockErr := os.Lstat(filepath.Join(dir, "lock"))
	return func() {
		if lockErr != nil {
			os.Remove(filepath.Join(dir, "lock"))
			os.Remove(filepath.Join(dir, "documents"))
		}
		for _, d := range absent {
			os.Remove(d)
		}
	}
}
