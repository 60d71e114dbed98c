package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/node/notify"
)

func TestAlertsCommands(t *testing.T) {
	d := newDesk(t, &paperVR{})
	code, stdout, _ := d.run("alerts")
	if code != 0 || !strings.Contains(stdout, "vr-silent  kyoto    2001-09-09T01:46:40Z  gossip holds kyoto for dead") || !strings.Contains(stdout, "mail  3     0       0        mail.example: refused") {
		t.Errorf("exit %d:\n%s", code, stdout)
	}
	code, stdout, stderr := d.run("alerts", "test")
	if code != 1 || !strings.Contains(stdout, "mail.example: refused") || !strings.Contains(stderr, "not every hook works") {
		t.Errorf("exit %d: %s\n%s", code, stdout, stderr)
	}
}

// TestSecretsOfHooks: keys come from files, and a file that is not there or says nothing is named.
func TestSecretsOfHooks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	c := config.Alerts{Hooks: notify.Hooks{Webhook: "https://example.org"}, WebhookKey: path}
	for _, text := range []string{"", "\n"} {
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := notifierOf(c, nil); err == nil || !strings.Contains(err.Error(), "alerts.webhook_key_file: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := notifierOf(c, nil); err != nil || len(n.Statuses()) != 1 {
		t.Errorf("%v, %v", n, err)
	}
}
