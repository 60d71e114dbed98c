package hostnet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/vine-mesh/vine/internal/durable"
)

// A Setup is the changes that Apply made. Its methods may be called concurrently, but all on
// threads of the network namespace in which Apply was called.
type Setup struct {
	mu      sync.Mutex // guards all fields
	kernel  *kernel
	journal journal
	lock    io.Closer
	current state
	closed  bool
	noForce bool // tests: play a kernel without force_forwarding
}

// Apply changes the machine as the plan says. What it changes it writes to the journal file first,
// a path that only this router uses and that Apply may be called with again after a crash; its
// folder must exist. While the Setup is open nobody else can use the journal.
//
// If Apply fails, it has undone what it did. The error says what to do if the right to change the
// network is missing, an interface is absent or down, or the ViNe space collides with a route of
// the machine.
func Apply(plan Plan, journalPath string) (*Setup, error) {
	return apply(plan, journalPath, false)
}

func apply(plan Plan, journalPath string, noForce bool) (*Setup, error) {
	lock, err := lockJournal(journalPath)
	if err != nil {
		return nil, fmt.Errorf("set up the host network: %w", err)
	}
	s := &Setup{journal: journal{journalPath}, lock: lock, noForce: noForce}
	if s.kernel, err = openKernel(); err == nil {
		if s.current, err = s.journal.load(); err == nil {
			err = s.reconcile(plan)
		}
	}
	if err != nil {
		s.release()
		return nil, fmt.Errorf("set up the host network: %w", err)
	}
	return s, nil
}

// Update changes the machine from the present plan to another, adding before it removes; what
// both plans have is not touched, but made again if it is missing. If it fails, what both plans
// have is in force.
func (s *Setup) Update(plan Plan) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("update the host network: it has been torn down")
	}
	if err := s.reconcile(plan); err != nil {
		return fmt.Errorf("update the host network: %w", err)
	}
	return nil
}

// Close undoes everything but the guard routes: the ViNe space stays unreachable, so that nothing
// for it leaves in the clear while no router runs. It tries to undo all; what it could not is in
// the journal still. The second and later calls do nothing and return nil.
func (s *Setup) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	defer s.release()
	guards := state{Guards: s.current.Guards}
	if err := s.kernel.undo(s.current.without(guards)); err != nil {
		return fmt.Errorf("restore the host network: %w", err)
	}
	return s.journal.save(guards)
}

// Teardown undoes everything that the journal lists, the guard routes too, and removes the
// journal. It fails if a router is using it. Without a journal file it does nothing.
func Teardown(journalPath string) error {
	if err := teardown(journalPath); err != nil {
		return fmt.Errorf("tear down the host network: %w", err)
	}
	return nil
}

func teardown(journalPath string) error {
	if _, err := os.Stat(journalPath); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := lockJournal(journalPath)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	k, err := openKernel()
	if err != nil {
		return err
	}
	defer k.close()
	j := journal{journalPath}
	s, err := j.load()
	if err != nil {
		return err
	}
	if err := k.undo(s); err != nil {
		return err
	}
	if err := j.save(state{}); err != nil {
		return err
	}
	return os.Remove(lockPath(journalPath))
}

func (s *Setup) release() {
	if s.kernel != nil {
		s.kernel.close()
	}
	_ = s.lock.Close()
}

// lockJournal makes sure that one process uses the journal. The kernel drops the lock when the
// process ends, however it ends.
func lockJournal(path string) (io.Closer, error) {
	lock, err := durable.OS.Lock(lockPath(path), 0o600)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("journal %s is in use: another router runs with it; stop that one first", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return lock, nil
}

func lockPath(journal string) string { return journal + ".lock" }

// reconcile takes the machine from s.current to what the plan wants.
func (s *Setup) reconcile(plan Plan) error {
	if err := plan.check(); err != nil {
		return err
	}
	before := s.current
	wanted := plan.desired()
	if err := s.kernel.inspect(plan, before.union(wanted)); err != nil {
		return err
	}
	var err error
	if wanted.Addresses, err = s.kernel.missing(wanted.Addresses, before.Addresses); err != nil {
		return err
	}
	if wanted.Sysctls, err = plan.sysctls(before.Sysctls, s.noForce); err != nil {
		return err
	}

	// From here on the machine changes, and the journal knows it first.
	if err := s.journal.save(before.union(wanted)); err != nil {
		return err
	}
	if err := s.kernel.make(plan, wanted); err != nil {
		return errors.Join(err, s.rollBack(before, wanted))
	}
	s.current = before.union(wanted)
	if err := s.kernel.undo(before.without(wanted)); err != nil {
		return err // it stays in the journal
	}
	s.current = wanted
	return s.journal.save(wanted)
}

// rollBack undoes what wanted has and before has not.
func (s *Setup) rollBack(before, wanted state) error {
	if err := s.kernel.undo(wanted.without(before)); err != nil {
		return fmt.Errorf("then undo what was done: %w", err)
	}
	return s.journal.save(before)
}
