//go:build linux

package netns_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// A smallDisk is what the state directory of a site is on: a file system in memory, in a mount namespace that only this site's programs see.
type smallDisk struct {
	s      *netns.Site
	holder *netnstest.Process
}

// onSmallDisk gives a site that has not begun a state directory of that many KiB. It makes a wrapper the federation's binary, which
// enters the mount namespace where a site has one.
func onSmallDisk(t *testing.T, f *netns.Federation, s *netns.Site, kib int) smallDisk {
	t.Helper()
	netnstest.Require(t, "unshare", "nsenter", "mount", "dd")
	if err := os.Mkdir(s.State(), 0o700); err != nil {
		t.Fatal(err)
	}
	d := smallDisk{s: s, holder: s.Start(t, "unshare", "--mount", "--propagation", "private", "sh", "-e", "-c",
		fmt.Sprintf("mount -t tmpfs -o size=%dk,mode=700 tmpfs %s; touch %s/mounted; exec sleep 3600", kib, s.State(), s.State()))}
	netns.Await(t, "the small disk is mounted", 10*time.Second, func() bool {
		_, err := s.Exec(t, "nsenter", "--mount="+d.mounts(), "test", "-e", s.State()+"/mounted")
		return err == nil
	})
	wrapper := filepath.Join(s.Dir(), "vine-inside")
	text := fmt.Sprintf("#!/bin/sh\nif [ -n \"$VINE_TEST_MOUNTS\" ]; then exec nsenter --mount=\"$VINE_TEST_MOUNTS\" %s \"$@\"; fi\nexec %s \"$@\"\n", f.Binary(), f.Binary())
	if err := os.WriteFile(wrapper, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	f.Use(wrapper)
	s.Env = append(s.Env, "VINE_TEST_MOUNTS="+d.mounts())
	return d
}

func (d smallDisk) mounts() string { return fmt.Sprintf("/proc/%d/ns/mnt", d.holder.PID()) }

// fill leaves no byte on the disk.
func (d smallDisk) fill(t *testing.T) {
	t.Helper()
	out, err := d.s.Exec(t, "nsenter", "--mount="+d.mounts(), "dd", "if=/dev/zero", "of="+d.s.State()+"/filler", "bs=4k")
	if err == nil || !strings.Contains(out, "No space left") {
		t.Fatalf("the disk is not full: %v\n%s", err, out)
	}
}

// free makes room again.
func (d smallDisk) free(t *testing.T) {
	t.Helper()
	d.s.MustExec(t, "nsenter", "--mount="+d.mounts(), "rm", d.s.State()+"/filler")
}

// TestFullDisk: with no byte left on the disk of the authority's VR, management says so and what to do, nothing is called done, packets
// go on; with room again all goes on by itself, also what was asked for meanwhile.
func TestFullDisk(t *testing.T) {
	waits(t)
	f := netns.New(t)
	a := f.AddSite(t, netns.SiteOption{})
	disk := onSmallDisk(t, f, a, 1024)
	a.Init(t)
	a.Up(t)
	b := enrol(t, f, netns.SiteOption{})
	createVN(t, f, "blue", a.Addr4(t, 0).String(), b.Addr4(t, 0).String())
	a.SetUpHost(t, 0, a.Addr4(t, 0))
	b.SetUpHost(t, 0, b.Addr4(t, 0))
	netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 30*time.Second)
	flow := netns.StartOneWay(t, b.LAN.Hosts[0], a.LAN.Hosts[0], a.Addr4(t, 0))
	back := netns.StartOneWay(t, a.LAN.Hosts[0], b.LAN.Hosts[0], b.Addr4(t, 0))
	netns.Await(t, "both flows arrive", 10*time.Second, func() bool { return flow.Got() > 20 && back.Got() > 20 })

	disk.fill(t)
	sent, got, sentBack, gotBack := flow.Sent(), flow.Got(), back.Sent(), back.Got()
	user := "--user=" + filepath.Join(a.State(), "user.key")
	for _, words := range [][]string{
		{"vn", "create", "red", "--host", a.Addr4(t, 0).String(), user},
		{"host", "add", "desk"},
	} {
		stdout, stderr, err := a.Try(t, words...)
		for _, text := range []string{"no space left on device", "make room", a.State()} {
			if err == nil || !strings.Contains(stderr, text) {
				t.Errorf("vine %s on a full disk: %v, want %q\n%s%s", words[0], err, text, stdout, stderr)
			}
		}
	}
	if list := a.Vine(t, "host", "list", "--json"); strings.Contains(list, "desk") {
		t.Errorf("the host that was refused is there: %s", list)
	}
	if text := a.Vine(t, "status", "--json"); !strings.Contains(text, "no space left on device") || !strings.Contains(text, "make room") {
		t.Errorf("vine status says nothing: %s", text)
	}
	if text := a.Vine(t, "vn", "list"); strings.Contains(text, "red") {
		t.Errorf("a VN that is not on disk is shown:\n%s", text)
	}
	// The other VR takes a request: its disk is well. Its answer is nowhere on a disk, so it has none.
	key := filepath.Join(b.Dir(), "admin.key")
	secret := a.MustExec(t, "nsenter", "--mount="+disk.mounts(), "cat", filepath.Join(a.State(), "user.key"))
	if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, err := b.Try(t, "vn", "create", "green", "--host", b.Addr4(t, 0).String(), "--user", key, "--wait", "2s"); err == nil || !strings.Contains(stderr, "no outcome within") {
		t.Errorf("an answer that is on no disk was told: %v\n%s%s", err, stdout, stderr)
	}
	// Half a second under way at the ends is nothing that is lost.
	for name, lost := range map[string]int64{"to the VR with the full disk": (flow.Sent() - sent) - (flow.Got() - got), "from it": (back.Sent() - sentBack) - (back.Got() - gotBack)} {
		if lost > 5 {
			t.Errorf("%d packets %s lost", lost, name)
		}
	}
	t.Logf("NUMBER on a full disk %d and %d packets, none lost", flow.Sent()-sent, back.Sent()-sentBack)

	disk.free(t)
	took := netns.Await(t, "what was asked for meanwhile is done", 20*time.Second, func() bool {
		text := a.Vine(t, "vn", "list")
		return strings.Contains(text, "red") && strings.Contains(text, "green")
	})
	t.Logf("NUMBER with room again, done after %.1f s", took.Seconds())
	a.Vine(t, "host", "add", "desk")
	if text := a.Vine(t, "status", "--json"); strings.Contains(text, "no space left") {
		t.Errorf("vine status still complains: %s", text)
	}

	// One that is started on a full disk says what it lacks: a start has to be counted before it speaks.
	a.Kill()
	disk.fill(t)
	if stdout, stderr, err := a.Try(t, "up"); err == nil || !strings.Contains(stderr, "no space left on device") || !strings.Contains(stderr, "make room") {
		t.Errorf("vine up on a full disk: %v\n%s%s", err, stdout, stderr)
	}
	disk.free(t)
	a.Up(t)
	if text := a.Vine(t, "vn", "list"); !strings.Contains(text, "red") || !strings.Contains(text, "green") {
		t.Errorf("after the restart:\n%s", text)
	}
}
