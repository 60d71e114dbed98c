package underlay_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vine-mesh/vine/transport/underlay"
)

// proxyURL parses a URL that is known to be one.
func proxyURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// start starts a proxy program on a free port of loopback and returns its address. In the arguments, PORT
// stands for the port and CONF for a file that holds conf, with the same replaced.
func start(t testing.TB, conf, program string, args ...string) string {
	t.Helper()
	file, err := exec.LookPath(program)
	if err != nil {
		file, err = exec.LookPath("/usr/sbin/" + program)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("SKIPPED, NOT TESTED: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	port := fmt.Sprint(at.Port)
	path := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(conf, "PORT", port)), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.NewReplacer("PORT", port, "CONF", path).Replace(args[i])
	}
	cmd := exec.Command(file, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // squid then removes its shared memory
		late := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said: %s", program, out.String())
		}
	})
	eventually(t, program+" listens", func() bool {
		c, err := net.Dial("tcp", at.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return at.String()
}

const tinyproxyConf = `Port PORT
Listen 127.0.0.1
Timeout 600
MaxClients 20
Allow 127.0.0.1
`

const squidConf = `http_port 127.0.0.1:PORT
pid_filename none
access_log none
cache_log /dev/null
netdb_filename none
coredump_dir none
cache deny all
pinger_enable off
shutdown_lifetime 0 seconds
`

// TestRealProxies goes through the programs that sites use, there and back, and is refused by them.
func TestRealProxies(t *testing.T) {
	user := url.UserPassword("tom", "secret")
	wrong := url.UserPassword("tom", "secrets")
	for _, tt := range []struct {
		name, scheme string
		start        func(testing.TB) string
		user         *url.Userinfo
		says         []string // nil: it works
	}{
		{"tinyproxy", "http", func(t testing.TB) string {
			return start(t, tinyproxyConf, "tinyproxy", "-d", "-c", "CONF")
		}, nil, nil},
		{"tinyproxy with password", "http", func(t testing.TB) string {
			return start(t, tinyproxyConf+"BasicAuth tom secret\n", "tinyproxy", "-d", "-c", "CONF")
		}, user, nil},
		{"tinyproxy without password", "http", func(t testing.TB) string {
			return start(t, tinyproxyConf+"BasicAuth tom secret\n", "tinyproxy", "-d", "-c", "CONF")
		}, nil, []string{"refused CONNECT", "407", "user and password"}},
		{"tinyproxy that allows 443 only", "http", func(t testing.TB) string {
			return start(t, tinyproxyConf+"ConnectPort 443\n", "tinyproxy", "-d", "-c", "CONF")
		}, nil, []string{"refused CONNECT", "403 Forbidden"}},
		{"squid", "http", func(t testing.TB) string {
			return start(t, squidConf+"http_access allow all\n", "squid", "-N", "-n", "vinePORT", "-f", "CONF")
		}, nil, nil},
		{"squid that refuses", "http", func(t testing.TB) string {
			return start(t, squidConf+"http_access deny all\n", "squid", "-N", "-n", "vinePORT", "-f", "CONF")
		}, nil, []string{"refused CONNECT", "403 Forbidden"}},
		{"microsocks", "socks5", func(t testing.TB) string {
			return start(t, "", "microsocks", "-i", "127.0.0.1", "-p", "PORT")
		}, nil, nil},
		{"microsocks with password", "socks5", func(t testing.TB) string {
			return start(t, "", "microsocks", "-i", "127.0.0.1", "-p", "PORT", "-u", "tom", "-P", "secret")
		}, user, nil},
		{"microsocks with wrong password", "socks5", func(t testing.TB) string {
			return start(t, "", "microsocks", "-i", "127.0.0.1", "-p", "PORT", "-u", "tom", "-P", "secret")
		}, wrong, []string{"did not connect to", "authentication failed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeaks(t)
			at := tt.start(t)
			a := dialler(t)
			for _, p := range protocols {
				b, to := listenStreams(t, p)
				c, err := a.Dial(t.Context(), underlay.StreamTarget{Protocol: p, Endpoint: to, Proxy: &url.URL{Scheme: tt.scheme, Host: at, User: tt.user}})
				if tt.says != nil {
					wantError(t, err, append(tt.says, "proxy "+at, to.String())...)
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				exchange(t, a, b, c)
				s := a.Status()
				if got := s[len(s)-1]; got.Proxy != at || got.Remote != to {
					t.Errorf("status %+v", got)
				}
			}
			if tt.says != nil {
				return
			}
			// Nobody at the other end.
			dead := deadPort(t, netip.MustParseAddr("127.0.0.1"))
			_, err := a.Dial(t.Context(), underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: dead, Proxy: &url.URL{Scheme: tt.scheme, Host: at, User: tt.user}})
			wantError(t, err, "proxy "+at, dead.String())
		})
	}
}

// rubbishProxy answers each connection by f.
func rubbishProxy(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}

// TestRubbishProxies has proxies that do what none should: each gives an error that says so, in time, and
// leaves nothing behind.
func TestRubbishProxies(t *testing.T) {
	noLeaks(t)
	a := dialler(t)
	say := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, s)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	forever := func(head, more string) func(net.Conn) {
		return func(c net.Conn) {
			_, err := io.WriteString(c, head)
			for more = strings.Repeat(more, 1000); err == nil; {
				_, err = io.WriteString(c, more)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		f      func(net.Conn)
		scheme string
		says   []string
	}{
		{"hangs up", func(net.Conn) {}, "http", []string{"did not answer"}},
		{"garbage", say("\x00\x01\x02\xff\r\n\r\n"), "http", []string{"did not answer"}},
		{"SSH", say("SSH-2.0-OpenSSH_9.2\r\n"), "http", []string{"did not answer"}},
		{"long garbage", forever("", "x"), "http", []string{"did not answer", "16384 bytes"}},
		{"endless header", forever("HTTP/1.1 200 OK\r\n", "X-Y: z\r\n"), "http", []string{"did not answer", "16384 bytes"}},
		{"endless informational", forever("", "HTTP/1.1 100 Continue\r\n\r\n"), "http", []string{"100 Continue"}},
		{"its own words", say("HTTP/1.1 418 secret \x1b[2J\r\n\r\n"), "http", []string{"refused CONNECT to", "418 I'm a teapot"}},
		{"no status", say("HTTP/1.1 999 \r\n\r\n"), "http", []string{"999"}},
		{"redirect", say("HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n"), "http", []string{"302"}},
		{"opens a tunnel to nowhere", func(c net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhello there, I am no TLS server")
		}, "http", []string{"TLS"}},
		{"hangs up", func(net.Conn) {}, "socks5", []string{"did not connect"}},
		{"HTTP", say("HTTP/1.1 400 Bad Request\r\n\r\n"), "socks5", []string{"did not connect", "version"}},
		{"no method", say("\x05\xff"), "socks5", []string{"did not connect", "authentication"}},
		{"refuses", say("\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), "socks5", []string{"did not connect", "not allowed"}},
		{"bad address", say("\x05\x00\x05\x00\x00\x09"), "socks5", []string{"did not connect", "address type"}},
		{"no TLS", say("HTTP/1.1 400 Bad Request\r\n\r\n"), "https", []string{"TLS"}},
	} {
		t.Run(tt.scheme+" "+tt.name, func(t *testing.T) {
			at := rubbishProxy(t, tt.f)
			begin := time.Now()
			_, err := a.Dial(t.Context(), underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: netip.MustParseAddrPort("192.0.2.7:443"), Proxy: proxyURL(tt.scheme + "://tom:secret@" + at)})
			wantError(t, err, append(tt.says, "proxy "+at, "192.0.2.7:443")...)
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("that took %v", took)
			}
		})
	}
	// One that says nothing, and one that says little by little: the time is bounded all the same.
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		if s := a.Status(); len(s) != 0 {
			t.Errorf("%+v is left", s)
		}
	}()
	for name, f := range map[string]func(net.Conn){
		"silent": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"slow": func(c net.Conn) {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n"); err == nil; <-tick.C {
				_, err = io.WriteString(c, "A: b\r\n")
			}
		},
	} {
		for _, scheme := range []string{"http", "https", "socks5"} {
			if name == "slow" && scheme != "http" {
				continue
			}
			at := rubbishProxy(t, f)
			wg.Go(func() {
				begin := time.Now()
				_, err := a.Dial(t.Context(), underlay.StreamTarget{Protocol: underlay.TLS, Endpoint: netip.MustParseAddrPort("192.0.2.7:443"), Proxy: proxyURL(scheme + "://tom:secret@" + at)})
				wantError(t, err, "proxy "+at, "no answer within 5s")
				if took := time.Since(begin); took < 4*time.Second || took > 9*time.Second {
					t.Errorf("%s %s took %v", scheme, name, took)
				}
			})
		}
	}
}

// TestTLSProxy goes through a proxy that speaks TLS itself, and whose certificate has to be good.
func TestTLSProxy(t *testing.T) {
	noLeaks(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := parseBasic(r.Header.Get("Proxy-Authorization")); !ok || name != "tom" || password != "secret" || r.Method != http.MethodConnect {
			http.Error(w, "secret", http.StatusProxyAuthRequired)
			return
		}
		other, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, "secret", http.StatusBadGateway)
			return
		}
		defer other.Close()
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n")
		go func() { _, _ = io.Copy(other, c); other.Close() }()
		_, _ = io.Copy(c, other)
	}))
	server.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the bad certificate
	server.StartTLS()
	t.Cleanup(server.Close)
	at := server.Listener.Addr().String()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	a := underlay.NewStreams(underlay.StreamsConfig{ProxyRoots: roots})
	run(t, a)
	for _, p := range protocols {
		b, to := listenStreams(t, p)
		exchange(t, a, b, dial(t, a, underlay.StreamTarget{Protocol: p, Endpoint: to, Proxy: proxyURL("https://tom:secret@" + at)}))
		_, err := a.Dial(t.Context(), underlay.StreamTarget{Protocol: p, Endpoint: to, Proxy: proxyURL("https://" + at)})
		wantError(t, err, "proxy "+at, "407")
		_, err = dialler(t).Dial(t.Context(), underlay.StreamTarget{Protocol: p, Endpoint: to, Proxy: proxyURL("https://tom:secret@" + at)})
		wantError(t, err, "proxy "+at, "certificate")
	}
}

