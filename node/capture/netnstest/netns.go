//go:build linux

package netnstest

import (
	"os"
	"os/exec"
	"testing"

	"github.com/vine-mesh/vine/bench/netns"
)

// A Namespace is a network namespace that the test made.
type Namespace struct{ *netns.Namespace }

// New makes an empty namespace, with its loopback interface up, that is closed when the test ends.
// It skips or fails the test, as the package comment says, where that is impossible.
func New(t testing.TB) *Namespace {
	t.Helper()
	Require(t, "ip")
	ns, err := netns.New()
	if err != nil {
		Skip(t, err.Error())
	}
	t.Cleanup(func() {
		for _, p := range ns.Close() {
			t.Logf("process %s was still in the namespace: killed", p)
		}
	})
	return &Namespace{ns}
}

// Require skips or fails the test unless it runs as root and the programs are there.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "not root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Skip(t, err.Error())
		}
	}
}

// Skip skips the test and says why, or fails it if VINE_NETNS is 1.
func Skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("VINE_NETNS") == "1" {
		t.Fatalf("VINE_NETNS=1, but this network namespace test cannot run: %s", why)
	}
	t.Skipf("SKIPPED, NOT TESTED: needs root and network namespaces: %s", why)
}

// Enter moves the calling goroutine into the namespace for good. Its thread is never used for
// another goroutine. Subtests and other goroutines are not moved.
func (ns *Namespace) Enter(t testing.TB) {
	t.Helper()
	if err := ns.Join(); err != nil {
		t.Fatal(err)
	}
}

// Run runs commands in the namespace, one a line, and fails the test if one fails.
func (ns *Namespace) Run(t testing.TB, commands string) {
	t.Helper()
	if err := ns.Namespace.Run(commands); err != nil {
		t.Fatal(err)
	}
}

// Wire joins two namespaces by a veth pair, both ends up and with a carrier. IPv6 addresses
// work at once: there is no duplicate address detection.
func Wire(t testing.TB, a *Namespace, ifaceA string, b *Namespace, ifaceB string) {
	t.Helper()
	if err := netns.Wire(a.Namespace, ifaceA, b.Namespace, ifaceB); err != nil {
		t.Fatal(err)
	}
}

// awaitCarrier is netns.Namespace.AwaitCarrier that fails the test.
func (ns *Namespace) awaitCarrier(t testing.TB, iface string) {
	t.Helper()
	if err := ns.AwaitCarrier(iface); err != nil {
		t.Fatal(err)
	}
}

// Sysctl sets a parameter of the namespace, by its path under /proc/sys.
func (ns *Namespace) Sysctl(t testing.TB, path, value string) {
	t.Helper()
	if err := ns.Namespace.Sysctl(path, value); err != nil {
		t.Fatal(err)
	}
}
