package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/scale"
)

// TestScaleCommand: what the command is told, and what is told of it.
func TestScaleCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the command of this test is a shell script")
	}
	dir := t.TempDir()
	told := filepath.Join(dir, "told")
	script := filepath.Join(dir, "hook")
	text := "#!/bin/sh\necho \"$@|$VINE_VR|$VINE_OTHERS|$VINE_REMOVE\" >>" + told + "\n[ \"$1\" != fail ] || { printf 'no \\033[2Jmachine is left'; exit 3; }\nsleep 3 >/dev/null 2>&1 &\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	c := config.Config{Lanes: 1}
	act := func(d scale.Decision, others []string, command ...string) error {
		c.Scale.Command = command
		return newScaler(c, slog.New(slog.DiscardHandler)).act(context.Background(), d, "osaka1", others)
	}
	if err := act(scale.Grow, nil, script, "a b", "$HOME"); err != nil {
		t.Error(err)
	}
	if err := act(scale.Shrink, []string{"osaka2", "osaka3"}, script); err != nil {
		t.Error(err)
	}
	if err := act(scale.Grow, nil, script, "fail"); err == nil || !strings.HasSuffix(err.Error(), "exit status 3: no ?[2Jmachine is left") {
		t.Errorf("a command that fails: %v", err)
	}
	if err := act(scale.Grow, nil, filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no command: %v", err)
	}
	got, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	want := "a b $HOME grow|osaka1||\nshrink|osaka1|osaka2 osaka3|osaka3\nfail grow|osaka1||\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the command was told (-want +got):\n%s", diff)
	}
}

func TestScaleLoad(t *testing.T) {
	s := newScaler(config.Config{Lanes: 1, Scale: config.Scale{Measure: "cpu"}}, slog.New(slog.DiscardHandler))
	now := time.Now()
	if got := s.load(now); got != 0 {
		t.Errorf("the first sample says %v", got)
	}
	for used := processorTime(); processorTime() == used; { // the system counts in ticks
	}
	if got := s.load(now.Add(10 * time.Millisecond)); got <= 0 {
		t.Errorf("a process that works has a load of %v", got)
	}
}

func TestScaleRows(t *testing.T) {
	rows := scaleRows(control.Scale{Measure: "packets", Load: 1234.5, High: 5000, Low: 100, VRs: 2, Least: 1, Most: 3, Leads: true,
		Last: "grow", At: time.Unix(1_800_000_000, 0), Outcome: "done"})
	want := "load 1234 packets/s marks 100 and 5000 packets/s VRs 2, of 1 to 3 decides yes last grow at 2027-01-15T08:00:00Z: done"
	if got := strings.Join(rows, " "); got != want {
		t.Errorf("%s", got)
	}
}
