//go:build linux

package netns_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// exitNotPermitted is vine's exit code for what the VR or the system refuses.
const exitNotPermitted = 4

// TestBadInput: what goes wrong at a running VR changes nothing, and says why.
func TestBadInput(t *testing.T) {
	f := grid(t, 2, netns.SiteOption{})
	a, b := f.Sites[0], f.Sites[1]
	network := func() string { n, _ := b.Network(t); return n }
	before := network()
	unchanged := func(t *testing.T) {
		t.Helper()
		if now := network(); now != before {
			t.Errorf("the machine has changed: new %q, gone %q", added(before, now), added(now, before))
		}
		netns.AwaitPing(t, a.LAN.Hosts[0], b.Addr4(t, 0), 5*time.Second)
	}
	fails := func(t *testing.T, code int, says string, err error, out string) {
		t.Helper()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(out, says) {
			t.Errorf("%v, want exit code %d and %q in\n%s", err, code, says, out)
		}
	}

	t.Run("wrong configuration", func(t *testing.T) {
		good := b.ReadConfig(t)
		b.WriteConfig(t, good+"\n[underlay]\njoinabel = false\n")
		b.Reload()
		netns.Await(t, "the VR says what is wrong", 10*time.Second, func() bool {
			out := b.VR.Output()
			return strings.Contains(out, "configuration not changed") && strings.Contains(out, "joinabel") && strings.Contains(out, "underlay.joinable")
		})
		out, stderr, err := b.Try(t, "reload")
		fails(t, exitNotPermitted, "joinable", err, out+stderr)
		b.WriteConfig(t, good)
		b.Reload()
		netns.Await(t, "the VR reads the right one", 10*time.Second, func() bool {
			return strings.Contains(b.VR.Output(), "configuration read again")
		})
		unchanged(t)
	})
	t.Run("up twice", func(t *testing.T) {
		out, stderr, err := b.Try(t, "up")
		fails(t, 1, "in use", err, out+stderr)
		unchanged(t)
	})
	t.Run("down while up", func(t *testing.T) {
		out, stderr, err := b.Try(t, "down")
		fails(t, 1, "", err, out+stderr)
		unchanged(t)
	})
	t.Run("join while up", func(t *testing.T) {
		out, stderr, err := b.Try(t, "join", a.Seed(), "--timeout", "5s")
		fails(t, 1, "already", err, out+stderr)
		unchanged(t)
	})
	t.Run("state of another process", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "vine.toml")
		text := strings.Replace(b.ReadConfig(t), b.Socket(), filepath.Join(t.TempDir(), "other.sock"), 1) +
			"\n[underlay]\nlisten = \"127.0.0.1:9999\"\n[capture]\ndevice = \"vine7\"\n[gossip]\nrpc = \"\"\n"
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, stderr, err := b.Split(t, f.Binary(), "--config", other, "up")
		fails(t, 1, "in use", err, out+stderr)
		unchanged(t)
	})
	t.Run("no root", func(t *testing.T) {
		netnstest.Require(t, "setpriv", "cp", "chown")
		dir, err := os.MkdirTemp("", "vine-nobody-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		state, conf := filepath.Join(dir, "state"), filepath.Join(dir, "vine.toml")
		b.MustExec(t, "cp", "-r", b.State(), state)
		text := strings.ReplaceAll(strings.ReplaceAll(b.ReadConfig(t), b.State(), state), b.Socket(), filepath.Join(dir, "vine.sock")) +
			"\n[underlay]\nlisten = \"127.0.0.1:9999\"\n[capture]\ndevice = \"vine7\"\n[gossip]\nrpc = \"\"\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b.MustExec(t, "chown", "-R", "65534:65534", dir)
		nobody := func(words ...string) (string, error) {
			out, stderr, err := b.Split(t, append([]string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}, words...)...)
			return out + stderr, err
		}
		out, err := nobody(f.Binary(), "--config", conf, "up")
		fails(t, exitNotPermitted, "root", err, out)
		out, err = nobody(f.Binary(), "--config", b.ConfigPath(), "--socket", b.Socket(), "status")
		fails(t, exitNotPermitted, "root", err, out)
		unchanged(t)
	})
	t.Run("LAN interface that is not there", func(t *testing.T) {
		c := f.AddSite(t, netns.SiteOption{})
		c.Join(t, a.Seed())
		c.WriteConfig(t, strings.Replace(c.ReadConfig(t), "lan0", "lan9", 1))
		was, _ := c.Network(t)
		out, stderr, err := c.Try(t, "up")
		fails(t, 1, "lan9", err, out+stderr)
		if now, _ := c.Network(t); len(added(was, now))+len(added(now, was)) > 0 {
			t.Errorf("a failed start has left %q", added(was, now))
		}
	})
}
