package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vine-mesh/vine/internal/durable"
)

// ErrInUse says that another process holds the directory.
var ErrInUse = errors.New("the state directory is in use by another vine process")

// A Dir is an open state directory. Its lock keeps a second VR out until Close.
type Dir struct {
	fs    durable.FS
	path  string
	lock  io.Closer
	next  uint64 // number of the next bundle; Invariant: greater than every bundle on disk
	marks durable.Log
}

// Open opens the state directory at path, making it with mode 0700 when it is absent. It returns
// an error that wraps ErrInUse when another process has it open.
func Open(path string) (*Dir, error) { return OpenOn(durable.OS, path) }

// OpenOn is Open on another file system.
func OpenOn(fs durable.FS, path string) (*Dir, error) {
	for _, dir := range []string{path, filepath.Join(path, bundleDir)} {
		if err := durable.MkdirAll(fs, dir, 0o700); err != nil {
			return nil, fmt.Errorf("make state directory: %w", err)
		}
	}
	lock, err := fs.Lock(filepath.Join(path, "lock"), 0o600)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	for _, dir := range []string{path, filepath.Join(path, bundleDir), filepath.Join(path, setDir)} {
		durable.Sweep(fs, dir)
	}
	return dirOn(fs, path, lock), nil
}

func dirOn(fs durable.FS, path string, lock io.Closer) *Dir {
	return &Dir{fs: fs, path: path, lock: lock, next: 1, marks: durable.Log{FS: fs, Path: filepath.Join(path, marksName), Whole: wholeRecords}}
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// Close lets the directory go.
func (d *Dir) Close() error { return d.lock.Close() }

// Key returns the 32-byte secret called name and whether it exists. A key file that others may
// read is refused.
func (d *Dir) Key(name string) (key [32]byte, ok bool, err error) {
	path := d.keyPath(name)
	mode, err := d.fs.Mode(path)
	if errors.Is(err, fs.ErrNotExist) {
		return key, false, nil
	}
	if err != nil {
		return key, false, fmt.Errorf("read key: %w", err)
	}
	if mode.Perm()&0o077 != 0 {
		return key, false, fmt.Errorf("key file %s is open to others (mode %04o): run chmod 600 on it", path, mode.Perm())
	}
	text, err := d.fs.ReadFile(path)
	if err != nil {
		return key, false, fmt.Errorf("read key: %w", err)
	}
	// The content is not quoted: it may be a secret.
	if n, err := hex.Decode(key[:], []byte(strings.TrimSpace(string(text)))); err != nil || n != len(key) {
		return key, false, fmt.Errorf("key file %s is damaged: want %d hex digits", path, 2*len(key))
	}
	return key, true, nil
}

// SetKey stores the 32-byte secret called name, durably, with mode 0600. It does not replace one.
func (d *Dir) SetKey(name string, key [32]byte) error {
	if err := durable.Create(d.fs, d.keyPath(name), []byte(hex.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		return fmt.Errorf("store key: %w", err)
	}
	return nil
}

// RemoveKey removes the secret called name, if there is one.
func (d *Dir) RemoveKey(name string) error { return durable.Remove(d.fs, d.keyPath(name)) }

func (d *Dir) keyPath(name string) string { return filepath.Join(d.path, name+".key") }

// Note returns the small text called name, or "" when there is none.
func (d *Dir) Note(name string) (string, error) {
	text, err := d.fs.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// SetNote stores the small text called name, durably, replacing what was there.
func (d *Dir) SetNote(name, text string) error {
	return durable.Replace(d.fs, filepath.Join(d.path, name), []byte(text+"\n"), 0o600)
}

// Boot counts one more start of this VR and returns the count, which is on disk before it
// returns. Handshakes are ordered by it, never by a clock.
func (d *Dir) Boot() (uint64, error) {
	text, err := d.Note("boot")
	if err != nil {
		return 0, fmt.Errorf("read boot count: %w", err)
	}
	var count uint64
	if text != "" {
		if count, err = strconv.ParseUint(text, 10, 64); err != nil {
			return 0, fmt.Errorf("boot count in %s is damaged: %w", filepath.Join(d.path, "boot"), err)
		}
	}
	count++
	if err := d.SetNote("boot", strconv.FormatUint(count, 10)); err != nil {
		return 0, fmt.Errorf("store boot count: %w", err)
	}
	return count, nil
}
