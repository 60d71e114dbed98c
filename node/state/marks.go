package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// marksName is the file of high-water marks: records one after another, each the 4-byte big-endian
// length of its content, the content, and the SHA-256 of both.
const marksName = "marks"

func (d *Dir) marksPath() string { return filepath.Join(d.path, marksName) }

// AppendMarks adds a record of high-water marks, durably. Call it after the Append of the documents
// that they are the marks of: a document without its mark is its own mark, a mark without its
// document would keep out the version before.
func (d *Dir) AppendMarks(marks []byte) error {
	f, err := os.OpenFile(d.marksPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store marks: %w", err)
	}
	_, err = f.Write(appendRecord(nil, marks))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(d.path)
	}
	if err != nil {
		// A torn record would hide those after it.
		_, rerr := d.Marks()
		return fmt.Errorf("store marks: %w", errors.Join(err, rerr))
	}
	return nil
}

// SetMarks replaces every record by one, durably: after a crash there are the old ones or the new.
func (d *Dir) SetMarks(marks []byte) error {
	return writeFile(d.marksPath(), appendRecord(nil, marks))
}

// Marks returns the records, oldest first, up to the first that a crash or the disk has damaged;
// it removes that and what follows.
func (d *Dir) Marks() ([][]byte, error) {
	content, err := os.ReadFile(d.marksPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load marks: %w", err)
	}
	var records [][]byte
	rest := content
	for len(rest) > 0 {
		record, after, ok := parseRecord(rest)
		if !ok {
			if err := writeFile(d.marksPath(), content[:len(content)-len(rest)]); err != nil {
				return nil, err
			}
			break
		}
		records, rest = append(records, record), after
	}
	return records, nil
}

func appendRecord(b, content []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, content...)
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

func parseRecord(b []byte) (content, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, b, false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if uint64(len(b)) < 4+n+sha256.Size {
		return nil, b, false
	}
	body, tail := b[:4+n], b[4+n:]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], tail[:sha256.Size]) {
		return nil, b, false
	}
	return body[4:], tail[sha256.Size:], true
}
