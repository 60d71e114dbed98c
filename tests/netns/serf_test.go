//go:build linux

package netns_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// stockSerf returns the stock serf binary: the one that VINE_SERF names, or one built here.
func stockSerf(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("VINE_SERF"); path != "" {
		return path
	}
	dir := t.TempDir()
	c := exec.Command("go", "install", "github.com/hashicorp/serf/cmd/serf@v0.11.0")
	c.Dir = dir
	c.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := c.CombinedOutput(); err != nil {
		netnstest.Skip(t, "no stock serf binary: name one by VINE_SERF; to build it failed: "+string(out))
	}
	return filepath.Join(dir, "serf")
}

// TestStockSerf: the stock serf command reads everything and changes nothing.
func TestStockSerf(t *testing.T) {
	waits(t)
	f := netns.New(t)
	serf := stockSerf(t)
	for range 3 {
		enrol(t, f, netns.SiteOption{})
	}
	a, b := f.Sites[0], f.Sites[1]
	names := []string{a.Name, b.Name, f.Sites[2].Name}
	run := func(words ...string) (string, error) { return a.Exec(t, append([]string{serf}, words...)...) }
	all := func(text string) bool {
		for _, n := range names {
			if !strings.Contains(text, n) {
				return false
			}
		}
		return true
	}
	netns.Await(t, "serf members shows all", 20*time.Second, func() bool {
		out, err := run("members", "-status=alive")
		return err == nil && all(out)
	})

	t.Run("members", func(t *testing.T) {
		out, err := run("members", "-format=json")
		var list struct {
			Members []struct {
				Name, Status string
				Tags         map[string]string
			}
		}
		if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Members) != 3 {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, m := range list.Members {
			if m.Status != "alive" {
				t.Errorf("%s is %s", m.Name, m.Status)
			}
			// "tags show router ID, site, kind, version, underlay endpoint"
			values := ""
			for k, v := range m.Tags {
				values += k + "=" + v + " "
			}
			t.Logf("%s: %s", m.Name, values)
			if len(m.Tags) < 5 || !strings.Contains(values, m.Name) || !strings.Contains(values, ":8463") {
				t.Errorf("%s has tags %s", m.Name, values)
			}
		}
	})
	t.Run("reading", func(t *testing.T) {
		for _, tt := range []struct{ want, words string }{
			{"serf:", "info"},
			{`"agent"`, "info -format=json"},
			{"rtt", "rtt " + b.Name},
			{"Total", "query -timeout=2s anything"},
			{"contacted all live nodes", "reachability"},
		} {
			// rtt needs coordinates, which need some probes.
			var out string
			var err error
			ok := func() bool {
				out, err = run(strings.Fields(tt.words)...)
				return err == nil && strings.Contains(out, tt.want)
			}
			end := time.Now().Add(20 * time.Second)
			for !ok() && strings.HasPrefix(tt.words, "rtt") && time.Now().Before(end) {
				netns.Pause(200 * time.Millisecond)
			}
			if !ok() {
				t.Errorf("serf %s: %v, want %q in\n%s", tt.words, err, tt.want, out)
			}
		}
	})
	t.Run("monitor", func(t *testing.T) {
		p := a.Start(t, serf, "monitor", "-log-level=debug")
		netns.Await(t, "serf monitor follows", 20*time.Second, func() bool {
			run("query", "-timeout=200ms", "something")
			select {
			case <-p.Done():
				t.Fatalf("serf monitor ended: %v\n%s", p.Err(), p.Output())
			default:
			}
			return strings.Contains(p.Output(), "something") || strings.Contains(p.Output(), "serf")
		})
	})
	t.Run("changing", func(t *testing.T) {
		documents := a.Vine(t, "--json", "members")
		for words, hint := range map[string]string{
			"join 198.51.100.6":      "vine join",
			"leave":                  "refused",
			"force-leave " + b.Name:  "vine revoke",
			"tags -set kind=emperor": "vine reload",
			"event fire":             "refused",
			"keys -list":             "refused",
			"keys -install=T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=": "refused",
		} {
			out, err := run(strings.Fields(words)...)
			if !strings.Contains(out, hint) {
				t.Errorf("serf %s: %v, want a hint with %q, got\n%s", words, err, hint, out)
			}
			if err == nil && !strings.HasPrefix(words, "keys") {
				t.Errorf("serf %s succeeds:\n%s", words, out)
			}
		}
		if now := a.Vine(t, "--json", "members"); now != documents {
			t.Errorf("members before: %s\nafter: %s", documents, now)
		}
		if out, err := run("members", "-status=alive"); err != nil || !all(out) {
			t.Errorf("members afterwards: %v\n%s", err, out)
		}
	})
}
