//go:build linux

package netns_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// runBench runs `vine bench` with a directory for its temporary files, hands each line of its progress to said, and checks that nothing is left of it: no file, no
// interface, no process.
func runBench(t *testing.T, said func(p *os.Process, line string), words ...string) (stdout, stderr string, err error) {
	t.Helper()
	netnstest.Require(t, "iperf3", "ethtool", "tc", "nft", "ping")
	dir := t.TempDir()
	before := machineState(t)
	c := exec.Command(netns.New(t).Binary(), append([]string{"bench"}, words...)...)
	c.Env = append(os.Environ(), "TMPDIR="+dir)
	var out, talk strings.Builder
	c.Stdout = &out
	lines, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := c.Process.Pid
	for scanner := bufio.NewScanner(lines); scanner.Scan(); {
		talk.WriteString(scanner.Text() + "\n")
		if said != nil {
			said(c.Process, scanner.Text())
		}
	}
	err = c.Wait()
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("files are left: %q", left)
	}
	if after := machineState(t); after != before {
		t.Errorf("the machine's interfaces, routes and rules were\n%s\nand are\n%s", before, after)
	}
	// Its children would have another parent now, and still its directory in their words or their environment.
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range paths {
		words, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		env, _ := os.ReadFile(p)
		if strings.Contains(string(words)+string(env), dir) {
			t.Errorf("of vine bench (process %d), %s is left: %q", pid, filepath.Dir(p), words)
		}
	}
	return out.String(), talk.String(), err
}

// machineState is what a benchmark that forgets to enter its namespaces would change.
func machineState(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-e", "-c", "ip -o link; ip rule; ip route show table all; ip netns; ls /var/run/wireguard 2>/dev/null || true").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestVineBench runs the benchmark in short, in one regime: two measures, at night all kinds and all topologies. What it
// measures is not looked at, but for being there.
func TestVineBench(t *testing.T) {
	plot := filepath.Join(t.TempDir(), "plot.svg")
	measures, both, ours, samples := "tcp-1,loss-1", []string{"tcp-1", "cpu", "loss-1"}, []string{"memory"}, 4
	if night() {
		measures, samples = "tcp-1,udp-1400,rtt-load,loss-1,relay", 10
		both, ours = append(both, "udp-1400", "rtt-load-p50", "rtt-load-p99"), append(ours, "relay", "relay-direct")
	}
	stdout, stderr, err := runBench(t, nil, "--json", "--quick", "--regimes", "gigabit", "--peers", "none",
		"--measures", measures, "--plot", plot)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	var got struct {
		Report  bench.Report
		Summary []bench.Summary
		Goals   []bench.Outcome
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	values := map[string]map[string]float64{bench.Kernel: {}, bench.Vine: {}}
	for _, s := range got.Summary {
		if s.Figure == "cpu" && s.Disturbed {
			s.Median = 1 // what is left when others had the processors may be nothing
		}
		if s.Regime != bench.Gigabit || s.N != 1 || s.Median <= 0 {
			t.Errorf("%+v", s)
		}
		values[s.Party][s.Figure] = s.Median
	}
	for _, figure := range both {
		if values[bench.Kernel][figure] == 0 || values[bench.Vine][figure] == 0 {
			t.Errorf("no %s: %v", figure, values)
		}
	}
	for _, figure := range ours {
		if values[bench.Vine][figure] == 0 || values[bench.Kernel][figure] != 0 {
			t.Errorf("%s is of ours alone: %v", figure, values)
		}
	}
	// Nothing passes a wire of 1 Gb/s faster than that, and a wire that is none is one that was not shaped.
	for party, v := range values {
		for _, figure := range []string{"tcp-1", "loss-1"} {
			if v[figure] > bench.Ceiling(32, 0)*1.03 {
				t.Errorf("%s: %s is %.0f Mb/s on a wire of 1 Gb/s", party, figure, v[figure])
			}
		}
	}
	if len(got.Report.Samples) != samples || len(got.Goals) == 0 || got.Report.Interrupted || len(got.Report.Machine.Kernel) == 0 {
		t.Errorf("%d samples, %d goals, %+v", len(got.Report.Samples), len(got.Goals), got.Report.Machine)
	}
	for _, s := range got.Report.Samples {
		if s.Load.Capacity <= 0 || s.Load.Busy <= 0 || s.Command == "" {
			t.Errorf("%+v", s)
		}
	}
	if text, err := os.ReadFile(plot); err != nil || !strings.Contains(string(text), "</svg>") {
		t.Errorf("the plot: %v\n%.200s", err, text)
	}
	if !strings.Contains(stderr, "gigabit, round 1 of 1, tcp-1, vine: ") || !strings.Contains(stderr, " left]") {
		t.Errorf("no progress:\n%s", stderr)
	}
}

// TestVineBenchInterrupted: Ctrl-C leaves what was measured so far, and nothing else.
func TestVineBenchInterrupted(t *testing.T) {
	stdout, stderr, err := runBench(t, func(p *os.Process, line string) {
		if strings.Contains(line, "round 1 of 9, tcp-1, ") { // the next run is under way
			_ = p.Signal(os.Interrupt)
		}
	}, "--regimes", "nic", "--peers", "none", "--measures", "tcp-1", "--seconds", "3", "--rounds", "9")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v\n%s", err, stderr)
	}
	if !strings.Contains(stdout, "INTERRUPTED") || !strings.Contains(stdout, "TCP, 1 flow, Mb/s") {
		t.Errorf("it printed\n%s\n%s", stdout, stderr)
	}
}

// TestVineBenchRefuses: what keeps the benchmark from running is said at once, with what to do.
func TestVineBenchRefuses(t *testing.T) {
	bin := netns.New(t).Binary()
	few := t.TempDir() // a PATH with some programs, and no iperf3
	for _, name := range []string{"ip", "tc", "ethtool", "ping"} {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(few, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for name, c := range map[string]struct {
		words []string
		path  string
		attr  *syscall.SysProcAttr
		exit  int
		says  string
	}{
		"not root":     {[]string{"--peers", "none"}, os.Getenv("PATH"), nobody, 4, "needs root\nvine: hint: run it with sudo"},
		"no iperf3":    {[]string{"--peers", "none", "--measures", "tcp-1"}, few, nil, 1, "not installed: iperf3 (apt install iperf3)\nvine: hint: install"},
		"no such peer": {[]string{"--peers", "nebula"}, few, nil, 1, "nebula: no nebula in the PATH; to get it: go install"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(bin, append([]string{"bench", "--measures", "rtt-idle"}, c.words...)...)
			cmd.SysProcAttr = c.attr
			cmd.Env = []string{"PATH=" + c.path, "HOME=" + few}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != c.exit || !strings.Contains(string(out), c.says) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
