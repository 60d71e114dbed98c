package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/mesh/serfrpc"
	"github.com/vine-mesh/vine/node/capture/hostnet"
	"github.com/vine-mesh/vine/node/config"
)

func newUpCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Run this machine's VR in the foreground",
		Long: `up runs the VR until SIGTERM or SIGINT; then it takes leave of the others, closes its
links, and puts the machine back as it was. The ViNe space stays unreachable from this machine
while no VR runs, so that nothing of a VN leaves in the clear: "vine down" ends that too.

SIGHUP reads the configuration again. A wrong file changes nothing. Under systemd it reports
readiness (Type=notify).`,
		Example: `  vine up
  vine up --config ./vine.toml -v`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.up(c.Context()) },
	}
}

func newDownCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Undo what a VR has set up on this machine, the guard routes too",
		Long: `down removes every route, rule and device that "vine up" has made here and not removed:
the guard routes that keep packets for the ViNe space from leaving in the clear while no VR runs,
and whatever a VR that was killed has left. It refuses while a VR runs.`,
		Example: `  vine down`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := e.loadConfig()
			if err != nil {
				return err
			}
			return hostnet.Teardown(journalPath(cfg))
		},
	}
}

// up runs the VR.
func (e *Env) up(ctx context.Context) error {
	cfg, err := e.loadConfig()
	if err != nil {
		return err
	}
	logs := &serfrpc.Ring{}
	log := slog.New(logs.Handler(logHandler(e.Stderr, cfg, e.verbose)))
	v, err := newVR(vrPlan{Config: cfg, Load: e.loadConfig, Log: log, Logs: logs, Rand: e.Rand})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ended := make(chan error, 1)
	go func() { ended <- v.run(ctx) }()
	id, name := v.Node.Router()
	log.Info("VR runs", "router", id.String(), "name", name, "listen", v.Endpoint, "control", cfg.Control, "api", v.API)
	tellSystemd("READY=1\nSTATUS=" + name + " runs")
	stopping := ctx.Done()
	for {
		select {
		case err := <-ended:
			return err
		case <-stopping:
			tellSystemd("STOPPING=1")
			log.Info("VR stops")
			stopping = nil
		case <-hup:
			e.reload(ctx, v, log)
		}
	}
}

// reload reads the configuration again and applies what can change while the VR runs.
func (e *Env) reload(ctx context.Context, v *vr, log *slog.Logger) {
	tellSystemd("RELOADING=1\n" + monotonic())
	if err := v.Node.API().Reload(ctx); err != nil {
		log.Error("configuration not changed", "err", err)
	} else {
		log.Info("configuration read again")
	}
	tellSystemd("READY=1")
}

func logHandler(w io.Writer, c config.Config, verbose bool) slog.Handler {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if verbose {
		o.Level = slog.LevelDebug
	}
	if c.LogJSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}
