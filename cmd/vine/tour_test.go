package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestTour runs docs/tour.sh, which stops at the first command that does not do what it says there.
func TestTour(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the tour gives each site a loopback address of its own")
	}
	tour, err := filepath.Abs("../../docs/tour.sh")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "vine")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := exec.Command("bash", tour)
	c.Env = append(os.Environ(), "VINE="+program, "VINE_USER=", "VINE_API=", "VINE_SOCKET=", "VINE_CONFIG=")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "That was it") {
		t.Errorf("%v\n%s", err, out)
	}
}
