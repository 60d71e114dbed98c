package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/control"
)

// An Env is what a command runs in: where its input comes from, where its output goes, and the
// global flags. It serves one run.
type Env struct {
	Args           []string // without the name of the program
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	Rand           io.Reader

	// The global flags.
	config, socket       string
	api, as              string
	json, quiet, verbose bool

	ctx     context.Context // of the command
	begun   bool            // the command itself runs: its arguments are of the right number and type
	printed bool            // a JSON document is on Stdout
}

// configPath returns where the configuration file is and whether the user said so.
func (e *Env) configPath() (path string, named bool) {
	if e.config != "" {
		return e.config, true
	}
	if path := os.Getenv("VINE_CONFIG"); path != "" {
		return path, true
	}
	return config.DefaultPath(), false
}

// loadConfig reads the configuration. A file that the user did not name may be absent.
func (e *Env) loadConfig() (config.Config, error) {
	path, named := e.configPath()
	c, err := config.Load(path, !named)
	if err != nil {
		return c, badConfig(err)
	}
	return c, nil
}

// loadConfigMaybe is loadConfig for commands that may be about to write the file: one that the user
// named may be absent too.
func (e *Env) loadConfigMaybe() (config.Config, error) {
	path, _ := e.configPath()
	c, err := config.Load(path, true)
	if err != nil {
		return c, badConfig(err)
	}
	return c, nil
}

// socketPath returns where the control socket of the VR is.
func (e *Env) socketPath() (string, error) {
	if e.socket != "" {
		return e.socket, nil
	}
	if path := os.Getenv("VINE_SOCKET"); path != "" {
		return path, nil
	}
	c, err := e.loadConfig()
	return c.Control, err
}

// client returns a client of the VR: the one at --api, else the one that runs here.
func (e *Env) client() (*control.Client, error) { return e.clientOf(nil) }

// clientOf is client for a user whose key is known already. A key that --as names counts before it.
func (e *Env) clientOf(user ed25519.PrivateKey) (*control.Client, error) {
	address := e.api
	if address == "" && e.socket == "" {
		address = os.Getenv("VINE_API")
	}
	if address == "" {
		if e.as != "" {
			return nil, usage("--as names a key for --api; on the socket of this machine none is needed")
		}
		path, err := e.socketPath()
		if err != nil {
			return nil, err
		}
		return control.NewClient(path), nil
	}
	if e.socket != "" {
		return nil, usage("--api and --socket name two VRs; say which one")
	}
	if user == nil || e.as != "" {
		var err error
		if user, err = e.userKey(e.ctx, e.as); err != nil {
			return nil, err
		}
	}
	c, err := control.NewRemote(address, user)
	if err != nil {
		return nil, usage("%w", err)
	}
	return c, nil
}

// say tells the user something, unless he wants quiet.
func (e *Env) say(format string, args ...any) {
	if !e.quiet {
		fmt.Fprintln(e.Stderr, tame(fmt.Sprintf(format, args...)))
	}
}

// warn tells the user something that he must not miss.
func (e *Env) warn(format string, args ...any) {
	fmt.Fprintln(e.Stderr, "vine: warning: "+tame(fmt.Sprintf(format, args...)))
}

// log returns the logger for packages that take one: warnings, or with -v everything.
func (e *Env) log() *slog.Logger {
	level := slog.LevelWarn
	if e.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: level}))
}

// call runs f with a client of the running VR.
func (e *Env) call(ctx context.Context, f func(ctx context.Context, c *control.Client) error) error {
	c, err := e.client()
	if err != nil {
		return err
	}
	return f(ctx, c)
}

// absolute returns path for messages that a user may read in another directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
