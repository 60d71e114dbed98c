package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// traced are the scenarios whose traces are compared between machines.
func traced() []*scenario.Scenario {
	short := mixed(40)
	short.Duration = 7 * time.Minute
	long := plain(150)
	long.Network.Latency = scenario.Latency{Kind: "lognormal", Median: 20 * time.Millisecond, SigmaThousands: 700}
	long.Network.Loss = 50_000
	long.Groups[0].Churn = scenario.Churn{Kind: "exponential", Session: 5 * time.Minute, Away: time.Minute}
	ring := big(80, 5*time.Minute)
	ring.Network.Latency = scenario.Latency{Kind: "ring", Least: time.Millisecond, Most: 150 * time.Millisecond}
	return []*scenario.Scenario{short, long, ring}
}

// traces returns the traces of some seeds of each scenario.
func traces(t testing.TB, seeds int) string {
	var b strings.Builder
	for _, s := range traced() {
		for seed := range seeds {
			r := run(t, s, uint64(seed))
			fmt.Fprintf(&b, "%s %d %d %s\n", s.Name, seed, r.Events, r.Trace)
		}
	}
	return b.String()
}

// TestTraceAgain runs seeds twice in one process: at night 100.
func TestTraceAgain(t *testing.T) {
	seeds := 2
	if os.Getenv("VINE_NIGHT") != "" {
		seeds = 100
	}
	first := traces(t, seeds)
	if second := traces(t, seeds); first != second {
		t.Errorf("a second run differs:\n%s\n%s", first, second)
	}
	lines := strings.Fields(first)
	if lines[3] == lines[7] || lines[0] != lines[4] {
		t.Error("two seeds have one trace")
	}
}

// TestTracePrinted is for TestTraceElsewhere: it prints the traces.
func TestTracePrinted(t *testing.T) {
	if os.Getenv("VINE_SIM_TRACES") == "" {
		t.Skip("VINE_SIM_TRACES is not set")
	}
	fmt.Print(traces(t, 2))
}

// TestTraceElsewhere builds this package for other processors, runs it where the kernel can, and compares the traces.
func TestTraceElsewhere(t *testing.T) {
	if os.Getenv("VINE_NIGHT") == "" {
		t.Skip("it compiles for other processors, which takes a minute each: VINE_NIGHT is not set")
	}
	want := traces(t, 2)
	for _, env := range []string{"GOARCH=386", "GOARCH=amd64 GOAMD64=v1", "GOARCH=amd64 GOAMD64=v3"} {
		name := filepath.Join(t.TempDir(), "sim.test")
		build := exec.Command("go", "test", "-c", "-o", name, ".")
		build.Env = append(append(os.Environ(), "CGO_ENABLED=0"), strings.Fields(env)...)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", env, err, out)
		}
		child := exec.Command(name, "-test.run", "^TestTracePrinted$")
		child.Env = append(os.Environ(), "VINE_SIM_TRACES=1")
		out, err := child.CombinedOutput()
		if err != nil {
			t.Logf("%s does not run here: %v", env, err)
			if len(out) > 0 {
				t.Errorf("%s: %s", env, out)
			}
			continue
		}
		if got := strings.TrimSuffix(string(out), "PASS\n"); got != want {
			t.Errorf("%s:\n%s\nhere:\n%s", env, got, want)
		}
	}
}
