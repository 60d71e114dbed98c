package notify

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var notice = Notice{Federation: "grid", VR: "ufl", Site: "florida", Kind: "disk", Text: "no space left\r\nBcc: x@example.org", State: "raised", Time: time.Unix(1e9, 0).UTC()}

func try(t *testing.T, h Hooks) Status {
	t.Helper()
	list := New(h, slog.New(slog.DiscardHandler)).Try(t.Context(), notice)
	if len(list) != 1 {
		t.Fatalf("%d hooks", len(list))
	}
	return list[0]
}

func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	s := try(t, Hooks{Command: []string{"sh", "-c", `cat >"$0"; echo "$VINE_ALERT_KIND $VINE_ALERT_STATE" >>"$0"`, out}})
	text, err := os.ReadFile(out)
	if err != nil || s.Sent != 1 || !strings.HasSuffix(string(text), "disk raised\n") {
		t.Fatalf("%+v, %q, %v", s, text, err)
	}
	var got Notice
	if err := json.NewDecoder(strings.NewReader(string(text))).Decode(&got); err != nil || got != notice {
		t.Errorf("%+v, %v", got, err)
	}
	if s := try(t, Hooks{Command: []string{"sh", "-c", "echo too bad; exit 3"}}); s.Failed != 1 || !strings.Contains(s.Error, "exit status 3: too bad") {
		t.Errorf("%+v", s)
	}
}

func TestWebhook(t *testing.T) {
	key := []byte("a key that nobody may see")
	code := http.StatusNoContent
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		sum := hmac.New(sha256.New, key)
		sum.Write(text)
		if r.Header.Get(SignatureHeader) != "sha256="+hex.EncodeToString(sum.Sum(nil)) {
			t.Errorf("signature %q", r.Header.Get(SignatureHeader))
		}
		w.Header().Set("Location", "http://elsewhere.invalid/")
		w.WriteHeader(code)
	}))
	defer server.Close()
	h := Hooks{Webhook: server.URL + "/secret-token", WebhookKey: key}
	if s := try(t, h); s.Sent != 1 {
		t.Errorf("%+v", s)
	}
	for _, code = range []int{http.StatusFound, http.StatusInternalServerError} {
		if s := try(t, h); s.Failed != 1 || !strings.Contains(s.Error, fmt.Sprint(code)) {
			t.Errorf("%+v", s)
		}
	}
	server.Close()
	if s := try(t, h); s.Failed != 1 || strings.Contains(s.Error, "secret-token") {
		t.Errorf("%+v", s)
	}
}

// mailServer takes one mail and returns what it was told.
func mailServer(t *testing.T) (addr string, told chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	told = make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "220 here\r\n")
		var all strings.Builder
		data := false
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			line := lines.Text()
			all.WriteString(line + "\n")
			switch {
			case data && line == ".":
				data = false
				fmt.Fprint(conn, "250 taken\r\n")
			case data:
			case line == "DATA":
				data = true
				fmt.Fprint(conn, "354 go on\r\n")
			case line == "QUIT":
				fmt.Fprint(conn, "221 bye\r\n")
				told <- all.String()
				return
			default:
				fmt.Fprint(conn, "250 fine\r\n")
			}
		}
	}()
	return l.Addr().String(), told
}

func TestMail(t *testing.T) {
	addr, told := mailServer(t)
	s := try(t, Hooks{Mail: Mail{Server: addr, From: "vine@example.org", To: []string{"ops@example.org", "more@example.org"}}})
	if s.Sent != 1 {
		t.Fatalf("%+v", s)
	}
	text := <-told
	for _, want := range []string{"RCPT TO:<ops@example.org>", "RCPT TO:<more@example.org>", "Subject: [vine] ufl: disk\n", "no space left  Bcc: x@example.org"} {
		if !strings.Contains(text, want) {
			t.Errorf("the mail lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "\nBcc:") {
		t.Error("a text has made a header")
	}
	if s := try(t, Hooks{Mail: Mail{Server: "127.0.0.1:1", From: "a@b", To: []string{"c@d"}}}); s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		h    Hooks
		want string
	}{
		{Hooks{}, ""},
		{Hooks{Command: []string{"no-such-program"}}, "command"},
		{Hooks{Webhook: "ftp://example.org"}, "webhook"},
		{Hooks{Webhook: "https://example.org/x"}, ""},
		{Hooks{Mail: Mail{Server: "mail", From: "a@b", To: []string{"c@d"}}}, "mail_server"},
		{Hooks{Mail: Mail{Server: "mail:25", From: "a@b"}}, "mail_to"},
		{Hooks{Mail: Mail{Server: "mail:25", From: "a@b", To: []string{"c@d\r\nBcc: e@f"}}}, "mail_to"},
	} {
		got := ""
		tt.h.Check(func(key, _ string) { got = key })
		if got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.h, got, tt.want)
		}
	}
}

// A deaf hook fails so often, or for ever.
type deaf struct{ fails atomic.Int32 }

func (d *deaf) name() string { return "deaf" }
func (d *deaf) send(ctx context.Context, _ Notice) error {
	if d.fails.Add(-1) < 0 {
		return nil
	}
	return errors.New("deaf")
}

// TestTriesAgain: what fails is tried again for half a minute and then given up; what is too much is dropped, and both are counted.
func TestTriesAgain(t *testing.T) {
	for _, tt := range []struct {
		fails int32
		want  Status
	}{{0, Status{Hook: "deaf", Sent: 1}}, {3, Status{Hook: "deaf", Sent: 1}}, {4, Status{Hook: "deaf", Failed: 1, Error: "deaf"}}} {
		synctest.Test(t, func(t *testing.T) {
			d := &deaf{}
			d.fails.Store(tt.fails)
			n := &Notifier{log: slog.New(slog.DiscardHandler), workers: []*worker{{hook: d, queue: make(chan Notice, queueMax), pause: sleep, status: Status{Hook: "deaf"}}}}
			ctx, cancel := context.WithCancel(t.Context())
			go n.Run(ctx)
			n.Tell(notice)
			time.Sleep(time.Minute)
			if got := n.Statuses()[0]; got != tt.want {
				t.Errorf("%d failures: %+v, want %+v", tt.fails, got, tt.want)
			}
			cancel()
			synctest.Wait()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if New(Hooks{}, slog.New(slog.DiscardHandler)).Run(ctx); ctx.Err() == nil {
			t.Error("without hooks it ends at once, and the VR with it")
		}
	})
	n := New(Hooks{Command: []string{"true"}}, slog.New(slog.DiscardHandler))
	for range queueMax + 3 {
		n.Tell(notice)
	}
	if s := n.Statuses()[0]; s.Dropped != 3 {
		t.Errorf("%+v", s)
	}
}
