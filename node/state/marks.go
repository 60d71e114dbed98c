package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// marksName is the file of high-water marks: records one after another, each the 4-byte big-endian
// length of its content, the content, and the SHA-256 of both.
const marksName = "marks"

// AppendMarks adds a record of high-water marks, durably. Call it after the Append of the documents
// that they are the marks of: a document without its mark is its own mark, a mark without its
// document would keep out the version before.
func (d *Dir) AppendMarks(marks []byte) error {
	if err := d.marks.Append(appendRecord(nil, marks)); err != nil {
		return fmt.Errorf("store marks: %w", err)
	}
	return nil
}

// SetMarks replaces every record by one, durably: after a crash there are the old ones or the new.
func (d *Dir) SetMarks(marks []byte) error {
	if err := d.marks.Replace(appendRecord(nil, marks)); err != nil {
		return fmt.Errorf("store marks: %w", err)
	}
	return nil
}

// Marks returns the records, oldest first, up to the first that a crash or the disk has damaged; that and what follows go with the
// next AppendMarks or SetMarks.
func (d *Dir) Marks() ([][]byte, error) {
	rest, err := d.marks.Read()
	if err != nil {
		return nil, fmt.Errorf("load marks: %w", err)
	}
	var records [][]byte
	for len(rest) > 0 {
		record, after, _ := parseRecord(rest)
		records, rest = append(records, record), after
	}
	return records, nil
}

// wholeRecords returns the length of the whole records at the beginning of b.
func wholeRecords(b []byte) int {
	rest := b
	for {
		_, after, ok := parseRecord(rest)
		if !ok {
			return len(b) - len(rest)
		}
		rest = after
	}
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
