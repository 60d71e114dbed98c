package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/tables"
)

// A founder holds the flags of `vine init`.
type founder struct {
	name, vr, site, user string
	space                []netip.Prefix
	endpoints            []netip.AddrPort
	lan                  string
	passphrase, rootKey  string
}

func newInitCommand(e *Env) *cobra.Command {
	var f founder
	c := &cobra.Command{
		Use:   "init",
		Short: "Found a federation, with this machine as its first VR",
		Long: `Founds a federation and makes this machine its first VR, without any network. It makes

  - the root key, which says who may sign for the federation. It goes into a file of its own, sealed
    by a passphrase. Take that file off this machine: it is needed only to replace the authority
    key, every two years or after a theft, and with it a thief of this machine can replace it too.
  - the authority key, which signs who is a member and what the virtual networks are. It stays in the
    state directory and works while "vine up" runs; the federation carries traffic without it.
  - your user key, by which you ask for changes, in user.key of the state directory.
  - the identity and the link key of the VR.

When anything fails nothing is left behind.`,
		Example: `  vine init --name grid --site tokyo --endpoint 203.0.113.5:8463 --lan eth1
  vine init --name lab --space 10.192.0.0/10 --passphrase-file /run/keys/phrase --root-key /media/usb/root.key.sealed`,
		Args: takes(),
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), e) },
	}
	fs := c.Flags()
	fs.StringVar(&f.name, "name", "", "`NAME` of the federation")
	fs.StringVar(&f.vr, "vr", "", "`NAME` of this VR (default: after the machine)")
	fs.StringVar(&f.site, "site", "", "`NAME` of this site (default: that of the VR)")
	fs.StringVar(&f.user, "user-name", "admin", "`NAME` of the first administrator: you")
	list(fs, &f.space, "space", "`PREFIX` of the ViNe space (default: 10.192.0.0/10 and a random IPv6 /48)", parsePrefix)
	list(fs, &f.endpoints, "endpoint", "`ADDRESS[:PORT]` at which other sites reach this VR", config.ParseEndpoint)
	fs.StringVar(&f.lan, "lan", "", "`INTERFACE` of the LAN whose hosts this VR serves, such as eth1")
	fs.StringVar(&f.passphrase, "passphrase-file", "", "`FILE` with the passphrase of the root key (default: ask)")
	fs.StringVar(&f.rootKey, "root-key", "root.key.sealed", "`FILE` for the sealed root key")
	return c
}

func (f founder) run(ctx context.Context, e *Env) error {
	c, edit, err := f.prepare(e)
	if err != nil {
		return err
	}
	passphrase, err := e.passphrase(ctx, f.passphrase, true)
	if err != nil {
		return err
	}
	made, err := f.found(ctx, e, c.State)
	if err != nil {
		return err
	}
	e.say("sealing the root key; this takes a moment, on purpose")
	sealed, err := tables.SealKey(e.Rand, passphrase, made.Root)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := storeFederation(made, c.State, f.rootKey, sealed, edit); err != nil {
		return err
	}
	return f.tell(e, c, made, edit)
}

// prepare checks everything that can be wrong before a secret is made or asked for.
func (f *founder) prepare(e *Env) (config.Config, *configEdit, error) {
	var none config.Config
	if f.name == "" {
		return none, nil, usage("name the federation with --name")
	}
	if host, err := os.Hostname(); err == nil && f.vr == "" {
		f.vr = nameFrom(host)
	}
	if f.vr == "" {
		f.vr = "vr1"
	}
	if f.site == "" {
		f.site = f.vr
	}
	for _, n := range [][2]string{{"federation", f.name}, {"VR", f.vr}, {"site", f.site}, {"user", f.user}} {
		if err := checkName(n[0], n[1]); err != nil {
			return none, nil, err
		}
	}
	c, err := e.loadConfigMaybe()
	if err != nil {
		return none, nil, err
	}
	if err := checkVirgin(c.State); err != nil {
		return none, nil, err
	}
	if _, err := os.Lstat(f.rootKey); err == nil {
		return none, nil, hinted(fmt.Errorf("%s exists; it is not replaced", f.rootKey),
			"it may be the root key of another federation: move it away, or name another file with --root-key")
	}
	edit, err := f.configure(e, c)
	return c, edit, err
}

