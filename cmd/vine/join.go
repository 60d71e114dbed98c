package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A joiner holds the flags of `vine join`.
type joiner struct {
	seed                          seed
	name, site, with, invite, lan string
	timeout                       time.Duration
}

func newJoinCommand(e *Env) *cobra.Command {
	var j joiner
	c := &cobra.Command{
		Use:   "join [FINGERPRINT@]SEED[:PORT]",
		Short: "Make this machine a VR of a federation, knowing one member's address",
		Long: `Makes this machine a VR of a federation. All it needs is the address of one member that can be
reached. It shows the federation's fingerprint once and remembers it; with FINGERPRINT@ before the
seed it joins only that one.

An invite lets the machine in at once. Otherwise it waits until an administrator, anywhere, runs
"vine admit" with the fingerprint of this machine. It can be interrupted and started again.

With --with this VR becomes a second one, or third, of the site of another VR: it serves the hosts of that VR's blocks
together with it, on the same LAN, and takes over when that one dies. That takes an invite to the site, or an
administrator's word. Give both the same [[attachment]] gateway in the configuration.`,
		Example: `  vine join seed.example.org --site osaka --lan eth1
  vine join seed.example.org --with osaka1 --lan eth1 --invite @ticket
  vine join k5yq7hd2mzraw3cslt4exo6vbn2pjf5g@203.0.113.5 --invite @ticket`,
		Args: takes("SEED"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if j.seed, err = parseSeed(args[0]); err != nil {
				return err
			}
			return j.run(c.Context(), e)
		},
	}
	f := c.Flags()
	f.StringVar(&j.name, "name", "", "`NAME` of the VR (default: after the machine); a taken one gets a number")
	f.StringVar(&j.site, "site", "", "`NAME` of the site (default: as the invite says, else that of the VR)")
	f.StringVar(&j.with, "with", "", "`NAME` of a VR of the site whose blocks this VR is to share (default: new blocks)")
	f.StringVar(&j.invite, "invite", "", "invite `TICKET`, @FILE that holds it, or - for standard input")
	f.StringVar(&j.lan, "lan", "", "`INTERFACE` of the LAN whose hosts this VR serves, such as eth1")
	f.DurationVar(&j.timeout, "timeout", 0, "give up after this long (default: never)")
	return c
}

func (j joiner) run(ctx context.Context, e *Env) error {
	if j.timeout < 0 {
		return usage("--timeout %s is negative", j.timeout)
	}
	if j.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.timeout)
		defer cancel()
	}
	c, edit, err := j.prepare(e)
	if err != nil {
		return err
	}
	token, err := e.inviteText(ctx, j.invite)
	if err != nil {
		return err
	}
	seeds, err := j.seed.resolve(ctx)
	if err != nil {
		return err
	}
	socket, err := underlay.ListenUDP(c.Listen)
	if err != nil {
		return hinted(err, "is a VR running already? Stop it, or set [underlay] listen in the configuration")
	}
	defer socket.Close()
	dir, err := state.Open(c.State)
	if err != nil {
		return err
	}
	defer dir.Close()
	identity, err := node.MakeKey(dir, "identity", e.Rand)
	if err != nil {
		return err
	}
	e.say("the fingerprint of this machine is %s", tables.PublicOf(ed25519.NewKeyFromSeed(identity[:])))
	joined, err := node.Join(ctx, node.Joining{
		State: dir, Socket: socket, Streams: underlay.NewStreams(underlay.StreamsConfig{Rand: e.Rand, Log: e.log()}), Proxy: proxyOf(c), Seeds: seeds, Pin: j.seed.pin, Name: j.name, Site: j.site, With: j.with, Token: token,
		Rand: e.Rand, Log: e.log(), Progress: func(text string) { e.say("%s", clean(text)) },
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not admitted within %s: %w", j.timeout, err)
	}
	switch {
	case err == nil:
	case errors.Is(err, node.ErrRefused) || errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, node.ErrNoAnswer):
		return hinted(err, "the same command goes on with the same identity; an administrator may run `vine pending` meanwhile")
	default:
		return hinted(err, "check that the seed's VR runs, that its UDP port, or TCP port 443, is open, that it is not a limited VR itself, and that it lets newcomers ask (joinable = true)")
	}
	if edit != nil {
		if err := edit.write(); err != nil {
			e.warn("joined, but %v; add to %s: %s", err, edit.path, oneLine(edit.text))
		}
	}
	return j.tell(e, c, joined)
}

