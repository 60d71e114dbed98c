package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// runDemo runs the demo with parts broken and returns each check's verdict.
func runDemo(t *testing.T, patience time.Duration, broken ...string) (verdicts map[string]string, output string, err error) {
	t.Helper()
	var out bytes.Buffer
	e := &Env{Stdout: &out, Stderr: &out, Now: time.Now, Rand: rand.Reader}
	d := &demo{e: e, patience: patience, sabotage: map[string]bool{}}
	for _, b := range broken {
		d.sabotage[b] = true
	}
	err = d.run(context.Background())
	verdicts = map[string]string{}
	for _, c := range d.checks() {
		for line := range strings.Lines(out.String()) {
			if verdict, rest, ok := strings.Cut(line, "  "); ok && strings.HasPrefix(strings.TrimSpace(rest), c.what) {
				verdicts[c.what] = verdict
			}
		}
	}
	return verdicts, out.String(), err
}

func TestDemo(t *testing.T) {
	verdicts, output, err := runDemo(t, 20*time.Second)
	if err != nil || len(verdicts) != len((&demo{}).checks()) {
		t.Fatalf("%v\n%s", err, output)
	}
	for what, verdict := range verdicts {
		if verdict != "OK" {
			t.Errorf("%s: %s\n%s", what, verdict, output)
		}
	}
}

// TestDemoCanFail breaks every part once: a line that cannot say FAILED shows nothing.
func TestDemoCanFail(t *testing.T) {
	var mu sync.Mutex // guards failed
	failed := map[string]bool{}
	t.Run("broken", func(t *testing.T) {
		for _, broken := range [][]string{
			{"found"}, {"join nwu"}, {"join pu"}, {"join ucsd"}, {"physics"}, {"biology"},
			{"meet", "page", "ping", "ping biology", "isolation", "transfer", "kill", "recover"},
		} {
			t.Run(broken[0], func(t *testing.T) {
				t.Parallel() // most of it waits
				verdicts, output, err := runDemo(t, 3*time.Second, broken...)
				if !errors.Is(err, errDemo) {
					t.Errorf("with %q broken the demo ended with %v\n%s", broken, err, output)
				}
				mu.Lock()
				defer mu.Unlock()
				count := 0
				for what, verdict := range verdicts {
					if verdict == "FAILED" {
						failed[what] = true
						count++
					}
				}
				if count != len(broken) {
					t.Errorf("with %q broken, %d lines say FAILED\n%s", broken, count, output)
				}
			})
		}
	})
	for _, c := range (&demo{}).checks() {
		if !failed[c.what] {
			t.Errorf("%q never said FAILED", c.what)
		}
	}
}
