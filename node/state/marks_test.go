package state

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/internal/durable"
)

func marks(t *testing.T, d *Dir) []string {
	t.Helper()
	records, err := d.Marks()
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range records {
		list = append(list, string(r))
	}
	return list
}

// TestTornMarks cuts and flips the last record everywhere: the ones before it stay, and what is
// appended afterwards is found.
func TestTornMarks(t *testing.T) {
	d := open(t, t.TempDir())
	if got := marks(t, d); got != nil {
		t.Fatalf("an empty directory has marks %q", got)
	}
	for _, m := range []string{"a", "", "b"} {
		if err := d.AppendMarks([]byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(d.marks.Path)
	if err != nil {
		t.Fatal(err)
	}
	last := len(appendRecord(appendRecord(nil, []byte("a")), nil))
	for n := last; n < len(whole); n++ {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		for _, damaged := range [][]byte{whole[:n], flipped} {
			if err := os.WriteFile(d.marks.Path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			d = dirOn(durable.OS, d.path, d.lock) // as the next start finds it
			if got := marks(t, d); !slices.Equal(got, []string{"a", ""}) {
				t.Fatalf("damaged at %d: %q", n, got)
			}
			if err := d.AppendMarks([]byte("c")); err != nil {
				t.Fatal(err)
			}
			if got := marks(t, d); !slices.Equal(got, []string{"a", "", "c"}) {
				t.Fatalf("after damage at %d: %q", n, got)
			}
		}
	}
	if err := d.SetMarks([]byte("all")); err != nil {
		t.Fatal(err)
	}
	if got := marks(t, d); !slices.Equal(got, []string{"all"}) {
		t.Fatalf("after SetMarks: %q", got)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, []byte("marks")))
	f.Add(appendRecord(appendRecord(nil, nil), []byte("more")))
	f.Fuzz(func(t *testing.T, b []byte) {
		content, rest, ok := parseRecord(b)
		if !ok {
			return
		}
		if got := append(appendRecord(nil, content), rest...); !bytes.Equal(got, b) {
			t.Fatalf("parse and append changed the bytes:\n%x\n%x", b, got)
		}
		whole := b[:len(b)-len(rest)]
		for n := range whole {
			if _, _, ok := parseRecord(whole[:n]); ok {
				t.Fatalf("a record cut to %d bytes was read", n)
			}
		}
	})
}
