package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vine-mesh/vine/internal/durable"
	"github.com/vine-mesh/vine/node/config"
)

// A configEdit is an addition to the configuration file, checked and not yet written.
type configEdit struct {
	path     string
	old, new []byte
	existed  bool
	text     string // what is added
}

// planConfig adds TOML text to the end of the configuration file and checks that the result is one
// that `vine up` takes and that want holds for it. It writes nothing. A file in which the text does
// not fit is left to the user: then the error says what to add.
func (e *Env) planConfig(text string, want func(config.Config) bool) (*configEdit, error) {
	path, _ := e.configPath()
	old, err := os.ReadFile(path)
	edit := &configEdit{path: path, old: old, existed: err == nil, text: text}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		edit.new = append(edit.new, '\n')
	}
	edit.new = append(append(append([]byte{}, old...), edit.new...), "\n"+text...)
	if !edit.existed {
		edit.new = append([]byte("# `vine config default` prints every key with its meaning.\n\n"), text...)
	}
	c, err := config.Parse(bytes.NewReader(edit.new))
	if err != nil || !want(c) {
		return nil, &fault{
			fmt.Errorf("%s has settings of its own there", path), exitConfig,
			"put this into the file yourself, then run the command without the flag: " + oneLine(text),
		}
	}
	return edit, nil
}

// write replaces the file in one step.
func (c *configEdit) write() error {
	mode := fs.FileMode(0o644)
	if st, err := os.Stat(c.path); err == nil {
		mode = st.Mode().Perm()
	}
	err := durable.MkdirAll(durable.OS, filepath.Dir(c.path), 0o755)
	if err == nil {
		err = durable.Replace(durable.OS, c.path, c.new, mode)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// undo puts the file back as it was.
func (c *configEdit) undo() {
	if !c.existed {
		os.Remove(c.path)
		return
	}
	back := configEdit{path: c.path, new: c.old}
	back.write()
}

func oneLine(text string) string {
	return string(bytes.ReplaceAll(bytes.TrimSpace([]byte(text)), []byte("\n"), []byte(" / ")))
}
