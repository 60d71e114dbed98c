package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another process holds the directory.
var ErrInUse = errors.New("the state directory is in use by another vine process")

// A Dir is an open state directory. Its lock keeps a second VR out until Close.
type Dir struct {
	path string
	lock *os.File
	next uint64 // number of the next bundle; Invariant: greater than every bundle on disk
}

// Open opens the state directory at path, making it with mode 0700 when it is absent. It returns
// an error that wraps ErrInUse when another process has it open.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(filepath.Join(path, bundleDir), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrInUse)
		}
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	return &Dir{path: path, lock: lock, next: 1}, nil
}

// Path returns the directory's path.
func (d *Dir) Path() string { return d.path }

// Close lets the directory go.
func (d *Dir) Close() error { return d.lock.Close() }

// Key returns the 32-byte secret called name and whether it exists. A key file that others may
// read is refused.
func (d *Dir) Key(name string) (key [32]byte, ok bool, err error) {
	path := d.keyPath(name)
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return key, false, nil
	}
	if err != nil {
		return key, false, fmt.Errorf("read key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return key, false, fmt.Errorf("key file %s is open to others (mode %04o): run chmod 600 on it", path, st.Mode().Perm())
	}
	text, err := os.ReadFile(path)
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
	if _, err := os.Stat(d.keyPath(name)); err == nil {
		return fmt.Errorf("key %s exists", name)
	}
	return writeFile(d.keyPath(name), []byte(hex.EncodeToString(key[:])+"\n"))
}

// RemoveKey removes the secret called name, if there is one.
func (d *Dir) RemoveKey(name string) error {
	err := os.Remove(d.keyPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Dir) keyPath(name string) string { return filepath.Join(d.path, name+".key") }

// Note returns the small text called name, or "" when there is none.
func (d *Dir) Note(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// SetNote stores the small text called name, durably, replacing what was there.
func (d *Dir) SetNote(name, text string) error {
	return writeFile(filepath.Join(d.path, name), []byte(text+"\n"))
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

// writeFile puts content at path so that after a crash there is the old content or the new,
// never a mixture: temporary file, fsync, rename, fsync of the directory.
func writeFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return fmt.Errorf("store %s: %w", filepath.Base(path), err)
	}
	defer os.Remove(tmp.Name()) // a no-op after the rename
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", filepath.Base(path), err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
