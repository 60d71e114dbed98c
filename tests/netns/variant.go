//go:build linux

package netns

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Change is made in one file of source for a variant of the command: with it the real program does what no configuration can
// ask for, because no operator should.
type Change struct {
	File     string // below the module's root, or of the Go tree, beginning with "GOROOT/"
	Old, New string // Old is there exactly once. Empty: the file is new, and New is all of it
}

// OldVersion gives the command another version than the one under test.
var OldVersion = []Change{{"cmd/vine/vr.go", "text := readVersion().version", "text := \"before\""}}

// HastyKeys has links change their keys every ten seconds, and use no key for longer than fifteen.
var HastyKeys = []Change{
	{"transport/secure/session.go", "RekeyAfter = 120 * time.Second", "RekeyAfter = 10 * time.Second"},
	{"transport/secure/session.go", "RejectAfter = 180 * time.Second", "RejectAfter = 15 * time.Second"},
	{"transport/secure/session.go", "rekeySlack = 15 * time.Second", "rekeySlack = 2 * time.Second"},
}

// WallClock gives the process a wall clock that is ahead of the machine's by the seconds in the file that WallClockEnv names:
// eight bytes, as the machine has them. Timers go on as they do when somebody sets the clock of a machine.
var WallClock = []Change{
	{"GOROOT/src/time/vine_wall.go", "", `package time

import (
	"syscall"
	"unsafe"
)

var vineWall = func() *int64 {
	path, ok := syscall.Getenv("` + WallClockEnv + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		panic(err)
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&b[0]))
}()
`},
	{"GOROOT/src/time/time.go", "	mono -= startNano\n	sec += unixToInternal - minWall\n	if uint64(sec)>>33 != 0 {\n		// Seconds field overflowed the 33 bits available when\n",
		"	mono -= startNano\n	sec += *vineWall + unixToInternal - minWall\n	if uint64(sec)>>33 != 0 {\n		// Seconds field overflowed the 33 bits available when\n"},
}

// WallClockEnv is the environment variable of WallClock.
const WallClockEnv = "VINE_TEST_WALL"

// SetWall puts the wall clock of a site's machine so far ahead of the real time: for its VR, if it is of a variant with WallClock,
// and for the commands that are called there.
func (s *Site) SetWall(t testing.TB, ahead time.Duration) {
	t.Helper()
	// Never truncated: it is mapped.
	f, err := os.OpenFile(s.wall(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(ahead.Seconds()))), 0)
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Site) wall() string { return filepath.Join(s.dir, "wall") }

// BuildVariant builds the command with changes and returns where it is. The source stays as it is.
func BuildVariant(t testing.TB, changes ...Change) string {
	t.Helper()
	dir := t.TempDir()
	root := map[bool]string{false: goEnv(t, "GOMOD"), true: goEnv(t, "GOROOT")}
	root[false] = filepath.Dir(root[false])
	replaced := map[string]string{}
	for i, c := range changes {
		name, inTree := strings.CutPrefix(c.File, "GOROOT/")
		file := filepath.Join(root[inTree], name)
		text := c.New
		if c.Old != "" {
			before := replaced[file]
			if before == "" {
				before = file
			}
			b, err := os.ReadFile(before)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(b), c.Old); n != 1 {
				t.Fatalf("%s has %q %d times: the test has to learn what the source looks like now", c.File, c.Old, n)
			}
			text = strings.Replace(string(b), c.Old, c.New, 1)
		}
		to := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[file] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	list, bin := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "vine")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-overlay", list, "-ldflags", "-s -w", "-o", bin, "github.com/vine-mesh/vine/cmd/vine").CombinedOutput(); err != nil {
		t.Fatalf("build a variant of vine: %v\n%s", err, out)
	}
	return bin
}

func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