// prepare checks everything that can be wrong before a packet is sent.
func (j *joiner) prepare(e *Env) (config.Config, *configEdit, error) {
	var none config.Config
	if host, err := os.Hostname(); err == nil && j.name == "" {
		j.name = nameFrom(host)
	}
	for _, n := range [][2]string{{"VR", j.name}, {"site", j.site}, {"VR", j.with}} {
		if err := checkOptionalName(n[0], n[1]); err != nil {
			return none, nil, err
		}
	}
	c, err := e.loadConfigMaybe()
	if err != nil {
		return none, nil, err
	}
	documents, err := state.Read(c.State)
	if err != nil {
		return none, nil, err
	}
	if len(documents) > 0 {
		return none, nil, hinted(fmt.Errorf("%s belongs to a VR of a federation already", c.State),
			"`vine up` runs it; to join another federation, move the directory away or name another configuration with --config")
	}
	if j.lan == "" || serves(c, j.lan) {
		return c, nil, nil
	}
	if err := checkInterface(j.lan); err != nil {
		return none, nil, err
	}
	edit, err := e.planConfig(attachmentText(j.lan), func(c config.Config) bool { return serves(c, j.lan) })
	return c, edit, err
}

// serves reports whether the VR has an attachment on the LAN interface.
func serves(c config.Config, lan string) bool {
	return slices.ContainsFunc(c.Attachments, func(a config.Attachment) bool { return a.Interface == lan })
}

// checkInterface refuses the name of an interface that this machine does not have.
func checkInterface(name string) error {
	if _, err := net.InterfaceByName(name); err != nil {
		return hinted(fmt.Errorf("interface %q: %w", name, err), "`ip link` lists the interfaces of this machine")
	}
	return nil
}

// attachmentText is the part of a configuration file that makes a VR serve a LAN interface.
func attachmentText(lan string) string { return fmt.Sprintf("[[attachment]]\ninterface = %q\n", lan) }

// inviteText returns the invite that the flag names, having looked whether it is one.
func (e *Env) inviteText(ctx context.Context, flag string) (string, error) {
	text := flag
	switch {
	case flag == "":
		return "", nil
	case flag == "-":
		b, err := e.readDocumentFile(ctx, "-")
		if err != nil {
			return "", err
		}
		text = string(b)
	case strings.HasPrefix(flag, "@"):
		b, err := e.readDocumentFile(ctx, flag[1:])
		if err != nil {
			return "", fmt.Errorf("invite: %w", err)
		}
		text = string(b)
	}
	text = strings.TrimSpace(text)
	token, err := tables.ParseToken(text)
	if err != nil {
		return "", hinted(err, "copy the whole text that `vine invite` printed, or put it into a file and say --invite @FILE")
	}
	if end := time.Unix(token.Invite().NotAfter, 0); e.Now().After(end.Add(tables.Grace)) {
		return "", fmt.Errorf("the invite has expired on %s: ask for a new one", end.UTC().Format(time.RFC3339))
	}
	return text, nil
}

// tell prints who this machine is now and what to do next.
func (j joiner) tell(e *Env, c config.Config, n node.Joined) error {
	var err error
	if e.json {
		err = e.printJSON(document{
			"federation": n.Federation, "federation_id": n.FederationID.String(), "router": n.Router, "name": n.Name,
			"blocks": append([]netip.Prefix{}, n.Blocks...), "state": c.State,
		})
	} else {
		err = e.pairs(
			"federation", n.Federation, "fingerprint", n.FederationID.String(),
			"VR", fmt.Sprintf("%s (%s)", n.Name, n.Router), "blocks", join(n.Blocks), "state", c.State,
		)
	}
	e.say("\nNext:\n  vine up                   run this VR (as root)\n  vine host setup ADDRESS   what a host on the LAN needs")
	return err
}
