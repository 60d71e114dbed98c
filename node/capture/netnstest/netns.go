//go:build linux

package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A Namespace is a network namespace that the test made.
type Namespace struct {
	file   *os.File
	keeper *keeper
}

// New makes an empty namespace, with its loopback interface up, that is closed when the test ends.
// It skips or fails the test, as the package comment says, where that is impossible.
func New(t testing.TB) *Namespace {
	t.Helper()
	Require(t, "ip")
	ns := &Namespace{}
	k, err := keep(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		ns.file = f
		return err
	})
	if err != nil {
		Skip(t, err.Error())
	}
	ns.keeper = k
	t.Cleanup(func() {
		ns.sweep(t)
		k.close()
		_ = ns.file.Close()
	})
	ns.Run(t, "ip link set lo up")
	return ns
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

// Path returns a path that names the namespace to `ip link set ... netns PATH` in a child.
func (ns *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

// Enter moves the calling goroutine into the namespace for good. Its thread is never used for
// another goroutine. Subtests and other goroutines are not moved.
func (ns *Namespace) Enter(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatalf("enter network namespace: %v", err)
	}
}

// Do calls f on a thread in the namespace and returns its error. Sockets and devices that f opens
// stay in the namespace and may be used anywhere. f must not call t.Fatal.
func (ns *Namespace) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread calls f on a thread that ends afterwards.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		result <- f()
	}()
	return <-result
}

// Output runs a command in the namespace, its words separated by blanks, and returns what it
// printed on both streams.
func (ns *Namespace) Output(command string) (string, error) {
	var out []byte
	err := ns.Do(func() (err error) {
		words := strings.Fields(command)
		out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
		return err
	})
	return string(out), err
}

// Run runs commands in the namespace, one a line, and fails the test if one fails.
func (ns *Namespace) Run(t testing.TB, commands string) {
	t.Helper()
	for command := range strings.Lines(commands) {
		if command = strings.TrimSpace(command); command == "" {
			continue
		}
		if out, err := ns.Output(command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
}

// Wire joins two namespaces by a veth pair, both ends up and with a carrier. IPv6 addresses
// work at once: there is no duplicate address detection.
func Wire(t testing.TB, a *Namespace, ifaceA string, b *Namespace, ifaceB string) {
	t.Helper()
	a.Run(t, fmt.Sprintf("ip link add %s type veth peer name %s netns %s", ifaceA, ifaceB, b.Path()))
	for _, end := range []struct {
		ns    *Namespace
		iface string
	}{{a, ifaceA}, {b, ifaceB}} {
		err := end.ns.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/"+end.iface+"/accept_dad", []byte("0"), 0)
		})
		if err != nil {
			t.Fatal(err)
		}
		end.ns.Run(t, "ip link set "+end.iface+" up")
	}
	a.awaitCarrier(t, ifaceA)
	b.awaitCarrier(t, ifaceB)
}

// awaitCarrier waits until the kernel has seen that the interface has a carrier, which it does a
// little later, and the link-local address is in use. It asks again without sleeping: to ask takes
// a process, and so about the time to wait.
func (ns *Namespace) awaitCarrier(t testing.TB, iface string) {
	t.Helper()
	const triesMax = 2000 // several seconds
	for range triesMax {
		out, err := ns.Output("ip -6 addr show dev " + iface)
		if err == nil && strings.Contains(out, "scope link") && !strings.Contains(out, "tentative") {
			return
		}
	}
	t.Fatalf("interface %s does not come up", iface)
}

// Sysctl sets a parameter of the namespace, by its path under /proc/sys.
func (ns *Namespace) Sysctl(t testing.TB, path, value string) {
	t.Helper()
	if err := ns.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) }); err != nil {
		t.Fatal(err)
	}
}