func parseBasic(header string) (name, password string, ok bool) {
	return (&http.Request{Header: http.Header{"Authorization": {header}}}).BasicAuth()
}

func TestProxyFromEnvironment(t *testing.T) {
	for _, tt := range []struct {
		env          string // NAME=value, separated by blanks
		target, want string // want begins with ! for an error that says it
	}{
		{"", "192.0.2.1:443", ""},
		{"HTTPS_PROXY=http://10.0.0.1:3128", "192.0.2.1:443", "http://10.0.0.1:3128"},
		{"https_proxy=http://tom:pw@proxy.example:3128/", "192.0.2.1:443", "http://tom:pw@proxy.example:3128/"},
		{"HTTPS_PROXY=10.0.0.1:3128", "192.0.2.1:443", "http://10.0.0.1:3128"},
		{"HTTPS_PROXY=proxy.example:3128", "192.0.2.1:443", "http://proxy.example:3128"},
		{"HTTPS_PROXY=proxy.example", "192.0.2.1:443", "http://proxy.example"},
		{"ALL_PROXY=socks5h://10.0.0.1", "[2001:db8::1]:443", "socks5://10.0.0.1"},
		{"all_proxy=socks5://10.0.0.1:1", "192.0.2.1:8463", "socks5://10.0.0.1:1"},
		{"ALL_PROXY=socks5://10.0.0.1 HTTPS_PROXY=https://p.example", "192.0.2.1:443", "https://p.example"},
		{"HTTP_PROXY=http://10.0.0.1:3128", "192.0.2.1:443", ""},
		{"HTTPS_PROXY=http://10.0.0.1:3128 NO_PROXY=192.0.2.0/24", "192.0.2.1:443", ""},
		{"HTTPS_PROXY=http://10.0.0.1:3128 no_proxy=192.0.2.1", "192.0.2.1:443", ""},
		{"HTTPS_PROXY=http://10.0.0.1:3128 NO_PROXY=192.0.2.1:80", "192.0.2.1:443", "http://10.0.0.1:3128"},
		{"HTTPS_PROXY=http://10.0.0.1:3128 NO_PROXY=example.com", "192.0.2.1:443", "http://10.0.0.1:3128"},
		{"HTTPS_PROXY=http://10.0.0.1:3128 NO_PROXY=*", "192.0.2.1:443", ""},
		{"HTTPS_PROXY=http://10.0.0.1:3128", "127.0.0.1:443", ""},
		{"HTTPS_PROXY=socks4://secret@h:1", "192.0.2.1:443", "!HTTPS_PROXY"},
		{"https_proxy=http://tom:secret%zz@h:1", "192.0.2.1:443", "!https_proxy"},
		{"ALL_PROXY=http://secret:h:1:2", "192.0.2.1:443", "!ALL_PROXY"},
		{"ALL_PROXY=http://:3128", "192.0.2.1:443", "!ALL_PROXY"},
	} {
		env := map[string]string{}
		for _, s := range strings.Fields(tt.env) {
			name, value, _ := strings.Cut(s, "=")
			env[name] = value
		}
		got, err := underlay.ProxyFromEnvironment(func(n string) string { return env[n] }, netip.MustParseAddrPort(tt.target))
		if says, bad := strings.CutPrefix(tt.want, "!"); bad {
			wantError(t, err, says)
			continue
		}
		text := ""
		if got != nil {
			text = got.String()
		}
		if text != tt.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", tt.env, text, err, tt.want)
		}
	}
}
