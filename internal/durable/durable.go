// Package durable writes files that are what they say after a power loss: whole files replaced in one step, and logs that only
// grow. All of the program's own files go through it.
//
// The rules, and what they are against:
//
//   - A file is written under another name, synced, renamed, and its directory synced: after a crash there is the old content or the
//     new. A new directory is an entry of its parent, which is synced too.
//   - A write whose sync has failed is gone, though the file still reads as if it were there and the next sync succeeds: the kernel
//     reports a failed write-back once and then takes the page for clean. So nothing is ever synced again; it is written again, to
//     another file. A Log whose sync has failed is rewritten whole.
//   - A file system that cannot sync directories at all (EINVAL, as some FUSE ones) is used as it is.
//
// FS is what this needs of a file system. OS is the real one; package durabletest has one that loses power.
package durable

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// An FS is a file system. Names are paths. Errors wrap fs.ErrNotExist and fs.ErrExist where they say that. But for SyncDir and
// File.Sync, what a method has done may be undone by a crash, in any order.
type FS interface {
	// ReadFile returns the content of a file.
	ReadFile(name string) ([]byte, error)
	// Names returns the names in a directory, sorted.
	Names(dir string) ([]string, error)
	// Mode returns the mode of a file or directory.
	Mode(name string) (fs.FileMode, error)
	// Mkdir makes a directory; its parent exists.
	Mkdir(name string, mode fs.FileMode) error
	// Create makes a file that does not exist yet, with exactly that mode.
	Create(name string, mode fs.FileMode) (File, error)
	// Append opens a file to write at its end.
	Append(name string) (File, error)
	// Rename gives a file another name in its directory, in place of what has it.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// SyncDir makes the names in a directory last.
	SyncDir(name string) error
	// Lock makes a file if it is absent and locks it until it is closed. The error wraps ErrLocked when somebody else has it.
	Lock(name string, mode fs.FileMode) (io.Closer, error)
}

// A File is open for writing.
type File interface {
	io.WriteCloser
	// Sync makes the content last. An error means that what was written since the last Sync may never be on disk, whatever a
	// later Sync says.
	Sync() error
}

// ErrLocked says that another process has a lock.
var ErrLocked = errors.New("locked by another process")

// tempPrefix is how names of files begin that are not finished.
const tempPrefix = ".tmp-"

// Replace makes a file hold content, with that mode. After a crash at any point it holds that or what it held before; when Replace has
// returned nil it holds content. After an error it is one of the two, and may change back with a crash: call Replace again.
func Replace(f FS, path string, content []byte, mode fs.FileMode) error {
	temp, err := write(f, filepath.Dir(path), content, mode)
	if err == nil {
		if err = f.Rename(temp, path); err != nil {
			_ = f.Remove(temp)
		}
	}
	if err == nil {
		err = f.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Create is Replace for a file that must not exist yet; else the error wraps fs.ErrExist. Of two processes that make the same file in
// the same moment the later one wins.
func Create(f FS, path string, content []byte, mode fs.FileMode) error {
	if _, err := f.Mode(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return Replace(f, path, content, mode)
}

// Remove removes a file, if there is one, for good.
func Remove(f FS, path string) error {
	err := f.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.SyncDir(filepath.Dir(path))
}

// MkdirAll makes a directory and those of its parents that do not exist. All that it made are there after a crash, and dir is also if
// it was there: who made it may not have come to syncing its parent.
func MkdirAll(f FS, dir string, mode fs.FileMode) error {
	dir = filepath.Clean(dir)
	switch m, err := f.Mode(dir); {
	case err == nil && m.IsDir():
		if err := f.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	case err == nil:
		return fmt.Errorf("make directory %s: a file is in its place", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return fmt.Errorf("make directory %s: %w", dir, fs.ErrNotExist)
	}
	if err := MkdirAll(f, parent, mode); err != nil {
		return err
	}
	if err := f.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.SyncDir(parent)
}

// Sweep removes from a directory what a crash has left of files that were being written. It does nothing about errors: the next one
// tries again.
func Sweep(f FS, dir string) {
	names, err := f.Names(dir)
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, tempPrefix) {
			_ = f.Remove(filepath.Join(dir, name))
		}
	}
}

// write makes a file of another name in dir that holds content, synced.
func write(f FS, dir string, content []byte, mode fs.FileMode) (temp string, err error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	temp = filepath.Join(dir, tempPrefix+hex.EncodeToString(random[:]))
	file, err := f.Create(temp, mode)
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = f.Remove(temp)
		return "", err
	}
	return temp, nil
}

// A Log is a file to whose end records are added. It is used by one goroutine at a time. The zero Log with FS, Path and Whole set is ready.
type Log struct {
	FS   FS
	Path string
	// Whole returns how many bytes at the beginning of a log's content are whole records.
	Whole func(content []byte) int

	// trusted says that all that the file reads as is on disk, and that it ends with a whole record.
	trusted bool
}

// Append adds a record. When it returns nil the record is on disk; after an error it may be there or not, or a part of it. The first
// Append, and each after an error, writes the file anew: what the file reads as may not be what is on disk.
func (l *Log) Append(record []byte) error {
	if !l.trusted {
		content, err := l.Read()
		if err != nil {
			return err
		}
		return l.Replace(append(content, record...))
	}
	l.trusted = false
	file, err := l.FS.Append(l.Path)
	if err != nil {
		return fmt.Errorf("append to %s: %w", l.Path, err)
	}
	_, err = file.Write(record)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("append to %s: %w", l.Path, err)
	}
	l.trusted = true
	return nil
}

// Replace makes the log hold content, as the function Replace does.
func (l *Log) Replace(content []byte) error {
	err := Replace(l.FS, l.Path, content, 0o600)
	l.trusted = err == nil
	return err
}

// Read returns the whole records of the log; none if there is no file. It changes nothing.
func (l *Log) Read() ([]byte, error) {
	content, err := l.FS.ReadFile(l.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return content[:l.Whole(content)], nil
}
