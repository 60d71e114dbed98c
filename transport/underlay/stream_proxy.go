package underlay

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// headerBytesMax bounds the header of an HTTP message that somebody sends us who has proved nothing: twice
// what common servers take.
const headerBytesMax = 16 << 10

// proxyPorts are the schemes of proxy URLs and their default ports.
var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080"}

// proxyHost returns host and port of a proxy, without user and password.
func proxyHost(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = proxyPorts[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// ProxyFromEnvironment returns the proxy that the environment names for TLS connections to target, nil if
// none: that of HTTPS_PROXY, else of ALL_PROXY, in capitals or not, unless NO_PROXY excepts the target. env is
// os.Getenv. As everywhere, no proxy is used to reach this machine itself. Errors name the variable, and never
// quote what may hold a password.
func ProxyFromEnvironment(env func(string) string, target netip.AddrPort) (*url.URL, error) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		text := env(name)
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		if !strings.Contains(text, "://") {
			u, err = url.Parse("http://" + text) // "proxy.example:3128" is common
		}
		if err != nil {
			return nil, fmt.Errorf("the environment variable %s is not the URL of a proxy, such as http://proxy.example:3128", name)
		}
		if u.Scheme == "socks5h" {
			u.Scheme = "socks5" // they differ in who looks up names, and we have none
		}
		if proxyPorts[u.Scheme] == "" || u.Hostname() == "" {
			return nil, fmt.Errorf("the environment variable %s names a proxy that is no http, https or socks5 URL", name)
		}
		cfg := httpproxy.Config{HTTPSProxy: u.String(), NoProxy: env("NO_PROXY")}
		if cfg.NoProxy == "" {
			cfg.NoProxy = env("no_proxy")
		}
		if use, err := cfg.ProxyFunc()(&url.URL{Scheme: "https", Host: target.String()}); use == nil || err != nil {
			return nil, nil // excepted; the URL is known to be good
		}
		return u, nil
	}
	return nil, nil
}

// throughProxy has the proxy at the other end of raw connect to target, and returns the connection with it.
func (s *Streams) throughProxy(ctx context.Context, raw net.Conn, u *url.URL, target netip.AddrPort) (net.Conn, error) {
	host := proxyHost(u)
	if u.Scheme == "socks5" {
		if err := socks(raw, u, target); err != nil {
			return nil, fmt.Errorf("proxy %s did not connect to %v: %s", host, target, brief(reason(ctx, err)))
		}
		return raw, nil
	}
	conn := raw
	if u.Scheme == "https" {
		// Unlike a VR a proxy is trusted, with its password, and nothing but its certificate says who it is.
		t := tls.Client(raw, &tls.Config{ServerName: u.Hostname(), RootCAs: s.cfg.ProxyRoots, NextProtos: []string{"http/1.1"}, Rand: s.cfg.Rand})
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS with proxy %s, on the way to %v: %w", host, target, reason(ctx, err))
		}
		conn = t
	}
	conn, err := connect(conn, u, target)
	if err == nil {
		return conn, nil
	}
	var status refusal
	switch {
	case errors.As(err, &status) && status == http.StatusProxyAuthRequired:
		return nil, fmt.Errorf("proxy %s refused CONNECT to %v: %w: give a user and password it knows in the URL of the proxy", host, target, err)
	case errors.As(err, &status):
		return nil, fmt.Errorf("proxy %s refused CONNECT to %v: %w", host, target, err)
	}
	return nil, fmt.Errorf("proxy %s did not answer CONNECT to %v as an HTTP proxy does: %s", host, target, brief(reason(ctx, err)))
}

// refusal is the status with which an HTTP proxy refused.
type refusal int

func (r refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", int(r), http.StatusText(int(r)))) // not the proxy's own words
}

// brief returns the text of an error, cut to what a line of a log takes: it may quote what a stranger sent.
func brief(err error) error {
	const most = 160
	text := err.Error()
	if len(text) <= most {
		return err
	}
	return errors.New(strings.ToValidUTF8(text[:most], "") + "...")
}

// connect asks an HTTP proxy for a tunnel (RFC 9110, Section 9.3.6).
func connect(conn net.Conn, u *url.URL, target netip.AddrPort) (net.Conn, error) {
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target.String()}, Host: target.String(), Header: make(http.Header)}
	ask.Header.Set("User-Agent", "") // none
	if u.User != nil {
		password, _ := u.User.Password()
		secret := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
		ask.Header.Set("Proxy-Authorization", "Basic "+secret)
	}
	if err := ask.Write(conn); err != nil {
		return nil, err
	}
	limit := &io.LimitedReader{R: conn, N: headerBytesMax}
	r := bufio.NewReader(limit)
	answer, err := http.ReadResponse(r, ask)
	if err != nil {
		if limit.N <= 0 {
			err = fmt.Errorf("a header of more than %d bytes", headerBytesMax)
		}
		return nil, err
	}
	// "Any 2xx (Successful) response indicates that the sender ... will switch to tunnel mode immediately
	// after the response header section"
	if answer.StatusCode/100 != 2 {
		return nil, refusal(answer.StatusCode)
	}
	if r.Buffered() == 0 {
		return conn, nil
	}
	early, _ := r.Peek(r.Buffered())
	return &earlyConn{Conn: conn, early: early}, nil
}

// earlyConn is a connection of which the first bytes have been read already.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}

// given is a proxy.Dialer whose connection is there already.
type given struct{ net.Conn }

func (g given) Dial(string, string) (net.Conn, error) { return g.Conn, nil }

// DialContext implements proxy.ContextDialer.
func (g given) DialContext(context.Context, string, string) (net.Conn, error) { return g.Conn, nil }

// socks asks a SOCKS5 proxy (RFC 1928, with user and password RFC 1929).
func socks(raw net.Conn, u *url.URL, target netip.AddrPort) error {
	var auth *proxy.Auth
	if u.User != nil {
		password, _ := u.User.Password()
		auth = &proxy.Auth{User: u.User.Username(), Password: password}
	}
	d, err := proxy.SOCKS5("tcp", proxyHost(u), auth, given{raw})
	if err != nil {
		return err
	}
	// What it returns is raw with a wrapper that does nothing. The end of the Dial closes raw, so it needs
	// no context.
	_, err = d.Dial("tcp", target.String())
	if err != nil {
		err = errors.New(strings.TrimPrefix(err.Error(), "unknown error ")) // which it says before the known ones
	}
	return err
}
