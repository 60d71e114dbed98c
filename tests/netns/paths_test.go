//go:build linux

package netns_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

var update = flag.Bool("update", false, "write docs/paths.md from what TestReachMatrix finds")

// A cell names an entry of the table of paths: how the first kind sends to the second.
type cell struct{ from, to netns.Kind }

// pathSettle is how long the paths must stay as they are before they are written down, and pathPatience how long
// they may take for that.
const (
	pathSettle   = 15 * time.Second
	pathPatience = 3 * time.Minute
)

// paths waits until no pair changes its path any more and returns how each sends, seen at the sender.
func (m *reachMatrix) paths(t *testing.T, kinds []netns.Kind) map[cell]string {
	t.Helper()
	now := m.readPaths(t)
	for start := time.Now(); time.Since(start) < pathPatience; {
		netns.Pause(pathSettle)
		before := now
		if now = m.readPaths(t); maps.Equal(before, now) {
			return now
		}
	}
	t.Errorf("the paths still change after %v", pathPatience)
	return now
}

// readPaths sends a ping each way, lest a link is idle, and reads every VR's links.
func (m *reachMatrix) readPaths(t *testing.T) map[cell]string {
	t.Helper()
	for _, p := range m.pairs() {
		for _, way := range []pair{p, {p.to, p.from}} {
			netns.Ping(t, way.from.LAN.Hosts[0], way.to.Addr4(t, 0))
		}
	}
	cells := map[cell]string{}
	for _, p := range m.pairs() {
		// Of a kind with itself, the first site's view: the other's cell would be the same.
		cells[cell{p.from.Kind, p.to.Kind}] = links(t, p.from)[p.to.Name].String()
		if p.from.Kind != p.to.Kind {
			cells[cell{p.to.Kind, p.from.Kind}] = links(t, p.to)[p.from.Name].String()
		}
	}
	return cells
}

// pathTable is the Markdown of the table.
func pathTable(kinds []netns.Kind, cells map[cell]string) string {
	var b strings.Builder
	b.WriteString("| from, to |")
	for _, k := range kinds {
		fmt.Fprintf(&b, " %v |", k)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, from := range kinds {
		fmt.Fprintf(&b, "| **%v** |", from)
		for _, to := range kinds {
			fmt.Fprintf(&b, " %s |", cells[cell{from, to}])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// writePaths writes docs/paths.md.
func writePaths(t *testing.T, kinds []netns.Kind, cells map[cell]string) {
	t.Helper()
	text := `# Which path each pair of sites ends on

Written by ` + "`TestReachMatrix`" + ` with ` + "`-update`" + `: two public sites that relay, two sites of each kind, real translators, firewalls and
proxies in network namespaces, everybody joined through one address. Each pair has exchanged pings and files both ways before
its links were read. What the kinds do to plain packets is measured by ` + "`TestKinds`" + `.

A row is the sender, a column the receiver. *direct*: to an endpoint that anybody can reach; *punched*: through the translators
of both, by their hole; *stream*: over a connection to the receiver; *relayed*: through a queue-VR. Behind it stands how the
sender's own datagrams leave: udp, tcp, or tls.

`
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "paths.md"), []byte(text+pathTable(kinds, cells)), 0o644); err != nil {
		t.Fatal(err)
	}
}
