package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usual are right values of the arguments that commands name in their Use line, and of flags without which they do not begin.
var usual = map[string]string{
	"NAME": "blue", "OTHER": "1", "NUMBER": "1", "ADDRESS": "10.192.0.10", "ADDRESS...": "10.192.0.10", "VR": "tokyo", "SITE": "east", "VN": "blue", "USER": "ann",
	"FINGERPRINT": strings.Repeat("b", 32), "REQUEST": "3f9a01c2", "ID": "3", "ID...": "3", "SCENARIO": "vn-change-loss", "DIRECTORY": "results", "DIRECTORY...": "results", "NEW": "new", "FILE": "file", "SEED": "203.0.113.5",
	"--into": "green", "--out": "out", "--key": strings.Repeat("b", 32), "--role": "eu", "--scope": "vn/blue",
}

// endless are commands that go on until they are interrupted, or measure for long: only what is wrong before they begin is tried.
var endless = []string{"vine up", "vine demo", "vine bench", "vine events", "vine sim run", "vine join", "vine init"}

// wrongValues are what no flag of a type may be.
func wrongValues(f *pflag.Flag) []string {
	switch f.Value.Type() {
	case "bool":
		return []string{"perhaps"}
	case "int", "uint64", "float64", "duration":
		return []string{"nonsense", "", "1 1", "99999999999999999999999h", "\x1b[2J"}
	}
	return []string{"\x1b[2J\x07", "a\nb", strings.Repeat("x", 70_000), "\xff\xfe"}
}

// TestEveryArgumentWrongOnce walks all commands and gives each flag and argument what it cannot be. Nothing panics, nothing steers the
// terminal, nothing is left on disk and nobody is asked for anything. A flag with a type names itself in the message, with exit code 2.
func TestEveryArgumentWrongOnce(t *testing.T) {
	vr := &paperVR{}
	d := newDesk(t, vr)
	t.Chdir(t.TempDir())
	count := 0
	try := func(c *cobra.Command, wrong string, words []string) (code int, stderr string) {
		t.Helper()
		count++
		vr.asked, vr.published = nil, nil
		before := tree(t, d.dir, ".")
		code, stdout, stderr := d.run(words...)
		about := fmt.Sprintf("%.200q", words)
		for _, text := range []string{stdout, stderr} {
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%s prints %q", about, text[max(0, i-20):min(len(text), i+20)])
			}
		}
		if code != 0 && (!strings.HasPrefix(stderr, "vine: error: ") && !strings.Contains(stderr, "\nvine: error: ") || len(stderr) > 2000) {
			t.Errorf("%s: exit %d, and says %.300q", about, code, stderr)
		}
		if code != 0 && len(vr.asked)+len(vr.published) > 0 {
			t.Errorf("%s: exit %d, and a VR was asked for something", about, code)
		}
		if after := tree(t, d.dir, "."); code != 0 && !slices.Equal(before, after) {
			t.Errorf("%s: exit %d, and leaves %v, before %v", about, code, after, before)
		}
		if code == 0 && wrong != "" && !namesFile(words) {
			t.Errorf("%s is taken", about)
		}
		return code, stderr
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.Runnable() || c.Name() == "help" {
			return
		}
		path := strings.Fields(c.CommandPath())[1:]
		var args []string
		for _, name := range strings.Fields(c.Use)[1:] {
			if strings.HasPrefix(name, "[") || name == "|" {
				break
			}
			if name == "--into" || name == "--out" {
				break // the flags come below
			}
			value, ok := usual[name]
			if !ok && name == strings.ToUpper(name) {
				t.Errorf("%s: the test knows no %s: add one to usual", c.CommandPath(), name)
			}
			args = append(args, value)
		}
		right := append(slices.Clone(path), args...)
		if code, stderr := try(c, "", append(slices.Clone(right), "--no-such-flag")); code != 2 || !strings.Contains(stderr, "--no-such-flag") {
			t.Errorf("%s --no-such-flag: exit %d, %s", c.CommandPath(), code, stderr)
		}
		many := append(slices.Clone(right), slices.Repeat([]string{"\x1b[2J"}, 9)...)
		if code, stderr := try(c, "", many); code == 0 || code == 2 && strings.Contains(stderr, "panic") {
			t.Errorf("%s with nine more arguments: exit %d, %s", c.CommandPath(), code, stderr)
		}
		for i := range args {
			for _, wrong := range []string{"\x1b[2J", strings.Repeat("x", 70_000), ""} {
				words := append(slices.Clone(path), args...)
				words[len(path)+i] = wrong
				if !slices.Contains(endless, c.CommandPath()) {
					try(c, wrong, words)
				}
			}
			try(c, "", append(slices.Clone(path), args[:i]...))
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" || f.Name == "version" {
				return
			}
			for _, wrong := range wrongValues(f) {
				typed := !slices.Contains([]string{"string", "stringSlice", "stringArray"}, f.Value.Type()) && len(wrong) < 100
				words := append(slices.Clone(right), "--"+f.Name+"="+wrong)
				if !typed && slices.Contains(endless, c.CommandPath()) {
					continue
				}
				if f.Name != "wait" && c.Flags().Lookup("wait") != nil {
					words = append(words, "--wait=0")
				}
				code, stderr := try(c, wrong, words)
				if typed && (code != 2 || !strings.Contains(stderr, f.Name)) && f.Value.Type() != "values" {
					t.Errorf("%s --%s=%q (%s): exit %d, %.300s", c.CommandPath(), f.Name, wrong, f.Value.Type(), code, stderr)
				}
			}
		})
	}
	walk(newRoot(&Env{}))
	t.Logf("%d calls", count)
}

// namesFile reports whether a call gives a file its name, which may be anything.
func namesFile(words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "--out=") || strings.HasPrefix(w, "--user=") })
}

// tree lists the files in folders.
func tree(t *testing.T, dirs ...string) (list []string) {
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
				list = append(list, fmt.Sprintf("%s %d", path, info.Size()))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}
