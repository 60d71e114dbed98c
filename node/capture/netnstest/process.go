//go:build linux

package netnstest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A keeper is a thread that stays in a namespace and starts its processes. The kernel kills a
// process with the thread that started it (PR_SET_PDEATHSIG), so none outlives the test, even one
// that is killed itself.
type keeper struct {
	work chan func()
}

// keep starts a keeper on a new thread, in the namespace that enter moves it to.
func keep(enter func() error) (*keeper, error) {
	k := &keeper{work: make(chan func())}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		err := enter()
		entered <- err
		if err != nil {
			return
		}
		for f := range k.work {
			f()
		}
	}()
	return k, <-entered
}

// call runs f on the keeper's thread.
func (k *keeper) call(f func()) {
	done := make(chan struct{})
	k.work <- func() { defer close(done); f() }
	<-done
}

func (k *keeper) close() { close(k.work) }

// A Process is a program that runs in a namespace, and its children. All are killed when the test
// ends.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; valid once done is closed

	mu sync.Mutex
	// out is guarded by mu.
	out bytes.Buffer
}

// Start starts a program in the namespace. What it prints on both streams is kept for Output.
func (ns *Namespace) Start(t testing.TB, words ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(words[0], words[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	// A group of its own takes the children along when it is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = time.Second // for children that hold the pipe
	var err error
	ns.keeper.call(func() { err = p.cmd.Start() })
	if err != nil {
		t.Fatalf("start %s: %v", strings.Join(words, " "), err)
	}
	go func() {
		if p.err = p.cmd.Wait(); errors.Is(p.err, exec.ErrWaitDelay) {
			p.err = nil // it has ended well, and left a child behind
		}
		close(p.done)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Write implements io.Writer, for the process's own output.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

// Output returns what the process has printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// PID returns the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the process ended, as exec.Cmd.Wait does, and waits for that. Of a process that
// leaves a child behind, Output may miss what the child says later.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Signal sends the process a signal.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill kills the process with its children, and waits for its end.
func (p *Process) Kill() {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	}
	<-p.done
}

// Stop ends the process by SIGTERM and fails the test if it does not go within limit.
func (p *Process) Stop(t testing.TB, limit time.Duration) {
	t.Helper()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(limit):
		p.Kill()
		t.Errorf("process %d has not ended %v after SIGTERM:\n%s", p.PID(), limit, p.Output())
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

// ID returns the inode that identifies the namespace.
func (ns *Namespace) ID(t testing.TB) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.file.Fd()), &st); err != nil {
		t.Fatalf("identify network namespace: %v", err)
	}
	return st.Ino
}

// Processes returns the processes in the namespace other than the test itself, as "PID name".
func (ns *Namespace) Processes(t testing.TB) []string {
	t.Helper()
	want := fmt.Sprintf("net:[%d]", ns.ID(t))
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

// sweep kills what still runs in the namespace: programs that left their process group.
func (ns *Namespace) sweep(t testing.TB) {
	for _, p := range ns.Processes(t) {
		pid, name, _ := strings.Cut(p, " ")
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 1 {
			continue
		}
		t.Logf("process %d (%s) was still in the namespace: killed", n, name)
		_ = syscall.Kill(n, syscall.SIGKILL)
	}
}
