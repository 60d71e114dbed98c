package netns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Namespace is a network namespace that this process made. Its methods may be called by any goroutine.
type Namespace struct {
	file   *os.File
	keeper *keeper

	mu sync.Mutex
	// processes are what Start has started; guarded by mu.
	processes []*Process
}

// New makes an empty namespace, with its loopback interface up.
func New() (*Namespace, error) {
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
		return nil, err
	}
	ns.keeper = k
	if err := ns.Run("ip link set lo up"); err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

// Close kills what was started in the namespace and lets go of it. It returns what Sweep found.
func (ns *Namespace) Close() (strays []string) {
	ns.mu.Lock()
	processes := ns.processes
	ns.processes = nil
	ns.mu.Unlock()
	for _, p := range processes {
		p.Kill()
	}
	strays = ns.Sweep()
	ns.keeper.close()
	_ = ns.file.Close()
	return strays
}

// Sweep kills every process in the namespace other than this one and returns them, as Processes does: after the
// end of what Start has started, programs that left their process group.
func (ns *Namespace) Sweep() []string {
	strays := ns.Processes()
	for _, p := range strays {
		pid, _, _ := strings.Cut(p, " ")
		if n, err := strconv.Atoi(pid); err == nil && n > 1 {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	return strays
}

// Path returns a path that names the namespace to `ip link set ... netns PATH` in a child.
func (ns *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

// Join moves the calling goroutine into the namespace for good. Its thread is never used for another goroutine.
func (ns *Namespace) Join() error {
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	return nil
}

// Do calls f on a thread in the namespace and returns its error. Sockets and devices that f opens stay in the
// namespace and may be used anywhere.
func (ns *Namespace) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := ns.Join(); err != nil {
			return err
		}
		return f()
	})
}

// Output runs a command in the namespace, its words separated by blanks, and returns what it printed on both
// streams.
func (ns *Namespace) Output(command string) (string, error) {
	var out []byte
	err := ns.Do(func() (err error) {
		words := strings.Fields(command)
		out, err = exec.Command(words[0], words[1:]...).CombinedOutput()
		return err
	})
	return string(out), err
}

// Run runs commands in the namespace, one a line, up to the first that fails.
func (ns *Namespace) Run(commands string) error {
	for command := range strings.Lines(commands) {
		if command = strings.TrimSpace(command); command == "" {
			continue
		}
		if out, err := ns.Output(command); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, strings.TrimSpace(out))
		}
	}
	return nil
}

// Sysctl sets a parameter of the namespace, by its path under /proc/sys.
func (ns *Namespace) Sysctl(path, value string) error {
	return ns.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) })
}

// ID returns the inode that identifies the namespace.
func (ns *Namespace) ID() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.file.Fd()), &st); err != nil {
		return 0, fmt.Errorf("identify network namespace: %w", err)
	}
	return st.Ino, nil
}

// Processes returns the processes in the namespace other than this one, as "PID name".
func (ns *Namespace) Processes() []string {
	id, err := ns.ID()
	if err != nil {
		return nil
	}
	want := fmt.Sprintf("net:[%d]", id)
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	var list []string
	for _, link := range links {
		pid := strings.Split(link, "/")[2]
		if at, err := os.Readlink(link); err != nil || at != want || pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		list = append(list, pid+" "+strings.TrimSpace(string(name)))
	}
	return list
}

// Wire joins two namespaces by a veth pair, both ends up and with a carrier. IPv6 addresses work at once: there is
// no duplicate address detection.
func Wire(a *Namespace, ifaceA string, b *Namespace, ifaceB string) error {
	if err := a.Run(fmt.Sprintf("ip link add %s type veth peer name %s netns %s", ifaceA, ifaceB, b.Path())); err != nil {
		return err
	}
	for _, end := range []struct {
		ns    *Namespace
		iface string
	}{{a, ifaceA}, {b, ifaceB}} {
		if err := end.ns.Sysctl("net/ipv6/conf/"+end.iface+"/accept_dad", "0"); err != nil {
			return err
		}
		if err := end.ns.Run("ip link set " + end.iface + " up"); err != nil {
			return err
		}
	}
	if err := a.AwaitCarrier(ifaceA); err != nil {
		return err
	}
	return b.AwaitCarrier(ifaceB)
}

// AwaitCarrier waits until the kernel has seen that the interface has a carrier, which it does a little later, and
// the link-local address is in use. It asks again without sleeping: to ask takes a process, and so about the time
// to wait.
func (ns *Namespace) AwaitCarrier(iface string) error {
	const triesMax = 2000 // several seconds
	for range triesMax {
		out, err := ns.Output("ip -6 addr show dev " + iface)
		if err == nil && strings.Contains(out, "scope link") && !strings.Contains(out, "tentative") {
			return nil
		}
	}
	return fmt.Errorf("interface %s does not come up", iface)
}
