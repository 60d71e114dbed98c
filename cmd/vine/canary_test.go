package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/notify"
)

// A sink is a log that several goroutines write to.
type sink struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sink) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

// TestNoSecretIsTold: whatever a VR logs at the most talkative level, answers on any route of its API or has commands print holds none of its keys,
// no invite, no key of a webhook and no password, in no usual writing.
func TestNoSecretIsTold(t *testing.T) {
	w := nodetest.New(t, 3)
	alpha := w.Found("alpha")
	alpha.Stop()
	var log sink
	alpha.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	said := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusTeapot)
	}))
	defer said.Close()
	hooks := notify.New(notify.Hooks{
		Webhook: said.URL + "/canary-of-the-path", WebhookKey: []byte("canary-of-the-webhook"),
		Mail: notify.Mail{Server: "127.0.0.1:1", From: "a@example.org", To: []string{"b@example.org"}, User: "u", Password: "canary-of-the-mail"},
	}, alpha.Log)
	alpha.Alerts = hooks
	alpha.Start()
	beta := w.Join("beta", alpha)
	t.Cleanup(func() {
		beta.Stop()
		alpha.Stop()
		w.Net.Close()
	})
	d := newDesk(t, alpha.API())

	secrets := map[string][]byte{
		"path of the webhook": []byte("canary-of-the-path"), "webhook key": []byte("canary-of-the-webhook"), "mail password": []byte("canary-of-the-mail"),
	}
	for _, name := range []string{"identity", "link", "authority", "user"} {
		text, err := os.ReadFile(filepath.Join(alpha.Dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if secrets[name], err = hex.DecodeString(strings.TrimSpace(string(text))); err != nil {
			t.Fatal(err)
		}
	}
	admin := filepath.Join(d.dir, "admin.key")
	if err := os.WriteFile(admin, []byte(hex.EncodeToString(secrets["user"])), 0o600); err != nil {
		t.Fatal(err)
	}
	told := map[string][]byte{}
	for start := time.Now(); time.Since(start) < 20*time.Second && alpha.Status().Links == 0; {
		time.Sleep(50 * time.Millisecond)
	}
	run := func(words ...string) {
		_, stdout, stderr := d.run(words...)
		told["vine "+strings.Join(words, " ")] = []byte(stdout + stderr)
	}
	for _, words := range []string{"status", "links", "members", "vrs", "metrics", "alerts", "alerts test", "user list", "pending", "status --json -v", "config show",
		"vn create blue --host " + alpha.NewHost().String() + " --user " + admin, "user key --user " + admin, "host list", "queues", "show " + alpha.Dir + "/documents"} {
		run(strings.Fields(words)...)
	}

	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(d.dir, "vine.sock"))
	}}}
	get := func(path string) []byte {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://vine"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body) // events end by time
		return text
	}
	var api struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(get("/api/v1/openapi.json"), &api); err != nil || len(api.Paths) < 20 {
		t.Fatalf("%d paths, %v", len(api.Paths), err)
	}
	for path, methods := range api.Paths {
		if _, ok := methods["get"]; ok {
			path = strings.NewReplacer("{name}", "blue", "{number}", "1", "{id}", strings.Repeat("0", 64)).Replace(path)
			told["GET "+path] = get(path)
		}
	}
	told["the log"] = log.bytes()
	if len(told["the log"]) < 1000 || !bytes.Contains(told["vine links"], []byte("beta")) {
		t.Fatalf("a log of %d bytes, links %s: this shows nothing", len(told["the log"]), told["vine links"])
	}
	for what, secret := range secrets {
		for _, form := range [][]byte{
			secret, []byte(hex.EncodeToString(secret)), []byte(strings.ToUpper(hex.EncodeToString(secret))), []byte(base64.StdEncoding.EncodeToString(secret)[:len(secret)*4/3-2]),
			[]byte(base64.RawURLEncoding.EncodeToString(secret)), []byte(strings.Trim(fmt.Sprint(secret), "[]")),
		} {
			for where, text := range told {
				if bytes.Contains(text, form) {
					t.Errorf("%s tells the %s", where, what)
				}
			}
		}
	}
	// The search finds what is there.
	if !bytes.Contains(told["vine alerts test"], []byte("418")) {
		t.Errorf("the hooks were not tried: %s", told["vine alerts test"])
	}
}
