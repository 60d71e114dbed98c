package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vine": main})
}

// TestScripts runs testdata/script: what a user types and sees. Each script has a directory of its
// own with a configuration that keeps everything in it, and these commands of ours:
//
//	exits CODE PROGRAM ARGUMENT...   runs a program that must exit with CODE
//	json PATH PATTERN                checks a value in the last JSON output, PATH being a.0.b
//	gone FILE...                     checks that the files do not exist
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			toml := fmt.Sprintf("state = %q\ncontrol = %q\n", filepath.Join(env.WorkDir, "state"), filepath.Join(env.WorkDir, "vine.sock"))
			path := filepath.Join(env.WorkDir, "vine.toml")
			env.Setenv("VINE_CONFIG", path)
			return os.WriteFile(path, []byte(toml), 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "json": checkJSON, "gone": gone,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGUMENT...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\nstderr: %s", got, want, ts.ReadFile("stderr"))
	}
}

func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH PATTERN")
	}
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || dec.More() {
		ts.Fatalf("standard output is not one JSON document (%v): %s", err, ts.ReadFile("stdout"))
	}
	found := true
	for _, step := range strings.Split(args[0], ".") {
		switch at := v.(type) {
		case map[string]any:
			v, found = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			if found = err == nil && i < len(at); found {
				v = at[i]
			}
		default:
			found = false
		}
		if !found {
			break
		}
	}
	text := fmt.Sprint(v)
	if found = found && regexp.MustCompile(args[1]).MatchString(text); found == neg {
		ts.Fatalf("%s is %q; want it to match %q: %t", args[0], text, args[1], !neg)
	}
}

func gone(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		if _, err := os.Lstat(ts.MkAbs(name)); err == nil {
			ts.Fatalf("%s exists", name)
		}
	}
}