// configure says what the configuration file must still say for the flags: nil for nothing.
func (f *founder) configure(e *Env, c config.Config) (*configEdit, error) {
	var text string
	declared := func(c config.Config) bool { return len(f.endpoints) == 0 || sameSet(c.Endpoints, f.endpoints) }
	if !declared(c) {
		var quoted []string
		for _, ep := range f.endpoints {
			quoted = append(quoted, fmt.Sprintf("%q", ep))
		}
		text = fmt.Sprintf("[underlay]\nendpoints = [%s]\n", strings.Join(quoted, ", "))
	}
	if f.lan != "" && !serves(c, f.lan) {
		if err := checkInterface(f.lan); err != nil {
			return nil, err
		}
		text += attachmentText(f.lan)
	}
	if text == "" {
		return nil, nil
	}
	return e.planConfig(text, func(c config.Config) bool { return declared(c) && (f.lan == "" || serves(c, f.lan)) })
}

func sameSet(a, b []netip.AddrPort) bool {
	x, y := slices.Clone(a), slices.Clone(b)
	slices.SortFunc(x, netip.AddrPort.Compare)
	slices.SortFunc(y, netip.AddrPort.Compare)
	return slices.Equal(x, y)
}

// tell prints what was made and what to do next.
func (f founder) tell(e *Env, c config.Config, m *node.Federation, edit *configEdit) error {
	view := m.View
	root, _ := view.Root()
	vr, _ := view.EnrolmentByName(f.vr)
	configPath, _ := e.configPath()
	rootKey := absolute(f.rootKey)
	var warnings []string
	if len(c.Endpoints) == 0 && edit == nil && c.Kind != "regular" && !anyPublic(interfaceAddrs()) {
		warnings = append(warnings, fmt.Sprintf(`this machine has no public address, so other sites may not reach it and cannot join through it. `+
			`Forward UDP port %d of your router to it and say the outside address in %s: [underlay] endpoints = ["ADDRESS:%[1]d"]; `+
			`or join a VR that has a public address next, and let newcomers join through that`, c.Listen.Port(), configPath))
	}
	var err error
	if e.json {
		err = e.printJSON(document{
			"federation": root.Federation, "federation_id": view.FederationID().String(), "space": root.Space,
			"router": vr.Router, "name": vr.Name, "site": vr.Site, "blocks": vr.Blocks, "identity": vr.Identity.Fingerprint(),
			"state": c.State, "root_key": rootKey, "warnings": append([]string{}, warnings...),
		})
	} else {
		err = e.pairs(
			"federation", root.Federation, "fingerprint", view.FederationID().String(), "space", join(root.Space),
			"VR", fmt.Sprintf("%s (%s)", vr.Name, vr.Router), "site", vr.Site, "blocks", join(vr.Blocks),
			"state", c.State, "root key", rootKey,
		)
	}
	for _, w := range warnings {
		e.warn("%s", w)
	}
	if edit != nil {
		e.say("\n%s says now: %s", edit.path, oneLine(edit.text))
	}
	e.say(`
Take %s off this machine now, to a place that you will find again in two years: whoever
steals this machine with it can take over the federation, and without it nobody can replace
the authority key when that ends or is stolen.

Next:
  vine up                     run this VR (as root)
  vine invite --expires 24h   a ticket for another site
  vine join %s@%s:%d   on the other machine`,
		rootKey, view.FederationID(), f.seed(c), c.Listen.Port())
	return err
}

// seed is how another site may call this VR.
func (f founder) seed(c config.Config) string {
	for _, ep := range slices.Concat(f.endpoints, c.Endpoints) {
		if ep.Addr().Is6() {
			return "[" + ep.Addr().String() + "]"
		}
		return ep.Addr().String()
	}
	return "ADDRESS"
}

// interfaceAddrs returns the addresses of this machine.
func interfaceAddrs() []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var addrs []netip.Addr
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			addrs = append(addrs, p.Addr().Unmap())
		}
	}
	return addrs
}

// sharedSpace is for the inside of carriers' NATs (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// anyPublic reports whether one of addrs may be reached from the Internet.
func anyPublic(addrs []netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		a = a.Unmap()
		return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
	})
}
