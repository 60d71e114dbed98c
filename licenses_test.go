package vine

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var updateLicenses = flag.Bool("update-licenses", false, "write THIRD_PARTY_LICENSES anew")

// allowed are the licences under which a module may be linked. MPL-2.0 asks that the source of its files
// stays available, which NOTICE says; none asks anything of our own files.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// TestThirdPartyLicenses compares THIRD_PARTY_LICENSES with the modules that packages of this project, tests
// aside, link on Linux: each is there, in the version of go.mod, with the whole text of an allowed licence. After a
// change of dependencies:
//
//	go test -run TestThirdPartyLicenses -update-licenses .
func TestThirdPartyLicenses(t *testing.T) {
	const file = "THIRD_PARTY_LICENSES"
	var want bytes.Buffer
	want.WriteString("The vine program contains the following third-party modules. docs/testing.md says how this file is made.\n")
	for _, m := range linked(t) {
		texts := licenseTexts(t, m.Dir)
		kind := kindOf(texts)
		if !slices.Contains(allowed, kind) {
			t.Errorf("%s %s: licence %q is not one of %v", m.Path, m.Version, kind, allowed)
		}
		fmt.Fprintf(&want, "\n%s\n%s %s (%s)\n%[1]s\n\n%[5]s", strings.Repeat("=", 80), m.Path, m.Version, kind, texts)
	}
	if *updateLicenses {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what the linked modules give: run go test -run TestThirdPartyLicenses -update-licenses .", file)
	}
}

// A linkedModule is a module of which we link a package.
type linkedModule struct {
	Path, Version, Dir string
}

// linked returns the modules that our packages link on Linux, sorted by path, the standard library first.
func linked(t *testing.T) []linkedModule {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=Module", "./...")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &complaint)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	found := map[string]linkedModule{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *linkedModule }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if m := p.Module; m != nil && m.Path != module {
			found[m.Path] = *m
		}
	}
	if len(found) < 10 {
		t.Fatalf("only %d modules: that cannot be all", len(found))
	}
	list := []linkedModule{{"Go standard library", "of the compiler", strings.TrimSpace(string(root))}}
	for _, m := range found {
		list = append(list, m)
	}
	slices.SortFunc(list[1:], func(a, b linkedModule) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// licenseTexts returns the licence and notice files of a module, one after another.
func licenseTexts(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, e := range entries {
		base, _, _ := strings.Cut(strings.ToUpper(e.Name()), ".")
		if e.IsDir() || !slices.Contains([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE"}, base) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text.Write(bytes.TrimRight(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), "\n"))
		text.WriteString("\n")
	}
	return text.String()
}

// kindOf returns the SPDX identifier of a licence text, "" for one it does not know.
func kindOf(text string) string {
	words := strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(words, s) }
	switch {
	case has("Apache License Version 2.0"):
		return "Apache-2.0"
	case has("Mozilla Public License") && has("2.0"):
		return "MPL-2.0"
	case has("Redistribution and use in source and binary forms") && has("Neither the name"):
		return "BSD-3-Clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	case has("Permission is hereby granted, free of charge"):
		return "MIT"
	case has("Permission to use, copy, modify, and"):
		return "ISC"
	}
	return ""
}
