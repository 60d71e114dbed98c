// Package durabletest has a file system in memory that loses power.
//
// What it keeps is what the rules of POSIX promise and no more. A write is in 512-byte sectors, of which a crash keeps any; a file
// grows before what it grows by is there. A new name, a name taken over, a name removed are changes of a directory, each of which a
// crash keeps or not, whatever the order. Sync makes the content of one file last, SyncDir the names of one directory. A sync that
// fails says so once: what it was for may never be on disk, goes on reading as if it were, and the next sync succeeds.
package durabletest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"github.com/vine-mesh/vine/internal/durable"
)

// sector is what a disk writes at once.
const sector = 512

// An Op is one operation that changes a disk.
type Op struct {
	Kind string // mkdir, create, write, sync, rename, remove, syncdir
	Name string
}

// A Disk is a durable.FS. It is used by one goroutine at a time.
type Disk struct {
	root *node
	ops  int
	// Fault, if set, is asked before each operation; what it returns is what becomes of that. A write that fails has written half.
	Fault func(op Op) error
	// After, if set, is called after each operation: the places for a crash.
	After func(op Op)
	// Lies says that syncs do nothing and say that they did: for tests of tests.
	Lies func(op Op) bool
}

// A node is a file or a directory, as it reads and as it is on disk.
type node struct {
	mode fs.FileMode
	// of a file
	content, stable []byte
	dirty           []extent // of content, not synced
	// of a directory
	names, stableNames map[string]*node
	changes            []change // of names, not synced
}

// An extent is where a write went.
type extent struct{ from, to int }

// A change gives a name to another node, or to none.
type change struct {
	name string
	to   *node
}

// New returns an empty disk.
func New() *Disk { return &Disk{root: newDir(0o755)} }

func newDir(mode fs.FileMode) *node {
	return &node{mode: mode | fs.ModeDir, names: map[string]*node{}, stableNames: map[string]*node{}}
}

// Ops returns how many operations there were.
func (d *Disk) Ops() int { return d.ops }

// Crash returns what may be on the disk when the power goes now. The same randomness gives the same disk; without any, all that was not
// synced is lost. The disk itself goes on.
func (d *Disk) Crash(rng *rand.Rand) *Disk {
	keep := func() bool { return rng != nil && rng.IntN(2) == 0 }
	return &Disk{root: d.root.crash(keep, map[*node]*node{})}
}

// Kill returns what is there when the program ends now and the machine goes on: all that was done.
func (d *Disk) Kill() *Disk {
	return &Disk{root: d.root.copy(map[*node]*node{})}
}

func (n *node) crash(keep func() bool, done map[*node]*node) *node {
	if n == nil || done[n] != nil {
		return done[n]
	}
	if n.mode.IsDir() {
		out := newDir(n.mode.Perm())
		done[n] = out
		names := maps.Clone(n.stableNames)
		for _, c := range n.changes {
			if keep() {
				set(names, c)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			child := names[name].crash(keep, done)
			out.names[name], out.stableNames[name] = child, child
		}
		return out
	}
	out := &node{mode: n.mode, stable: n.settle(keep)}
	out.content = slices.Clone(out.stable)
	done[n] = out
	return out
}

// settle returns what is on disk if of each sector that is not synced keep decides.
func (n *node) settle(keep func() bool) []byte {
	b := slices.Clone(n.stable)
	for _, e := range n.dirty {
		if e.to > len(b) {
			switch {
			case keep():
				b = append(b, make([]byte, e.to-len(b))...)
			case keep() && e.to/sector*sector > len(b):
				b = append(b, make([]byte, e.to/sector*sector-len(b))...)
			}
		}
		for at := e.from / sector * sector; at < e.to; at += sector {
			if from, to := max(at, e.from), min(at+sector, e.to, len(b)); from < to && keep() {
				copy(b[from:to], n.content[from:to])
			}
		}
	}
	return b
}

func (n *node) copy(done map[*node]*node) *node {
	if n == nil || done[n] != nil {
		return done[n]
	}
	out := &node{mode: n.mode, content: slices.Clone(n.content), stable: slices.Clone(n.stable), dirty: slices.Clone(n.dirty)}
	done[n] = out
	if n.mode.IsDir() {
		out.names, out.stableNames = map[string]*node{}, map[string]*node{}
		for name, child := range n.names {
			out.names[name] = child.copy(done)
		}
		for name, child := range n.stableNames {
			out.stableNames[name] = child.copy(done)
		}
		for _, c := range n.changes {
			out.changes = append(out.changes, change{c.name, c.to.copy(done)})
		}
	}
	return out
}

func set(names map[string]*node, c change) {
	if c.to == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.to
	}
}

// Sum identifies all that the disk reads as. Names of unfinished files, which are random, are left out; their content is not.
func (d *Disk) Sum() (sum [32]byte) {
	h := sha256.New()
	d.root.sum(h, "")
	return [32]byte(h.Sum(nil))
}

func (n *node) sum(h io.Writer, at string) {
	if !n.mode.IsDir() {
		fmt.Fprintf(h, "%s %o %d\n", at, n.mode, len(n.content))
		_, _ = h.Write(n.content)
		return
	}
	var temps []string
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		if !strings.HasPrefix(name, ".tmp-") {
			n.names[name].sum(h, at+"/"+name)
			continue
		}
		sum := sha256.New()
		n.names[name].sum(sum, at)
		temps = append(temps, string(sum.Sum(nil)))
	}
	slices.Sort(temps)
	for _, text := range temps {
		_, _ = io.WriteString(h, text)
	}
}

