package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/vine-mesh/vine/internal/durable"
	"github.com/vine-mesh/vine/internal/durable/durabletest"
)

// A witness writes and knows what it was told is on disk.
type witness struct {
	disk   *durabletest.Disk
	log    durable.Log
	files  map[string][]string // by name: what it may hold, the last that was acknowledged first
	lines  []string            // of the log: acknowledged
	asked  string              // a line that is being added
	points int
	faults int
	first  string // what was wrong first
	rng    *rand.Rand
}

func newWitness(seed uint64) *witness {
	w := &witness{disk: durabletest.New(), files: map[string][]string{}, rng: rand.New(rand.NewPCG(seed, 1))}
	w.log = durable.Log{FS: w.disk, Path: "/d/log", Whole: wholeLines}
	w.disk.After = func(op durabletest.Op) { w.look(op) }
	return w
}

// wholeLines is for lines of one letter, so that a torn one shows.
func wholeLines(b []byte) (n int) {
	for {
		line, _, ok := bytes.Cut(b[n:], []byte("\n"))
		if !ok || bytes.Count(line, line[:min(1, len(line))]) != len(line) {
			return n
		}
		n += len(line) + 1
	}
}

// look crashes the disk in several ways and compares with what was acknowledged.
func (w *witness) look(op durabletest.Op) {
	for i := range 6 {
		var rng *rand.Rand
		if i > 0 {
			rng = w.rng
		}
		w.points++
		after := w.disk.Crash(rng)
		if what := w.wrong(after); what != "" {
			w.faults++
			if w.first == "" {
				w.first = fmt.Sprintf("crash after %s of %s: %s", op.Kind, op.Name, what)
			}
		}
	}
}

func (w *witness) wrong(disk *durabletest.Disk) string {
	for name, may := range w.files {
		content, err := disk.ReadFile("/d/" + name)
		got := "absent"
		if err == nil {
			got = string(content)
		}
		ok := false
		for _, text := range may {
			ok = ok || got == text
		}
		if !ok {
			return fmt.Sprintf("%s holds %.40q, want %.40q", name, got, may)
		}
	}
	log := durable.Log{FS: disk, Path: w.log.Path, Whole: w.log.Whole}
	content, err := log.Read()
	if err != nil {
		return err.Error()
	}
	want := strings.Join(w.lines, "")
	if got := string(content); got != want && !(strings.HasPrefix(got, want) && strings.HasPrefix(want+w.asked, got)) {
		return fmt.Sprintf("the log holds %d bytes, %d are acknowledged", len(got), len(want))
	}
	return ""
}

// run writes for a while.
func (w *witness) run(steps int) {
	for name := range 3 {
		w.files[fmt.Sprint(name)] = []string{"absent"}
	}
	if durable.MkdirAll(w.disk, "/d", 0o700) != nil {
		return
	}
	for range steps {
		text := strings.Repeat(string(rune('a'+w.rng.IntN(26))), 1+w.rng.IntN(2000))
		if w.rng.IntN(2) == 0 {
			name := fmt.Sprint(w.rng.IntN(3))
			w.files[name] = append(w.files[name], text)
			if durable.Replace(w.disk, "/d/"+name, []byte(text), 0o600) == nil {
				w.files[name] = []string{text}
			}
			continue
		}
		w.asked += text + "\n"
		if w.log.Append([]byte(text+"\n")) == nil {
			w.lines, w.asked = append(w.lines, text+"\n"), ""
		}
	}
}

// TestCrash: files that were acknowledged are there after a crash at any point, whole.
func TestCrash(t *testing.T) {
	points := 0
	for seed := range uint64(20) {
		w := newWitness(seed)
		w.run(30)
		points += w.points
		if w.faults > 0 {
			t.Fatalf("seed %d: %d of %d crash points lose something: %s", seed, w.faults, w.points, w.first)
		}
	}
	t.Logf("%d crash points", points)
}

// TestFailingSync: syncs fail now and then, once each. What is acknowledged later is on disk all the same.
func TestFailingSync(t *testing.T) {
	failed := 0
	for seed := range uint64(20) {
		w := newWitness(seed)
		w.disk.Fault = func(op durabletest.Op) error {
			if strings.HasPrefix(op.Kind, "sync") && w.rng.IntN(8) == 0 {
				failed++
				return syscall.EIO
			}
			if op.Kind == "write" && w.rng.IntN(20) == 0 {
				return syscall.ENOSPC
			}
			return nil
		}
		w.disk.After = nil
		w.files = map[string][]string{}
		lines := []string{}
		if durable.MkdirAll(w.disk, "/d", 0o700) != nil {
			continue
		}
		log := w.log
		for i := range 60 {
			line := strings.Repeat(string(rune('0'+i)), 1+w.rng.IntN(1500)) + "\n"
			if log.Append([]byte(line)) == nil {
				lines = append(lines, line)
			}
			for range 4 {
				after := durable.Log{FS: w.disk.Crash(w.rng), Path: log.Path, Whole: log.Whole}
				content, err := after.Read()
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range lines {
					if !bytes.Contains(content, []byte(line)) {
						t.Fatalf("seed %d: the acknowledged line %.5q is lost after a sync that failed", seed, line)
					}
				}
			}
		}
	}
	if failed < 50 {
		t.Errorf("only %d syncs have failed", failed)
	}
}

