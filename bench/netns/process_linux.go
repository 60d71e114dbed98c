package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A keeper is a thread that stays in a namespace and starts its processes. The kernel kills a process with the
// thread that started it (PR_SET_PDEATHSIG), so none outlives this process, even one that is killed itself.
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

// onOwnThread calls f on a thread that ends afterwards.
func onOwnThread(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		result <- f()
	}()
	return <-result
}

// A Process is a program that runs in a namespace, and its children. All are killed when the namespace is closed.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; valid once done is closed

	mu sync.Mutex
	// out is guarded by mu.
	out bytes.Buffer
}

// Start starts a program in the namespace. What it prints on both streams is kept for Output.
func (ns *Namespace) Start(words ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(words[0], words[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	// A group of its own takes the children along when it is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = time.Second // for children that hold the pipe
	var err error
	ns.keeper.call(func() { err = p.cmd.Start() })
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", strings.Join(words, " "), err)
	}
	go func() {
		if p.err = p.cmd.Wait(); errors.Is(p.err, exec.ErrWaitDelay) {
			p.err = nil // it has ended well, and left a child behind
		}
		close(p.done)
	}()
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.processes = append(ns.processes, p)
	return p, nil
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

// Err returns how the process ended, as exec.Cmd.Wait does, and waits for that. Of a process that leaves a child
// behind, Output may miss what the child says later.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Wait waits for the process's end and returns how it ended. If ctx ends first it kills the process and returns the
// context's error.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
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

// Stop ends the process by SIGTERM, and kills it if it does not go within limit: that is an error.
func (p *Process) Stop(limit time.Duration) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("process %d has not ended %v after SIGTERM", p.PID(), limit)
	}
}
