package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// An asking is how a management operation is asked for: whose key signs and how long to wait.
type asking struct {
	user string
	wait time.Duration
	plan bool // only say what would happen
}

// flags adds the flags of commands that ask for an operation.
func (a *asking) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.user, "user", "", "`FILE` with your user key (default: $VINE_USER, or user.key in the state directory)")
	if a.plan {
		return
	}
	c.Flags().DurationVar(&a.wait, "wait", 30*time.Second, "how long to wait for the outcome; 0: not at all")
	c.PreRunE = func(*cobra.Command, []string) error {
		if a.wait < 0 {
			return fmt.Errorf("--wait %s is negative", a.wait)
		}
		return nil
	}
}

// ask signs a request for op with the user's key, hands it to the running VR and waits for the
// outcome, which it prints; or it asks what would happen, and prints that. A refusal is an error that wraps control.ErrRefused.
func (e *Env) ask(ctx context.Context, a asking, op string, args any) error {
	user, err := e.credential(ctx, a.user)
	if err != nil {
		return err
	}
	vr, err := e.clientOf(user.key)
	if err != nil {
		return err
	}
	if err := user.introduce(ctx, vr); err != nil {
		return err
	}
	d, err := policy.NewRequest(e.Now(), e.Rand, user.key, op, args)
	if err != nil {
		return err
	}
	if a.plan {
		return e.plan(ctx, vr, d)
	}
	r, err := vr.Submit(ctx, d.Bytes())
	if err != nil {
		return err
	}
	hash := d.Hash()
	e.say("request %s is accepted: it is on this VR's disk and on its way to the authority", hex.EncodeToString(hash[:4]))
	if r, err = e.await(ctx, vr, hash, r, a.wait); err != nil {
		return err
	}
	if r.State == tables.StateRefused {
		return fmt.Errorf("the authority %w it: %s", control.ErrRefused, clean(r.Reason))
	}
	if e.json {
		return e.printJSON(document{"request": r})
	}
	return e.pairs("request", r.ID, "state", r.State, "result", r.Result)
}

// await waits until the request is done or refused, or wait has passed.
func (e *Env) await(ctx context.Context, vr *control.Client, id tables.Hash, r control.Request, wait time.Duration) (control.Request, error) {
	final := func() bool { return r.State == tables.StateDone || r.State == tables.StateRefused }
	if final() || wait == 0 {
		return r, nil
	}
	end := time.Now().Add(wait)
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	told := r.State
	for !final() {
		// In whole seconds, at least one, so that it never spins; ctx cuts the last one short.
		pause := min(max(time.Until(end), time.Second), control.WaitMax)
		next, err := vr.Request(ctx, id, pause)
		if errors.Is(err, context.DeadlineExceeded) {
			return r, hinted(fmt.Errorf("no outcome within %s (the request is %s): %w", wait, r.State, err),
				"the request stays valid for 30 days and is carried out when the authority sees it; do not send it again")
		}
		if errors.Is(err, control.ErrNotFound) { // it was taken, and is gone
			return r, fmt.Errorf("%w: the request was dropped, since the right of its user has ended meanwhile", control.ErrRefused)
		}
		if err != nil {
			return r, err
		}
		if r = next; r.State != told && !final() {
			told = r.State
			e.say("the authority has seen the request; it is %s: %s", r.State, clean(r.Reason))
		}
	}
	return r, nil
}

// confirm asks the user whether to go on with what cannot be undone, unless he has said yes.
func (e *Env) confirm(ctx context.Context, said bool, question string) error {
	if said {
		return nil
	}
	stdin, ok := e.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(stdin.Fd())) {
		return usage("%s This cannot be undone; say --yes", question)
	}
	fmt.Fprintf(e.Stderr, "%s This cannot be undone. Type yes: ", question)
	line, err := unless(ctx, func() (string, error) { return bufio.NewReader(stdin).ReadString('\n') })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}
