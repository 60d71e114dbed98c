package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vine-mesh/vine/bench"
)

// A carrier is a party: how to find its programs, and how to have it carry packets.
type carrier struct {
	name string
	mtu  int    // of its tunnel; zero: open says
	what string // how it is set up, for the report
	// programs are what it needs, each with the names that it goes by.
	programs [][]string
	get      string // how to install them
	// version are the words that print its version, the first being a program of programs.
	version []string
	// open starts the routers. The hosts need not reach each other when it returns.
	open func(ctx context.Context, s *sites, program func(name string) string) error
	// variant returns the party set up in another way, in words that it understands; nil if there is none.
	variant func(words string) carrier
	// patience is how long the hosts may take to reach each other after that.
	patience time.Duration
}

// tunnelMTU is what the peers' tunnels get: the most that fits into 1,500 bytes behind the outer headers of WireGuard and
// Nebula over IPv4, 60 bytes.
const tunnelMTU = 1440

// buffer is what the peers are told to ask for as socket buffers, where they can be told: wireguard-go asks for 7 MiB by
// itself.
const buffer = 7 << 20

var kernel = carrier{
	name: bench.Kernel, mtu: 1500, what: "forwarding alone: no tunnel, no cryptography",
	open: func(context.Context, *sites, func(string) string) error { return nil },
}

// peers are the other tunnels that can be compared.
var peers = []carrier{wireGuard, nebula, tinc, openVPN}

// lookPath finds a program by one of its names, in the PATH and where `go install` puts programs.
func lookPath(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range goBin() {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("no %s in the PATH", strings.Join(names, " or "))
}

// goBin returns the directories where `go install` puts programs: `go help install`.
func goBin() (dirs []string) {
	if dir := os.Getenv("GOBIN"); dir != "" {
		dirs = append(dirs, dir)
	}
	for _, dir := range filepath.SplitList(os.Getenv("GOPATH")) {
		dirs = append(dirs, filepath.Join(dir, "bin"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, "go", "bin"))
	}
	return append(dirs, "/usr/sbin", "/sbin")
}

// find looks for the party's programs.
func (c carrier) find() (paths map[string]string, err error) {
	paths = map[string]string{}
	for _, names := range c.programs {
		path, err := lookPath(names...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; to get it: %s", c.name, err, c.get)
		}
		paths[names[0]] = path
	}
	return paths, nil
}

// describe returns the party for the report.
func (c carrier) describe(paths map[string]string) bench.Party {
	p := bench.Party{Name: c.name, MTU: c.mtu, Setup: c.what}
	if len(c.version) > 0 {
		out, _ := exec.Command(paths[c.version[0]], c.version[1:]...).CombinedOutput() // some exit with 1 after it
		p.Version = versionIn(string(out))
	}
	return p
}

// versionIn returns the first word that begins like a version.
func versionIn(text string) string {
	for word := range strings.FieldsSeq(text) {
		plain := strings.TrimPrefix(word, "v")
		if len(plain) > 2 && plain[0] >= '0' && plain[0] <= '9' && strings.Contains(plain, ".") {
			return plain
		}
	}
	return ""
}

// tail returns the last lines of a text.
func tail(text string) string {
	const linesMax = 12
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-linesMax):], "\n")
}
