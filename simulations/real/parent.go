package real

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
	"github.com/vine-mesh/vine/simulations/scenario"
)

// ChildCommand is the hidden command by which a program runs itself again as a child: it calls Child.
const ChildCommand = "sim-child"

const (
	// stalled is how long virtual time may stand still before the child is taken to be stuck: a goroutine that waits for time while it holds
	// a lock stops the clock for ever.
	stalled = 2 * time.Minute
	// lineMax bounds what a child says at once.
	lineMax = 64 << 20
)

// An order is what a child is told, on its standard input.
type order struct {
	Scenario *scenario.Scenario
	Seed     uint64
}

// A word is what a child says, one a line: how far it is, or what it has.
type word struct {
	Virtual time.Duration
	Packets uint64
	Run     *result.Run
}

// Run runs a scenario with one seed in a child of this program. If ctx ends first it returns what there is until then, as a run that is not whole.
func Run(ctx context.Context, s *scenario.Scenario, seed uint64, p result.Progress) (result.Run, error) {
	self, err := os.Executable()
	if err != nil {
		return result.Run{}, err
	}
	return run(ctx, self, []string{ChildCommand}, s, seed, p)
}

func run(ctx context.Context, program string, args []string, s *scenario.Scenario, seed uint64, p result.Progress) (result.Run, error) {
	told, err := json.Marshal(order{s, seed})
	if err != nil {
		return result.Run{}, err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return result.Run{}, err
	}
	defer from.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(string(told))
	cmd.ExtraFiles = []*os.File{to} // descriptor 3
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var said tail
	cmd.Stderr = &said
	began := time.Now()
	err = cmd.Start()
	to.Close()
	if err != nil {
		return result.Run{}, err
	}
	var heard atomic.Int64 // Unix nanoseconds
	heard.Store(time.Now().UnixNano())
	ended := make(chan struct{})
	watched := make(chan struct{})
	stuck := false
	go func() {
		defer close(watched)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		interrupt := ctx.Done()
		for {
			select {
			case <-ended:
				return
			case <-interrupt:
				interrupt = nil
				cmd.Process.Signal(syscall.SIGTERM)
			case <-tick.C:
				if time.Since(time.Unix(0, heard.Load())) > stalled {
					stuck = true
					cmd.Process.Signal(syscall.SIGQUIT) // the goroutines are in what it says
					return
				}
			}
		}
	}()
	got, err := listen(from, func(w word) {
		heard.Store(time.Now().UnixNano())
		if p != nil {
			p(w.Virtual, w.Packets)
		}
	})
	failed := cmd.Wait()
	close(ended)
	<-watched
	switch {
	case stuck:
		return result.Run{}, fmt.Errorf("virtual time stood still for %v; its goroutines:\n%s", stalled, said.text)
	case err != nil:
		return result.Run{}, err
	case got == nil:
		return result.Run{}, fmt.Errorf("the child ended without a result: %w\n%s", orNothing(failed), said.text)
	}
	got.Cost.Wall = time.Since(began)
	got.Cost.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		got.Cost.Memory = u.Maxrss << 10
	}
	return *got, nil
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("exit code 0")
	}
	return err
}

// listen reads what a child says until it ends.
func listen(r io.Reader, progress func(word)) (got *result.Run, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		var w word
		if err := json.Unmarshal(lines.Bytes(), &w); err != nil {
			return nil, fmt.Errorf("the child says %.100q: %w", lines.Bytes(), err)
		}
		if w.Run != nil {
			got = w.Run
			continue
		}
		progress(w)
	}
	return got, lines.Err()
}

// A tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 64 << 10
	t.text = append(t.text, p...)
	if n := len(t.text); n > most {
		t.text = append(t.text[:0], t.text[n-most:]...)
	}
	return len(p), nil
}
