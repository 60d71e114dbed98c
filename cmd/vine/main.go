package main

import (
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/simulations/real"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == real.ChildCommand {
		real.Child()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, Env{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Now: time.Now, Rand: rand.Reader,
	})
	stop()
	os.Exit(code)
}

// run runs one command and returns its exit code.
func run(ctx context.Context, env Env) int {
	e := &env
	root := newRoot(e)
	root.SetArgs(append([]string{}, e.Args...))
	c, err := root.ExecuteContextC(ctx)
	return e.report(c, err)
}

// newRoot returns the whole tree of commands.
func newRoot(e *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "vine",
		Short: "Virtual networks between sites, without a controller",
		Long: `vine makes, joins, runs and inspects a federation of virtual routers (VRs).

A site puts one VR on its LAN. The hosts there need no software: an extra address and one
static route. The VRs carry isolated virtual networks (VNs) between the sites.`,
		Example: `  vine demo                               four sites in one process, to look at
  vine init --name grid                   found a federation
  vine join seed.example.org --lan eth1   join one that exists
  vine up                                 run this machine's VR
  vine vn create blue --host 10.192.0.10 --host 10.192.1.10`,
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(e.Stdin)
	root.SetOut(e.Stdout)
	root.SetErr(e.Stderr)
	f := root.PersistentFlags()
	f.StringVar(&e.config, "config", "", "configuration `FILE` (default: $VINE_CONFIG, or the system's place)")
	f.StringVar(&e.socket, "socket", "", "control socket `PATH` (default: $VINE_SOCKET, or what the configuration says)")
	f.StringVar(&e.api, "api", "", "call a VR over the network, not on this machine: `URL` https://HOST:PORT#FINGERPRINT (default: $VINE_API)")
	f.StringVar(&e.as, "as", "", "`FILE` with the user key to call --api with (default: --user, $VINE_USER, or user.key in the state directory)")
	f.BoolVar(&e.json, "json", false, "print one JSON document on standard output, errors too")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "no talk on standard error but warnings and errors")
	f.BoolVarP(&e.verbose, "verbose", "v", false, "more talk on standard error")

	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"A federation and its VRs:", []*cobra.Command{
			newInitCommand(e), newJoinCommand(e), newUpCommand(e), newDownCommand(e), newReloadCommand(e), newDrainCommand(e), newDemoCommand(e),
			newInviteCommand(e), newPendingCommand(e), newAdmitCommand(e), newRefuseCommand(e), newRevokeCommand(e),
			newDisableCommand(e), newEnableCommand(e),
			newUserCommand(e), newSiteCommand(e), newConsentCommand(e), newAuthorityCommand(e), newRootKeysCommand(e),
		}},
		{"Virtual networks and hosts:", []*cobra.Command{newVNCommand(e), newHostCommand(e)}},
		{"Looking:", []*cobra.Command{
			newStatusCommand(e), newMembersCommand(e), newSitesCommand(e), newVRsCommand(e),
			newHostsCommand(e), newRoutesCommand(e), newLinksCommand(e),
			newPathsCommand(e), newQueuesCommand(e), newEventsCommand(e), newMetricsCommand(e), newAlertsCommand(e), newBenchCommand(e), newSimCommand(e),
		}},
		{"Documents and configuration:", []*cobra.Command{
			newShowCommand(e), newSignCommand(e), newConfigCommand(e), newVersionCommand(e),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, c := range group.commands {
			c.GroupID = group.title
			root.AddCommand(c)
		}
	}
	root.AddCommand(exitCodesTopic())
	e.mark(root)
	return root
}

// mark has every command note that it has begun: an error before that is one of usage.
func (e *Env) mark(c *cobra.Command) {
	if f := c.RunE; f != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			e.begun, e.ctx = true, c.Context()
			return f(c, args)
		}
	}
	for _, sub := range c.Commands() {
		e.mark(sub)
	}
}