// TestLiesAreFound: the witness finds a sync that is left out, whichever.
func TestLiesAreFound(t *testing.T) {
	for _, kind := range []string{"sync", "syncdir"} {
		faults := 0
		for seed := range uint64(3) {
			w := newWitness(seed)
			w.disk.Lies = func(op durabletest.Op) bool { return op.Kind == kind }
			w.run(20)
			faults += w.faults
		}
		if faults == 0 {
			t.Errorf("nobody notices that %s does nothing", kind)
		}
	}
}

// TestAppendAfterFailedSyncIsFound: the log of a program that goes on appending after a sync that failed loses lines; the disk shows it.
func TestAppendAfterFailedSyncIsFound(t *testing.T) {
	lost := false
	for seed := range uint64(20) {
		d := durabletest.New()
		if err := durable.Replace(d, "/log", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		fails := true
		d.Fault = func(op durabletest.Op) error {
			if op.Kind == "sync" && fails {
				fails = false
				return syscall.EIO
			}
			return nil
		}
		f, err := d.Append("/log")
		if err != nil {
			t.Fatal(err)
		}
		line := bytes.Repeat([]byte{'x'}, int(seed)*100+1)
		if _, err := f.Write(line); err != nil {
			t.Fatal(err)
		}
		if f.Sync() == nil || f.Sync() != nil {
			t.Fatal("want a sync that fails once")
		}
		content, err := d.Crash(nil).ReadFile("/log")
		if now, _ := d.ReadFile("/log"); !bytes.Equal(now, line) {
			t.Fatal("what was written cannot be read")
		}
		lost = lost || err == nil && !bytes.Equal(content, line)
	}
	if !lost {
		t.Error("the second sync has repaired what the first one lost: real disks do not")
	}
}

// TestOnTheMachine: OS does what the tests' disk does.
func TestOnTheMachine(t *testing.T) {
	for name, f := range map[string]durable.FS{"machine": durable.OS, "memory": durabletest.New()} {
		t.Run(name, func(t *testing.T) {
			dir := "/"
			if name == "machine" {
				dir = t.TempDir()
			}
			at := func(name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			check(durable.MkdirAll(f, at("a/b/c"), 0o700))
			check(durable.MkdirAll(f, at("a/b/c"), 0o700))
			check(durable.Create(f, at("a/x"), []byte("one"), 0o640))
			if err := durable.Create(f, at("a/x"), []byte("two"), 0o640); !errors.Is(err, fs.ErrExist) {
				t.Errorf("it was there: %v", err)
			}
			check(durable.Replace(f, at("a/x"), []byte("three"), 0o600))
			content, err := f.ReadFile(at("a/x"))
			check(err)
			mode, err := f.Mode(at("a/x"))
			check(err)
			if string(content) != "three" || mode.Perm() != 0o600 {
				t.Errorf("%q %v", content, mode)
			}
			file, err := f.Create(at("a/.tmp-left"), 0o600)
			check(err)
			check(file.Close())
			durable.Sweep(f, at("a"))
			names, err := f.Names(at("a"))
			check(err)
			if fmt.Sprint(names) != "[b x]" {
				t.Errorf("names: %q", names)
			}
			check(durable.Remove(f, at("a/x")))
			check(durable.Remove(f, at("a/x")))
			if err := durable.MkdirAll(f, at("a/b/c/../c/d"), 0o700); err != nil {
				t.Error(err)
			}
			check(durable.Replace(f, at("file"), nil, 0o600))
			if err := durable.MkdirAll(f, at("file/dir"), 0o700); err == nil {
				t.Error("a directory in a file")
			}
			if _, err := f.ReadFile(at("none")); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			if err := durable.Replace(f, at("none/x"), nil, 0o600); err == nil {
				t.Error("a file in a directory that is not there")
			}
			lock, err := f.Lock(at("lock"), 0o600)
			check(err)
			if _, err := f.Lock(at("lock"), 0o600); name == "machine" && !errors.Is(err, durable.ErrLocked) {
				t.Errorf("locked twice: %v", err)
			}
			check(lock.Close())
		})
	}
}
