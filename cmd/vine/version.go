package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A version says which program this is.
type version struct {
	module, version, commit, built, golang string
	modified                               bool
}

func readVersion() version {
	v := version{module: "github.com/vine-mesh/vine", version: "(devel)", golang: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.module, v.version = info.Main.Path, info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.commit = s.Value
		case "vcs.time":
			v.built = s.Value
		case "vcs.modified":
			v.modified = s.Value == "true"
		}
	}
	return v
}

// versionText is one line about this program.
func versionText() string {
	v := readVersion()
	text := "vine " + v.version
	if v.commit != "" {
		text += " " + v.commit[:min(len(v.commit), 12)]
	}
	return fmt.Sprintf("%s %s %s/%s", text, v.golang, runtime.GOOS, runtime.GOARCH)
}

func newVersionCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Which program this is",
		Long:    `Prints the version of the program; with --json also its module, commit and the time of the commit.`,
		Example: "  vine version\n  vine version --json",
		Args:    takes(),
		RunE: func(*cobra.Command, []string) error {
			if !e.json {
				_, err := fmt.Fprintln(e.Stdout, versionText())
				return err
			}
			v := readVersion()
			return e.printJSON(document{
				"module": v.module, "version": v.version, "commit": v.commit, "commit_time": v.built,
				"modified": v.modified, "go": v.golang, "os": runtime.GOOS, "arch": runtime.GOARCH,
			})
		},
	}
}
