package main

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
)

// TestUsersLive is the story of a VN administrator, his middleware and a site that wants to be asked,
// told in commands at two running VRs.
func TestUsersLive(t *testing.T) {
	w := nodetest.New(t, 1)
	alpha := w.Found("alpha")
	beta := w.Join("beta", alpha)
	t.Cleanup(func() { // after the desks have closed, and before the directories go; Close is for bubbles
		beta.Stop()
		alpha.Stop()
		w.Net.Close()
	})
	a, b := newDesk(t, alpha.API()), newDesk(t, beta.API())
	key := func(name string) string { return filepath.Join(a.dir, name+".key") }
	if err := os.WriteFile(key("admin"), []byte(hex.EncodeToString(alpha.User().Seed())), 0o600); err != nil {
		t.Fatal(err)
	}
	// until runs a command with the key of a user, until it ends with code and says text; news travels.
	until := func(at desk, user string, code int, text, command string) (stdout, stderr string) {
		t.Helper()
		args := strings.Fields(command)
		if user != "" {
			args = append(args, "--user", key(user))
		}
		var got int
		for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			got, stdout, stderr = at.run(args...)
			if got == code && strings.Contains(stderr, text) || time.Since(start) > 15*time.Second {
				break
			}
		}
		if got != code || !strings.Contains(stderr, text) {
			t.Fatalf("vine %s as %s: exit %d, want %d\n%s%s", command, user, got, code, stdout, stderr)
		}
		return stdout, stderr
	}
	as := func(at desk, user string, code int, command string) (stdout, stderr string) {
		t.Helper()
		return until(at, user, code, "", command)
	}
	// join makes a key, and an administrator gives its user a role.
	join := func(name, role, scope string) {
		t.Helper()
		out, _ := as(b, name, 0, "user key --json")
		var made struct{ Key string }
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatal(err)
		}
		as(a, "admin", 0, "user add "+name+" --key "+made.Key+" --role "+role+" --scope "+scope+" --until 90d")
	}
	hosts := []netip.Addr{alpha.NewHost(), alpha.NewHost(), beta.NewHost(), beta.NewHost()}
	has := func(want ...netip.Addr) {
		t.Helper()
		var out string
		for start := time.Now(); time.Since(start) < 15*time.Second; time.Sleep(100 * time.Millisecond) {
			out, _ = as(b, "", 0, "vn show blue")
			ok := true
			for _, h := range hosts {
				listed, wanted := strings.Contains(out, "\n"+h.String()+" "), false
				for _, other := range want {
					wanted = wanted || other == h
				}
				ok = ok && listed == wanted
			}
			if ok {
				return
			}
		}
		t.Fatalf("VN blue has not the hosts %v:\n%s", want, out)
	}

	as(a, "admin", 0, "site set alpha --consent open")
	join("ann", "vna", "vn/blue")
	join("sam", "sa", "site/beta")

	// The site beta wants to be asked; its administrator agrees.
	until(b, "ann", 124, "vine consent ", "vn create blue --host "+hosts[0].String()+","+hosts[2].String()+" --wait 3s")
	out, _ := as(b, "", 0, "pending --json")
	var waiting struct {
		Requests []struct {
			ID, User string
			WaitsFor []string `json:"waits_for"`
		}
	}
	if err := json.Unmarshal([]byte(out), &waiting); err != nil || len(waiting.Requests) != 1 || waiting.Requests[0].User != "ann" || len(waiting.Requests[0].WaitsFor) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	request := waiting.Requests[0].ID[:16]
	as(b, "ann", 4, "consent "+request)
	as(b, "sam", 0, "consent "+request)
	has(hosts[0], hosts[2])

	// Her middleware acts at the other VR, which has not heard of it, and no further than it may.
	as(b, "ann", 0, "user delegate --role eu --scope vn/blue --for 1h --name job --out "+key("job"))
	as(a, "job", 0, "vn join blue "+hosts[1].String())
	has(hosts[0], hosts[1], hosts[2])
	as(a, "job", 4, "vn shutdown blue --yes")
	as(a, "job", 4, "vn create red --host "+hosts[1].String())
	as(a, "job", 4, "user revoke sam --yes")
	if out, _ := as(a, "", 0, "user list"); !strings.Contains(out, "delegated by ann") || !strings.Contains(out, "admin") {
		t.Errorf("vine user list:\n%s", out)
	}
	as(b, "ann", 0, "user revoke job")
	until(a, "job", 4, "does not count", "vn leave blue "+hosts[3].String())

	// The site takes its consent back, and is not put into the VN again unasked.
	as(b, "ann", 4, "consent --withdraw beta blue --yes")
	as(b, "sam", 0, "consent --withdraw beta blue --yes")
	has(hosts[0], hosts[1])
	as(b, "ann", 124, "vn join blue "+hosts[3].String()+" --wait 2s")

	// A user who loses his rights, and a federation that keeps its last administrator.
	as(a, "admin", 0, "user revoke ann --yes")
	until(b, "ann", 4, "no grant", "vn leave blue "+hosts[3].String())
	if out, _ := as(a, "", 0, "pending"); strings.Contains(out, "ann") {
		t.Errorf("what she asked for still waits:\n%s", out)
	}
	until(a, "admin", 4, "without an administrator", "user revoke admin --yes")
}