// find returns what has a name.
func (d *Disk) find(op, name string) (*node, error) {
	n := d.root
	for _, part := range strings.Split(strings.Trim(path.Clean(name), "/"), "/") {
		if part == "" || part == "." {
			continue
		}
		if !n.mode.IsDir() || n.names[part] == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		n = n.names[part]
	}
	return n, nil
}

// do does one operation that changes the disk.
func (d *Disk) do(op Op, f func() error) error {
	d.ops++
	if d.Fault != nil {
		if err := d.Fault(op); err != nil {
			return &fs.PathError{Op: op.Kind, Path: op.Name, Err: err}
		}
	}
	err := f()
	if d.After != nil {
		d.After(op)
	}
	return err
}

// put changes a name in a directory.
func (n *node) put(c change) {
	set(n.names, c)
	n.changes = append(n.changes, c)
}

// ReadFile implements durable.FS.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	n, err := d.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.mode.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	return slices.Clone(n.content), nil
}

// Names implements durable.FS.
func (d *Disk) Names(dir string) ([]string, error) {
	n, err := d.find("open", dir)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrInvalid}
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

// Mode implements durable.FS.
func (d *Disk) Mode(name string) (fs.FileMode, error) {
	n, err := d.find("stat", name)
	if err != nil {
		return 0, err
	}
	return n.mode, nil
}

// Mkdir implements durable.FS.
func (d *Disk) Mkdir(name string, mode fs.FileMode) error {
	return d.do(Op{"mkdir", name}, func() error { return d.add("mkdir", name, newDir(mode)) })
}

// add gives a new node a name that nothing has.
func (d *Disk) add(op, name string, n *node) error {
	dir, err := d.find(op, path.Dir(name))
	if err != nil {
		return err
	}
	if dir.names[path.Base(name)] != nil {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrExist}
	}
	dir.put(change{path.Base(name), n})
	return nil
}

// Create implements durable.FS.
func (d *Disk) Create(name string, mode fs.FileMode) (durable.File, error) {
	n := &node{mode: mode}
	if err := d.do(Op{"create", name}, func() error { return d.add("create", name, n) }); err != nil {
		return nil, err
	}
	return &file{d, n, name}, nil
}

// Append implements durable.FS.
func (d *Disk) Append(name string) (durable.File, error) {
	n, err := d.find("open", name)
	if err != nil {
		return nil, err
	}
	return &file{d, n, name}, nil
}

// Rename implements durable.FS. The name taken over and the name given up are two changes.
func (d *Disk) Rename(from, to string) error {
	return d.do(Op{"rename", to}, func() error {
		n, err := d.find("rename", from)
		if err != nil {
			return err
		}
		dir, err := d.find("rename", path.Dir(to))
		if err != nil {
			return err
		}
		dir.put(change{path.Base(to), n})
		dir.put(change{path.Base(from), nil})
		return nil
	})
}

// Remove implements durable.FS.
func (d *Disk) Remove(name string) error {
	return d.do(Op{"remove", name}, func() error {
		n, err := d.find("remove", name)
		if err != nil {
			return err
		}
		if len(n.names) > 0 {
			return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrInvalid}
		}
		dir, err := d.find("remove", path.Dir(name))
		if err == nil {
			dir.put(change{path.Base(name), nil})
		}
		return err
	})
}

// SyncDir implements durable.FS.
func (d *Disk) SyncDir(name string) error {
	n, err := d.find("open", name)
	if err != nil {
		return err
	}
	op := Op{"syncdir", name}
	return d.sync(op, n, func() {
		for _, c := range n.changes {
			set(n.stableNames, c)
		}
		n.changes = nil
	})
}

// sync does a sync, or fails: then half of what it was for is on disk and the rest never will be.
func (d *Disk) sync(op Op, n *node, make func()) error {
	if d.Lies != nil && d.Lies(op) {
		return d.do(op, func() error { return nil })
	}
	err := d.do(op, func() error { make(); return nil })
	if err == nil {
		return nil
	}
	turn := d.ops // whatever is decided, it is decided the same way every time
	keep := func() bool { turn = turn*1103515245 + 12345; return turn>>16&1 == 0 }
	n.stable, n.dirty = n.settle(keep), nil
	for _, c := range n.changes {
		if keep() {
			set(n.stableNames, c)
		}
	}
	n.changes = nil
	if d.After != nil {
		d.After(op)
	}
	return err
}

// Lock implements durable.FS. Nobody else has the disk.
func (d *Disk) Lock(string, fs.FileMode) (io.Closer, error) { return unlocked{}, nil }

type unlocked struct{}

func (unlocked) Close() error { return nil }

// Damage changes a byte of a file, as a bad disk does.
func (d *Disk) Damage(name string, at int) error {
	n, err := d.find("damage", name)
	if err == nil && at < len(n.content) && at < len(n.stable) {
		n.content[at] ^= 1
		n.stable[at] ^= 1
	}
	return err
}

// A file is an open file. It writes at the end.
type file struct {
	d    *Disk
	n    *node
	name string
}

// Write implements io.Writer.
func (f *file) Write(b []byte) (int, error) {
	put := func(b []byte) {
		from := len(f.n.content)
		f.n.content = append(f.n.content, b...)
		f.n.dirty = append(f.n.dirty, extent{from, len(f.n.content)})
	}
	err := f.d.do(Op{"write", f.name}, func() error { put(b); return nil })
	if err != nil {
		put(b[:len(b)/2])
		return len(b) / 2, err
	}
	return len(b), nil
}

// Sync implements durable.File.
func (f *file) Sync() error {
	return f.d.sync(Op{"sync", f.name}, f.n, func() {
		// What an earlier sync has lost stays lost.
		f.n.stable, f.n.dirty = f.n.settle(func() bool { return true }), nil
	})
}

// Close implements io.Closer.
func (f *file) Close() error { return nil }
