package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/config"
)

func newConfigCommand(e *Env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "config",
		Short: "Print, check and show the configuration",
		Long: `The configuration is one TOML file, with strict keys: an unknown one is an error. Without a file
every parameter has its default.`,
		Example: "  vine config default > /etc/vine/vine.toml\n  vine config check",
	}, newConfigDefaultCommand(e), newConfigCheckCommand(e), newConfigShowCommand(e))
}

func newConfigDefaultCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "default",
		Short:   "Print every parameter with its meaning and default",
		Long:    `Prints a configuration file that holds every parameter with its meaning and its default.`,
		Example: "  vine config default > /etc/vine/vine.toml",
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			text := config.AppendDefault(nil)
			if e.json {
				return e.printJSON(document{"toml": string(text)})
			}
			_, err := e.Stdout.Write(text)
			return err
		},
	}
}

func newConfigCheckCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration file",
		Long: `Checks a configuration file as "vine up" does and names each problem with its line, and for an
unknown key the nearest one that there is. Exit code 78 says that the file is wrong.`,
		Example: "  vine config check\n  vine config check new.toml && mv new.toml /etc/vine/vine.toml && vine reload",
		Args:    takes("[FILE]"),
		RunE: func(_ *cobra.Command, args []string) error {
			path, named := e.configPath()
			if len(args) > 0 {
				path, named = args[0], true
			}
			if _, err := config.Load(path, !named); err != nil {
				return badConfig(err)
			}
			if e.json {
				return e.printJSON(document{"file": path, "ok": true})
			}
			e.say("%s is right", path)
			return nil
		},
	}
}

func newConfigShowCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Print the configuration that counts here",
		Long:    `Prints the configuration that "vine up" would use: the file, with defaults for what it leaves out.`,
		Example: "  vine config show\n  vine config show --json",
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			c, err := e.loadConfig()
			if err != nil {
				return err
			}
			path, _ := e.configPath()
			if e.json {
				return e.printJSON(document{"file": path, "config": configJSON(c)})
			}
			_, err = fmt.Fprintf(e.Stdout, "# %s\n%s", path, configTOML(c))
			return err
		},
	}
}

// texts writes a list as TOML and JSON both have it.
func texts[T any](list []T) string {
	var quoted []string
	for _, v := range list {
		quoted = append(quoted, strconv.Quote(fmt.Sprint(v)))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func rpcText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func logFormat(c config.Config) string {
	if c.LogJSON {
		return "json"
	}
	return "text"
}

// hidden shows that a secret is set, and not what it is.
func hidden(secret string) string {
	if secret == "" {
		return ""
	}
	return "(hidden)"
}

// configTOML writes c as the file has it. The token of the serf command is a secret and hidden.
func configTOML(c config.Config) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("state = %q\ncontrol = %q", c.State, c.Control)
	line("\n[underlay]\nlisten = %q\nendpoints = %s\nkind = %q\njoinable = %t", c.Listen, texts(c.Endpoints), c.Kind, c.Joinable)
	line("\n[capture]\nkind = %q\ndevice = %q\nmtu = %d", c.Capture, c.Device, c.MTU)
	for _, a := range c.Attachments {
		line("\n[[attachment]]\ninterface = %q\nvns = %s\ndevice = %q", a.Interface, texts(a.VNs), a.Device)
	}
	line("\n[gossip]\nrpc = %q\nrpc_token = %q", rpcText(c.RPC), hidden(c.RPCToken))
	line("\n[authority]\nauto_admit = %q", c.AutoAdmit)
	line("\n[log]\nlevel = %q\nformat = %q", strings.ToLower(c.LogLevel.String()), logFormat(c))
	return b.String()
}

func configJSON(c config.Config) document {
	attachments := []document{}
	for _, a := range c.Attachments {
		attachments = append(attachments, document{"interface": a.Interface, "vns": append([]string{}, a.VNs...), "device": a.Device})
	}
	return document{
		"state": c.State, "control": c.Control,
		"underlay": document{
			"listen": c.Listen, "endpoints": append([]netip.AddrPort{}, c.Endpoints...), "kind": c.Kind, "joinable": c.Joinable,
		},
		"capture":    document{"kind": c.Capture, "device": c.Device, "mtu": c.MTU},
		"attachment": attachments,
		"gossip":     document{"rpc": rpcText(c.RPC), "rpc_token": hidden(c.RPCToken)},
		"authority":  document{"auto_admit": c.AutoAdmit},
		"log":        document{"level": strings.ToLower(c.LogLevel.String()), "format": logFormat(c)},
	}
}
