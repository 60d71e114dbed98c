//go:build linux

package netnstest

import (
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/bench/netns"
)

// A Process is a program that runs in a namespace, and its children. All are killed when the test ends.
type Process struct{ *netns.Process }

// Start starts a program in the namespace. What it prints on both streams is kept for Output.
func (ns *Namespace) Start(t testing.TB, words ...string) *Process {
	t.Helper()
	p, err := ns.Namespace.Start(words...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return &Process{p}
}

// Stop ends the process by SIGTERM and fails the test if it does not go within limit.
func (p *Process) Stop(t testing.TB, limit time.Duration) {
	t.Helper()
	if err := p.Process.Stop(limit); err != nil {
		t.Errorf("%v:\n%s", err, p.Output())
	}
}

// Exec runs a program in the namespace to its end and returns what it printed on both streams.
func (ns *Namespace) Exec(t testing.TB, words ...string) (string, error) {
	t.Helper()
	p := ns.Start(t, words...)
	err := p.Err()
	return p.Output(), err
}

// MustExec is Exec that fails the test when the program fails.
func (ns *Namespace) MustExec(t testing.TB, words ...string) string {
	t.Helper()
	out, err := ns.Exec(t, words...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return out
}
