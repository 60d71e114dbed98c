package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
)

// TestAuthorityOffline: the authority key leaves its VR, and everything that a VN goes through is asked for by command at two running
// VRs, carried by file to a desk without a VR, signed there, and carried back.
func TestAuthorityOffline(t *testing.T) {
	w := nodetest.New(t, 2)
	alpha := w.Found("alpha")
	beta := w.Join("beta", alpha)
	alpha.Stop()
	secret := filepath.Join(t.TempDir(), "authority.key")
	if err := os.Rename(filepath.Join(alpha.Dir, "authority.key"), secret); err != nil {
		t.Fatal(err)
	}
	alpha.Start()
	t.Cleanup(func() {
		beta.Stop()
		alpha.Stop()
		w.Net.Close()
	})
	a, b := newDesk(t, alpha.API()), newDesk(t, beta.API())
	admin := filepath.Join(a.dir, "admin.key")
	if err := os.WriteFile(admin, []byte(hex.EncodeToString(alpha.User().Seed())), 0o600); err != nil {
		t.Fatal(err)
	}
	must := func(at desk, code int, args ...string) (stdout, stderr string) {
		t.Helper()
		got, stdout, stderr := at.run(args...)
		if got != code {
			t.Fatalf("vine %s: exit %d, want %d\n%s%s", strings.Join(args, " "), got, code, stdout, stderr)
		}
		return stdout, stderr
	}
	ask := func(at desk, command string) {
		t.Helper()
		must(at, 0, append(strings.Fields(command), "--user", admin, "--wait", "0")...)
	}
	dir, count := t.TempDir(), 0
	file := func(name string) string {
		count++
		return filepath.Join(dir, name+string(rune('a'+count)))
	}
	// carry exports at one VR, signs, and imports at the other, and returns the file that was signed.
	carry := func(words ...string) (asked, signed string) {
		t.Helper()
		asked, signed = file("asked"), file("signed")
		must(b, 0, "authority", "export", "--out", asked)
		must(a, 0, append([]string{"authority", "sign", asked, "--key", secret, "--out", signed}, words...)...)
		must(b, 0, "authority", "import", signed)
		return asked, signed
	}
	until := func(at desk, command, text string) {
		t.Helper()
		var out string
		for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
			if _, out, _ = at.run(strings.Fields(command)...); strings.Contains(out, text) {
				return
			}
		}
		t.Fatalf("vine %s does not say %q:\n%s", command, text, out)
	}
	waits := func(n int) {
		t.Helper()
		for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			out, _ := must(b, 0, "pending", "--json")
			var got struct{ Requests []struct{ ID string } }
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatal(err)
			}
			if len(got.Requests) == n {
				return
			}
			if time.Since(start) > 20*time.Second {
				t.Fatalf("%d requests wait, want %d", len(got.Requests), n)
			}
		}
	}

	ha, hb := alpha.NewHost().String(), beta.NewHost().String()
	ask(a, "vn create blue --host "+ha+","+hb)
	waits(1)
	asked := file("asked")
	must(b, 0, "authority", "export", "--out", asked)
	before, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := must(a, 0, "authority", "pending", asked, "--key", secret)
	if !strings.Contains(out, "vn.create") || !strings.Contains(out, "blue "+ha+" "+hb) || !strings.Contains(out, "done") {
		t.Errorf("pending:\n%s", out)
	}
	if _, err := os.Stat(secret + ".signed"); err == nil {
		t.Error("pending has written something")
	}
	carry()
	until(a, "vn show blue", "installed  1")
	until(b, "vn show blue", "installed  1")

	// An older file does no harm: what was signed since stands beside the key.
	older := file("older")
	if err := os.WriteFile(older, before, 0o600); err != nil {
		t.Fatal(err)
	}
	again := file("signed")
	must(a, 0, "authority", "sign", older, "--key", secret, "--out", again)
	out, _ = must(b, 0, "authority", "import", again, "--json")
	var got struct {
		Imported struct{ Kept, Known, Refused int }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Imported.Kept > 1 || got.Imported.Refused > 0 || got.Imported.Known == 0 { // a head may be new
		t.Errorf("signing an older file again: %v %s", err, out)
	}
	for _, problem := range beta.Status().Problems {
		if strings.Contains(problem, "contradict") {
			t.Error(problem)
		}
	}

	// A request is refused by a person, another is left for later.
	ask(a, "vn create red --host "+ha)
	ask(b, "vn leave blue "+hb)
	waits(2)
	asked = file("asked")
	must(b, 0, "authority", "export", "--out", asked)
	out, _ = must(a, 0, "authority", "pending", asked, "--key", secret, "--json")
	var pending struct {
		Answers []struct{ Request, Op string }
	}
	if err := json.Unmarshal([]byte(out), &pending); err != nil || len(pending.Answers) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	ids := map[string]string{}
	for _, r := range pending.Answers {
		ids[r.Op] = r.Request
	}
	carry("--only", ids["vn.create"], "--refuse", ids["vn.create"]+"=ask at room 214")
	waits(1)
	until(b, "vn show blue", hb)
	carry()
	waits(0)
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if out, _ := must(a, 0, "vn", "show", "blue"); !strings.Contains(out, hb) {
			break
		}
		if time.Since(start) > 20*time.Second {
			t.Fatal("the host did not leave")
		}
	}
	until(b, "vn log blue", "vn.leave")

	// What goes wrong is said.
	for text, args := range map[string][]string{
		"is no authority":   {"authority", "sign", asked, "--key", admin, "--out", file("x")},
		"say with --key":    {"authority", "pending", asked},
		"give --out":        {"authority", "sign", asked, "--key", secret},
		"it is damaged":     {"authority", "import", secret},
		"no open request":   {"authority", "sign", asked, "--key", secret, "--out", file("x"), "--only", "00000000"},
		"REQUEST=REASON":    {"authority", "sign", asked, "--key", secret, "--out", file("x"), "--refuse", "00000000"},
		"is not replaced":   {"authority", "sign", asked, "--key", secret, "--out", asked},
		"none of open":      {"authority", "pending", asked, "--key", secret, "--auto-admit", "all"},
		"no such file":      {"authority", "pending", file("x"), "--key", secret},
		"FILE is missing":   {"authority", "import"},
		"exists; it is not": {"authority", "export", "--out", asked},
	} {
		if code, _, stderr := b.run(args...); code == 0 || !strings.Contains(stderr, text) {
			t.Errorf("vine %s: exit %d, %s", strings.Join(args, " "), code, stderr)
		}
	}
}
