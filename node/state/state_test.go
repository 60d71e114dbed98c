package state

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vine-mesh/vine/internal/durable/durabletest"
)

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func load(t *testing.T, d *Dir) (docs []string, damaged []string) {
	t.Helper()
	raw, damaged, err := d.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range raw {
		docs = append(docs, string(r))
	}
	return docs, damaged
}

func TestDocumentsComeBackInOrder(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	if err := d.Append([]byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	if err := d.Append([]byte("c")); err != nil {
		t.Fatal(err)
	}
	d.Close()
	d = open(t, path)
	if docs, damaged := load(t, d); !slices.Equal(docs, []string{"a", "b", "c"}) || damaged != nil {
		t.Fatalf("loaded %q, damaged %q", docs, damaged)
	}
	if err := d.Compact([][]byte{[]byte("b"), []byte("c")}); err != nil {
		t.Fatal(err)
	}
	if docs, _ := load(t, d); !slices.Equal(docs, []string{"b", "c"}) || d.Bundles() != 1 {
		t.Fatalf("after compaction: %q in %d bundles", docs, d.Bundles())
	}
}

// TestTornBundleIsSetAside tries every truncation and a flip of every byte: a bundle comes back
// whole or not at all.
func TestTornBundleIsSetAside(t *testing.T) {
	whole := AppendBundle(nil, [][]byte{[]byte("first"), []byte("second")})
	for n := range whole {
		if _, err := ParseBundle(whole[:n]); err == nil {
			t.Fatalf("bundle cut to %d bytes was read", n)
		}
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		if _, err := ParseBundle(flipped); err == nil {
			t.Fatalf("bundle with byte %d changed was read", n)
		}
	}

	path := t.TempDir()
	d := open(t, path)
	for _, doc := range []string{"a", "b"} {
		if err := d.Append([]byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(d.bundlePath(1), 20); err != nil {
		t.Fatal(err)
	}
	docs, damaged := load(t, d)
	if !slices.Equal(docs, []string{"b"}) || len(damaged) != 1 {
		t.Fatalf("loaded %q, damaged %q", docs, damaged)
	}
	if err := d.SetAside(damaged); err != nil {
		t.Fatal(err)
	}
	if _, damaged := load(t, d); damaged != nil {
		t.Fatalf("damaged bundle was not set aside: %q", damaged)
	}
}

// TestReadBesideARunningVR: Read needs no lock and changes nothing.
func TestReadBesideARunningVR(t *testing.T) {
	path := t.TempDir()
	if docs, err := Read(filepath.Join(path, "absent")); err != nil || docs != nil {
		t.Fatalf("an absent directory: %q, %v", docs, err)
	}
	d := open(t, path)
	for _, doc := range []string{"a", "b", "c"} {
		if err := d.Append([]byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(d.bundlePath(2), 20); err != nil {
		t.Fatal(err)
	}
	docs, err := Read(path)
	if err != nil || len(docs) != 2 || string(docs[0]) != "a" || string(docs[1]) != "c" {
		t.Fatalf("read %q, %v", docs, err)
	}
	if _, err := os.Stat(d.bundlePath(2)); err != nil {
		t.Fatalf("Read touched a damaged bundle: %v", err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	if _, err := Open(path); !errors.Is(err, ErrInUse) {
		t.Fatalf("second Open: %v, want ErrInUse", err)
	}
	d.Close()
	open(t, path)
}

func TestBootCountsUp(t *testing.T) {
	path := t.TempDir()
	for want := uint64(1); want <= 3; want++ {
		d := open(t, path)
		got, err := d.Boot()
		if err != nil || got != want {
			t.Fatalf("Boot = %d, %v, want %d", got, err, want)
		}
		d.Close()
	}
	if err := os.WriteFile(filepath.Join(path, "boot"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, path).Boot(); err == nil {
		t.Fatal("a damaged boot count was taken for zero: old handshakes could be replayed")
	}
}

func TestKeyFiles(t *testing.T) {
	d := open(t, t.TempDir())
	if _, ok, err := d.Key("identity"); ok || err != nil {
		t.Fatalf("absent key: %v, %v", ok, err)
	}
	want := [32]byte{1, 2, 3}
	if err := d.SetKey("identity", want); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := d.Key("identity"); got != want || !ok || err != nil {
		t.Fatalf("Key = %v, %v, %v", got, ok, err)
	}
	if err := d.SetKey("identity", [32]byte{9}); err == nil {
		t.Fatal("a key was overwritten")
	}
	path := d.keyPath("identity")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Key("identity"); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatalf("a key open to others: %v", err)
	}
	if err := os.WriteFile(path, []byte("secret-canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o600)
	if _, _, err := d.Key("identity"); err == nil || strings.Contains(err.Error(), "canary") {
		t.Fatalf("a damaged key: %v", err)
	}
}

// TestCompactAfterFailedAppend: a bundle whose directory could not be synced is not taken for the compacted one. Once both had one
// number, and the compaction removed every document.
func TestCompactAfterFailedAppend(t *testing.T) {
	disk := durabletest.New()
	d, err := OpenOn(disk, "/state")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Append([]byte("a")); err != nil {
		t.Fatal(err)
	}
	disk.Fault = func(op durabletest.Op) error {
		if op.Kind == "syncdir" || op.Kind == "remove" {
			return syscall.EIO
		}
		return nil
	}
	if d.Append([]byte("b")) == nil {
		t.Fatal("stored, though the directory was not synced")
	}
	disk.Fault = nil
	if err := d.Compact([][]byte{[]byte("a"), []byte("b")}); err != nil {
		t.Fatal(err)
	}
	d, err = OpenOn(disk.Crash(nil), "/state")
	if err != nil {
		t.Fatal(err)
	}
	if docs, damaged := load(t, d); !slices.Equal(docs, []string{"a", "b"}) || damaged != nil {
		t.Fatalf("after the compaction: %q, damaged %q", docs, damaged)
	}
}

// TestKilledThenPowerLoss: a program that was killed between the rename of a bundle and the sync of its directory leaves one that reads
// as if it were on disk. Who starts then and is told its documents has them after a power loss too.
func TestKilledThenPowerLoss(t *testing.T) {
	disk := durabletest.New()
	d, err := OpenOn(disk, "/state")
	if err != nil {
		t.Fatal(err)
	}
	var killed *durabletest.Disk
	disk.After = func(op durabletest.Op) {
		if op.Kind == "rename" {
			killed = disk.Kill()
		}
	}
	if err := d.Append([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if d, err = OpenOn(killed, "/state"); err != nil {
		t.Fatal(err)
	}
	if docs, _ := load(t, d); !slices.Equal(docs, []string{"a"}) {
		t.Fatalf("after the kill: %q", docs)
	}
	if d, err = OpenOn(killed.Crash(nil), "/state"); err != nil {
		t.Fatal(err)
	}
	if docs, _ := load(t, d); !slices.Equal(docs, []string{"a"}) {
		t.Fatalf("after the power loss: %q", docs)
	}
}

// TestLeftoversAreSwept: what a crash leaves of a file that was being written, a key perhaps, is gone after the next start.
func TestLeftoversAreSwept(t *testing.T) {
	disk := durabletest.New()
	var killed *durabletest.Disk
	d, err := OpenOn(disk, "/state")
	if err != nil {
		t.Fatal(err)
	}
	disk.After = func(op durabletest.Op) {
		if op.Kind == "write" {
			killed = disk.Kill()
		}
	}
	if err := d.SetKey("identity", [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	if names, _ := killed.Names("/state"); len(names) != 2 {
		t.Fatalf("want an unfinished key: %q", names)
	}
	if _, err := OpenOn(killed, "/state"); err != nil {
		t.Fatal(err)
	}
	if names, _ := killed.Names("/state"); !slices.Equal(names, []string{"documents"}) {
		t.Errorf("left: %q", names)
	}
}

func FuzzBundle(f *testing.F) {
	f.Add(AppendBundle(nil, [][]byte{[]byte("a"), {}, bytes.Repeat([]byte("x"), 300)}))
	f.Add([]byte(bundleMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		docs, err := ParseBundle(b)
		if err != nil {
			return
		}
		if got := AppendBundle(nil, docs); !bytes.Equal(got, b) {
			t.Fatalf("parse and append changed the bytes:\n%x\n%x", b, got)
		}
	})
}
