package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/state"
)

// An exit is the outcome of a command: the process's exit code.
type exit int

// The exit codes, as they stand in `vine help exit-codes`.
const (
	exitOK           exit = 0
	exitFailure      exit = 1
	exitUsage        exit = 2
	exitNotFound     exit = 3
	exitNotPermitted exit = 4
	exitUnreachable  exit = 5
	exitConfig       exit = 78  // EX_CONFIG of sysexits.h
	exitTimeout      exit = 124 // as timeout(1)
	exitInterrupted  exit = 130 // 128 + SIGINT, as shells have it
)

// exitCodesTopic is the page `vine help exit-codes`.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes of vine mean",
		Long: `Exit codes, with the name that errors have under --json:

    0  ok
    1  failure         it did not work
    2  usage           the command was called wrongly; nothing was tried
    3  not_found       nothing has that name
    4  not_permitted   the federation, the VR or the system refused
    5  unreachable     no running VR answers
   78  bad_config      the configuration file is wrong
  124  timeout         no outcome in the time given
  130  interrupted`,
	}
}

// String returns the name that JSON errors carry.
func (x exit) String() string {
	switch x {
	case exitOK:
		return "ok"
	case exitUsage:
		return "usage"
	case exitNotFound:
		return "not_found"
	case exitNotPermitted:
		return "not_permitted"
	case exitUnreachable:
		return "unreachable"
	case exitConfig:
		return "bad_config"
	case exitTimeout:
		return "timeout"
	case exitInterrupted:
		return "interrupted"
	default:
		return "failure"
	}
}

// A fault is an error with the exit code it leads to and, perhaps, a hint at what to do.
type fault struct {
	err  error
	code exit
	hint string
}

// Error implements error.
func (f *fault) Error() string { return f.err.Error() }

// Unwrap returns the error that led here.
func (f *fault) Unwrap() error { return f.err }

// usage returns an error about how the command was called.
func usage(format string, args ...any) error {
	return &fault{fmt.Errorf(format, args...), exitUsage, ""}
}

// badConfig returns an error about the configuration file.
func badConfig(err error) error {
	return &fault{err, exitConfig, "`vine config default` prints every key with its meaning"}
}

// hinted returns err with a hint at what to do. The exit code stays what err leads to.
func hinted(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &fault{err, codeOf(err), fmt.Sprintf(format, args...)}
}

// codeOf returns the exit code that err leads to.
func codeOf(err error) exit {
	var f *fault
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, control.ErrElsewhere):
		return exitUsage
	case errors.Is(err, control.ErrNotFound):
		return exitNotFound
	case errors.Is(err, control.ErrRefused), errors.Is(err, control.ErrForbidden), errors.Is(err, node.ErrRefused), errors.Is(err, fs.ErrPermission):
		return exitNotPermitted
	case errors.Is(err, control.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailure
	}
}

// hintOf returns what to do about err, or "".
func hintOf(err error) string {
	var f *fault
	if errors.As(err, &f) && f.hint != "" {
		return f.hint
	}
	switch {
	case errors.Is(err, control.ErrUnreachable):
		return "start the VR of this machine with `vine up`, or name its control socket with --socket"
	case errors.Is(err, fs.ErrPermission):
		return "run it as root, or as a member of the group that owns the file"
	case errors.Is(err, state.ErrInUse):
		return "a VR runs on it: stop that first, or name another configuration with --config"
	case errors.Is(err, node.ErrNotEnrolled):
		return "found a federation with `vine init`, or join one with `vine join SEED`"
	}
	return ""
}

// report tells the user about err, with which the command c ended, and returns the exit code.
func (e *Env) report(c *cobra.Command, err error) int {
	if err == nil {
		return int(exitOK)
	}
	code, hint := codeOf(err), hintOf(err)
	if !e.begun {
		code = exitUsage
	}
	if code == exitUsage && hint == "" {
		hint = "`" + c.CommandPath() + " --help` explains the command"
	}
	message := tame(strings.TrimSpace(err.Error()))
	if code == exitInterrupted {
		message = "interrupted"
	}
	// What else stands in cobra's messages about unknown commands is a hint.
	if first, rest, ok := strings.Cut(message, "\n"); ok && !e.begun {
		message, hint = first, strings.Join(strings.Fields(rest), " ")
	}
	if (e.json || !e.begun && e.wantsJSON()) && !e.printed {
		e.printJSON(document{
			"error": document{"code": code.String(), "exit": int(code), "message": message, "hint": hint},
		})
	}
	fmt.Fprintf(e.Stderr, "vine: error: %s\n", message)
	if hint != "" {
		fmt.Fprintf(e.Stderr, "vine: hint: %s\n", tame(hint))
	}
	return int(code)
}

// wantsJSON reports whether --json stands among the arguments, for errors that keep them from being
// read in full.
func (e *Env) wantsJSON() bool {
	args := e.Args
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json")
}
