package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/mail"
	"net/smtp"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Hooks are the ways to tell people; those left empty are not used.
type Hooks struct {
	Command    []string // a program and its arguments
	Webhook    string   // an http or https URL
	WebhookKey []byte   // for the signature of what goes there; empty: none
	Mail       Mail
}

// Check returns what is wrong with the hooks, each problem with the key of the configuration that it belongs to.
func (h Hooks) Check(bad func(key, problem string)) {
	if len(h.Command) > 0 {
		if _, err := exec.LookPath(h.Command[0]); err != nil {
			bad("command", err.Error())
		}
	}
	if h.Webhook != "" {
		if u, err := url.Parse(h.Webhook); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			bad("webhook", "not an http or https URL")
		}
	}
	if h.Mail.Server == "" {
		return
	}
	if _, _, err := net.SplitHostPort(h.Mail.Server); err != nil {
		bad("mail_server", "not HOST:PORT")
	}
	if len(h.Mail.To) == 0 {
		bad("mail_to", "nobody to write to")
	}
	for _, to := range append(slices.Clone(h.Mail.To), h.Mail.From) {
		if a, err := mail.ParseAddress(to); err != nil || a.Address != to {
			bad("mail_to", fmt.Sprintf("%q is not an address such as ops@example.org", to))
		}
	}
}

// outputMax bounds what is kept of a program's or a server's words.
const outputMax = 300

// command runs a program for each notice. The notice is its standard input, and its parts are in the environment.
type command []string

func (c command) name() string { return "command" }

func (c command) send(ctx context.Context, n Notice) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c[0], c[1:]...)
	cmd.WaitDelay = time.Second // a child of it may hold its output open
	cmd.Stdin = bytes.NewReader(text)
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(cmd.Environ(), "VINE_ALERT_FEDERATION="+n.Federation, "VINE_ALERT_VR="+n.VR, "VINE_ALERT_SITE="+n.Site, "VINE_ALERT_KIND="+n.Kind,
		"VINE_ALERT_SUBJECT="+n.Subject, "VINE_ALERT_TEXT="+n.Text, "VINE_ALERT_STATE="+n.State)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", c[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// A tail keeps the last outputMax bytes written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p[max(0, len(p)-outputMax):]...)
	*t = (*t)[max(0, len(*t)-outputMax):]
	return len(p), nil
}

// SignatureHeader has the HMAC-SHA-256 of the body under the webhook's key, as "sha256=" and hexadecimal digits.
const SignatureHeader = "Vine-Signature"

// A webhook posts each notice.
type webhook struct {
	url    string
	key    []byte
	client *http.Client
}

func newWebhook(url string, key []byte) webhook {
	return webhook{url, key, &http.Client{
		// A redirect would take a signed notice to somewhere that nobody named.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (w webhook) name() string { return "webhook" }

func (w webhook) send(ctx context.Context, n Notice) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(text))
	if err != nil {
		return hideURL(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if len(w.key) > 0 {
		sum := hmac.New(sha256.New, w.key)
		sum.Write(text)
		r.Header.Set(SignatureHeader, "sha256="+hex.EncodeToString(sum.Sum(nil)))
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return hideURL(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, outputMax))
		return fmt.Errorf("the webhook answers %s: %s", answer.Status, strings.TrimSpace(string(said)))
	}
	return nil
}

// hideURL returns an error of a request without its URL: many webhooks have their secret there.
func hideURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return errors.New("the webhook cannot be asked")
}

// Mail writes a mail for each notice, by a server that takes it with STARTTLS if it can.
type Mail struct {
	Server   string // HOST:PORT
	From     string
	To       []string
	User     string // for AUTH PLAIN, which is only tried over TLS or to this machine; empty: none
	Password string
}

func (m Mail) name() string { return "mail" }

func (m Mail) send(ctx context.Context, n Notice) error {
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(end); err != nil {
			return err
		}
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	defer c.Close()
	if ok, _ := c.Extension("STARTTLS"); ok {
		if err := c.StartTLS(&tls.Config{ServerName: host}); err != nil {
			return err
		}
	}
	if m.User != "" {
		if err := c.Auth(smtp.PlainAuth("", m.User, m.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.message(n)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// message writes the mail (RFC 5322). Texts come from other people's machines: what could end a header line is replaced.
func (m Mail) message(n Notice) []byte {
	line := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, s)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\n", m.From, strings.Join(m.To, ", "),
		mime.QEncoding.Encode("utf-8", "[vine] "+line(n.title())), n.Time.Format(time.RFC1123Z))
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\r\n")
	fmt.Fprintf(&b, "%s\r\n\r\n%s\r\n\r\n", line(n.title()), line(n.Text))
	fmt.Fprintf(&b, "federation %s, site %s, VR %s\r\nsince %s, %s at %s\r\n", line(n.Federation), line(n.Site), line(n.VR),
		n.Since.UTC().Format(time.RFC3339), n.State, n.Time.UTC().Format(time.RFC3339))
	return b.Bytes()
}
