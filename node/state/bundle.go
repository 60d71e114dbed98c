package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vine-mesh/vine/internal/durable"
)

const (
	bundleDir    = "documents"
	setDir       = "installed"
	bundleSuffix = ".bundle"
	bundleMagic  = "vine bundle 1\n"
	// documentBytesMax bounds one document read back; it is above every cap of package tables.
	documentBytesMax = 1 << 20
)

var errDamaged = errors.New("bundle is damaged")

// Append stores documents as one bundle: after a crash all of them are there, or none. What it could not store may be there after a
// crash all the same.
func (d *Dir) Append(documents ...[]byte) error {
	if len(documents) == 0 {
		return nil
	}
	// A number whose file may be there is not used again: Compact removes what has an older one than its own.
	path := d.bundlePath(d.next)
	d.next++
	if err := durable.Replace(d.fs, path, AppendBundle(nil, documents), 0o600); err != nil {
		_ = d.fs.Remove(path) // it may read as if it were on disk: the next start would believe that
		return fmt.Errorf("store documents: %w", err)
	}
	return nil
}

// Load returns every document on disk, oldest bundle first, and the names of damaged bundles; see SetAside.
func (d *Dir) Load() (documents [][]byte, damaged []string, err error) {
	// A bundle may have its name only until the next crash: a VR that was killed did not come to this.
	if err := d.fs.SyncDir(filepath.Join(d.path, bundleDir)); err != nil {
		return nil, nil, fmt.Errorf("load documents: %w", err)
	}
	numbers, err := d.bundles()
	if err != nil {
		return nil, nil, err
	}
	for _, n := range numbers {
		path := d.bundlePath(n)
		content, err := d.fs.ReadFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("load documents: %w", err)
		}
		docs, err := ParseBundle(content)
		if err != nil {
			damaged = append(damaged, filepath.Base(path))
			continue
		}
		documents = append(documents, docs...)
	}
	if len(numbers) > 0 {
		d.next = max(d.next, numbers[len(numbers)-1]+1)
	}
	return documents, damaged, nil
}

// SetAside gives damaged bundles another name, by which Load does not find them. Note first, durably, what depends on their absence.
func (d *Dir) SetAside(damaged []string) error {
	for _, name := range damaged {
		path := filepath.Join(d.path, bundleDir, name)
		if err := d.fs.Rename(path, path+".bad"); err != nil {
			return fmt.Errorf("set damaged bundle aside: %w", err)
		}
	}
	return nil
}

// readTries is how often Read starts again when bundles vanish under it: a running VR may be putting
// them together in a new one.
const readTries = 5

// Read returns the documents in the state directory at path, oldest first, and changes nothing: it
// takes no lock, so it works beside a running VR. Damaged bundles are left out. Without a directory
// there are no documents.
func Read(path string) ([][]byte, error) {
	d := dirOn(durable.OS, path, nil)
	for try := 1; ; try++ {
		documents, err := d.read()
		switch {
		case err == nil:
			return documents, nil
		case errors.Is(err, fs.ErrNotExist) && try < readTries:
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		default:
			return nil, fmt.Errorf("read state directory: %w", err)
		}
	}
}

func (d *Dir) read() (documents [][]byte, err error) {
	numbers, err := d.bundles()
	if err != nil {
		return nil, err
	}
	for _, n := range numbers {
		content, err := d.fs.ReadFile(d.bundlePath(n))
		if err != nil {
			return nil, err
		}
		if list, err := ParseBundle(content); err == nil {
			documents = append(documents, list...)
		}
	}
	return documents, nil
}

// Bundles returns how many bundles are on disk: a measure of when to call Compact.
func (d *Dir) Bundles() int {
	numbers, err := d.bundles()
	if err != nil {
		return 0
	}
	return len(numbers)
}

// Compact replaces every bundle by one that holds documents. A crash on the way leaves the old
// bundles beside the new one, which Load reads in order with the same result.
func (d *Dir) Compact(documents [][]byte) error {
	old, err := d.bundles()
	if err != nil {
		return err
	}
	if err := d.Append(documents...); err != nil {
		return err
	}
	for _, n := range old {
		if err := d.fs.Remove(d.bundlePath(n)); err != nil {
			return fmt.Errorf("compact documents: %w", err)
		}
	}
	return d.fs.SyncDir(filepath.Join(d.path, bundleDir))
}

// SetSet stores documents as the set called name, replacing the one of that name: after a crash
// there is the old set or the new one.
func (d *Dir) SetSet(name string, documents [][]byte) error {
	if err := durable.MkdirAll(d.fs, filepath.Join(d.path, setDir), 0o700); err != nil {
		return fmt.Errorf("store set: %w", err)
	}
	return durable.Replace(d.fs, d.setPath(name), AppendBundle(nil, documents), 0o600)
}

// Sets returns every set on disk. A damaged one is left out.
func (d *Dir) Sets() ([][][]byte, error) {
	names, err := d.fs.Names(filepath.Join(d.path, setDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load sets: %w", err)
	}
	if len(names) > 0 { // as Load
		if err := d.fs.SyncDir(filepath.Join(d.path, setDir)); err != nil {
			return nil, fmt.Errorf("load sets: %w", err)
		}
	}
	var sets [][][]byte
	for _, name := range names {
		if !strings.HasSuffix(name, bundleSuffix) {
			continue
		}
		content, err := d.fs.ReadFile(filepath.Join(d.path, setDir, name))
		if err != nil {
			return nil, fmt.Errorf("load set: %w", err)
		}
		if documents, err := ParseBundle(content); err == nil {
			sets = append(sets, documents)
		}
	}
	return sets, nil
}

// RemoveSet removes the set called name, if there is one.
func (d *Dir) RemoveSet(name string) error { return durable.Remove(d.fs, d.setPath(name)) }

func (d *Dir) setPath(name string) string { return filepath.Join(d.path, setDir, name+bundleSuffix) }

func (d *Dir) bundlePath(n uint64) string {
	return filepath.Join(d.path, bundleDir, fmt.Sprintf("%012d%s", n, bundleSuffix))
}

// bundles returns the numbers of the bundles on disk, sorted.
func (d *Dir) bundles() ([]uint64, error) {
	names, err := d.fs.Names(filepath.Join(d.path, bundleDir))
	if err != nil {
		return nil, fmt.Errorf("list documents: %w", err)
	}
	var numbers []uint64
	for _, name := range names {
		text, ok := strings.CutSuffix(name, bundleSuffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// AppendBundle encodes a bundle: the magic line, each document behind its 4-byte big-endian
// length, and the SHA-256 of all that.
func AppendBundle(b []byte, documents [][]byte) []byte {
	start := len(b)
	b = append(b, bundleMagic...)
	for _, doc := range documents {
		b = binary.BigEndian.AppendUint32(b, uint32(len(doc)))
		b = append(b, doc...)
	}
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

// ParseBundle reads what AppendBundle wrote. The documents are parts of b.
func ParseBundle(b []byte) ([][]byte, error) {
	if len(b) < len(bundleMagic)+sha256.Size || !bytes.HasPrefix(b, []byte(bundleMagic)) {
		return nil, errDamaged
	}
	body, tail := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], tail) {
		return nil, errDamaged
	}
	var documents [][]byte
	for body = body[len(bundleMagic):]; len(body) > 0; {
		if len(body) < 4 {
			return nil, errDamaged
		}
		n := binary.BigEndian.Uint32(body)
		if body = body[4:]; n > documentBytesMax || uint64(n) > uint64(len(body)) {
			return nil, errDamaged
		}
		documents, body = append(documents, body[:n:n]), body[n:]
	}
	return documents, nil
}
