//go:build linux

package netnstest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestShape(t *testing.T) {
	Require(t, "iperf3")
	core, a, b := NewCore(t), New(t), New(t)
	core.Attach(t, a, "wan0")
	wan := core.Attach(t, b, "wan0")
	core.Shape(t, wan.Far, "20mbit")
	server := b.Start(t, "iperf3", "-s", "-1", "--forceflush")
	listening := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(server.Output(), "listening") {
		select {
		case <-tick.C:
		case <-listening:
			t.Fatalf("iperf3 does not listen:\n%s", server.Output())
		}
	}
	var r struct {
		End struct {
			SumReceived struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(a.MustExec(t, "iperf3", "-J", "-t", "1", "-c", wan.V4.String())), &r); err != nil {
		t.Fatal(err)
	}
	if bits := r.End.SumReceived.Bits; bits == 0 || bits > 25e6 {
		t.Errorf("%.1f Mbit/s went through a link of 20", bits/1e6)
	}
}

// leaver is the environment variable that makes TestNothingOutlivesTheTest play the test that ends
// without cleaning up.
const leaver = "VINE_NETNSTEST_LEAVER"

// TestNothingOutlivesTheTest: a test binary that is killed takes its namespaces' processes along.
func TestNothingOutlivesTheTest(t *testing.T) {
	if os.Getenv(leaver) != "" {
		ns := New(t)
		p := ns.Start(t, "sleep", "1000")
		fmt.Printf("sleeper %d\n", p.PID())
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	Require(t, "sleep")
	c := exec.Command(os.Args[0], "-test.run", "^TestNothingOutlivesTheTest$")
	c.Env = append(os.Environ(), leaver+"=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for lines := bufio.NewScanner(out); lines.Scan() && pid == 0; {
		_, _ = fmt.Sscanf(lines.Text(), "sleeper %d", &pid)
	}
	_ = c.Wait()
	if pid == 0 {
		t.Fatal("the sleeper was never started")
	}
	end := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// A dead process that nobody has waited for yet has no program any more.
		if program, _ := os.Readlink(filepath.Join("/proc", fmt.Sprint(pid), "exe")); !strings.Contains(program, "sleep") && !strings.Contains(program, "coreutils") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d has outlived the test that started it", pid)
		}
		<-tick.C
	}
}

// TestProcessesOfTheNamespace: what left its process group is found by the namespace it is in.
func TestProcessesOfTheNamespace(t *testing.T) {
	Require(t, "setsid", "sleep")
	ns := New(t)
	ns.MustExec(t, "setsid", "-f", "sleep", "1000")
	if list := ns.Processes(); len(list) != 1 || !strings.HasSuffix(list[0], " sleep") {
		t.Errorf("processes: %q", list)
	}
	ns.Sweep()
	end := time.Now().Add(10 * time.Second)
	for len(ns.Processes()) > 0 {
		if time.Now().After(end) {
			t.Fatal("the sleeper lives on")
		}
	}
}
