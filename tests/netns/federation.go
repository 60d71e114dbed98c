//go:build linux

package netns

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/impair"
)

// buildVine builds the command once and returns where it is. The directory is removed by Main. VINE_BINARY names another one
// to test: to measure two beside each other.
var buildVine = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("VINE_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "vine-netns-")
	if err != nil {
		return "", err
	}
	built.dir = dir
	if err := os.Chmod(dir, 0o755); err != nil { // for tests without root's rights
		return "", err
	}
	path := filepath.Join(dir, "vine")
	out, err := exec.Command("go", "build", "-o", path, "github.com/vine-mesh/vine/cmd/vine").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build vine: %w\n%s", err, out)
	}
	return path, nil
})

var built struct{ dir string }

// Main is TestMain for packages that use a Federation: it runs the tests and removes the binary.
func Main(m *testing.M) int {
	defer func() {
		if built.dir != "" {
			_ = os.RemoveAll(built.dir)
		}
	}()
	return m.Run()
}

// A Federation is a core router and the sites around it.
type Federation struct {
	Core  *netnstest.Core
	Sites []*Site
	lines *impair.Switch // in place of the core's kernel, if the federation has one
	bin   string
	dir   string
}

// New makes a federation without sites. It skips the test where it cannot run.
func New(t testing.TB) *Federation {
	t.Helper()
	netnstest.Require(t, "ip", "ping")
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		netnstest.Skip(t, err.Error())
	}
	bin, err := buildVine()
	if err != nil {
		t.Fatal(err)
	}
	return &Federation{Core: netnstest.NewCore(t), bin: bin, dir: t.TempDir()}
}

// A Site is one site: its gateway, on which the VR runs, and the LAN behind it.
type Site struct {
	*netnstest.Namespace
	F      *Federation
	N      int    // from 1
	Name   string // of the site and of its VR
	WAN    netnstest.WAN
	Middle *netnstest.Namespace // in the wire to the core, if the site was made with one
	LAN    *netnstest.LAN

	Kind    Kind
	Router  *netnstest.Namespace // in front of the site, if its kind has one
	Carrier *netnstest.Namespace // in front of the router, if its kind has one
	Outside netip.Addr           // what the Internet sees, of a site with a router
	Proxy   *netnstest.Process   // on the router, if the kind has one
	Env     []string             // environment of vine at the site, in place of all variables of proxies
	// Firewall is the site's firewall, if it was made with one.
	Firewall *netnstest.Namespace

	VR         *netnstest.Process // nil: was never started
	Joined     Membership
	dir        string
	port       int        // of Federation.lines
	configured string     // by Configure
	t          testing.TB // that made the site: the VR lives as long, also when a subtest starts it
}

// A Membership is what `vine join --json` and `vine init --json` print.
type Membership struct {
	FederationID string         `json:"federation_id"`
	Router       any            `json:"router"`
	Name         string         `json:"name"`
	Blocks       []netip.Prefix `json:"blocks"`
	State        string         `json:"state"`
}

// A SiteOption changes how a site is made.
type SiteOption struct {
	Hosts  int  // on the LAN; 0: one
	Middle bool // a namespace in the wire to the core; of a public site only
	Kind   Kind // what is between the VR and the core
	// Firewall puts a router between the VR and the core that lets everything pass until Allow is called. The
	// VR has an address of its own there, IPv4 only.
	Firewall bool
	Tables   string // TOML tables in place of the default ones; WAN4 and WAN6 stand for the site's addresses
}

// AddSite makes the next site, with no VR as yet.
func (f *Federation) AddSite(t testing.TB, o SiteOption) *Site {
	t.Helper()
	n := len(f.Sites) + 1
	s := &Site{Namespace: netnstest.New(t), F: f, N: n, Name: fmt.Sprintf("site%d", n), Kind: o.Kind, t: t}
	s.dir = filepath.Join(f.dir, s.Name)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	switch {
	case o.Middle:
		s.WAN, s.Middle = f.Core.AttachThrough(t, s.Namespace, "wan0")
	case o.Firewall:
		s.putBehindFirewall(t)
	default:
		s.place(t, n)
	}
	s.SetWall(t, 0)
	s.LAN = netnstest.NewLAN(t, s.Namespace, "lan0", n, max(o.Hosts, 1))
	tables := o.Tables
	if tables == "" {
		tables = "[authority]\nauto_admit = \"open\"\n"
	}
	s.Configure(t, tables)
	f.Sites = append(f.Sites, s)
	return s
}

// OneByOne has the datagrams of all sites cross the wires one by one, for who counts or looks at them there: else the
// kernel carries several as one.
func (f *Federation) OneByOne(t testing.TB) {
	t.Helper()
	netnstest.Require(t, "ethtool")
	for _, s := range f.Sites {
		s.Run(t, "ethtool -K "+s.WAN.Interface+" tx-udp-segmentation off")
	}
}

// Configure replaces the tables of the configuration file, as in SiteOption. Where the site's files are, and
// what init or join has added, is kept.
func (s *Site) Configure(t testing.TB, tables string) {
	t.Helper()
	added := ""
	if s.configured != "" {
		added = strings.TrimPrefix(s.ReadConfig(t), s.configured)
	}
	tables = strings.NewReplacer("WAN4", s.WAN.V4.String(), "WAN6", s.WAN.V6.String()).Replace(tables)
	s.configured = fmt.Sprintf("state = %q\ncontrol = %q\n%s", s.State(), s.Socket(), tables)
	s.WriteConfig(t, s.configured+added)
}

// WriteConfig replaces the configuration file.
func (s *Site) WriteConfig(t testing.TB, text string) {
	t.Helper()
	if err := os.WriteFile(s.ConfigPath(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ReadConfig returns the configuration file.
func (s *Site) ReadConfig(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(s.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// ConfigPath, State and Socket are the site's files.
func (s *Site) ConfigPath() string { return filepath.Join(s.dir, "vine.toml") }
func (s *Site) State() string      { return filepath.Join(s.dir, "state") }
func (s *Site) Socket() string     { return filepath.Join(s.dir, "vine.sock") }

// Binary is the command under test.
func (f *Federation) Binary() string { return f.bin }

// Use makes another binary the command, for every process that is started from now on.
func (f *Federation) Use(bin string) { f.bin = bin }

// Dir is a directory for the test's own files at the site.
func (s *Site) Dir() string { return s.dir }

// Try runs vine at the site and returns its two streams.
func (s *Site) Try(t testing.TB, words ...string) (stdout, stderr string, err error) {
	t.Helper()
	return s.Split(t, s.command(words...)...)
}

// command returns the words that run vine at the site, in the site's environment.
func (s *Site) command(words ...string) []string {
	all := []string{"env"}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"} {
		all = append(all, "-u", name, "-u", strings.ToLower(name))
	}
	all = append(all, WallClockEnv+"="+s.wall())
	all = append(all, s.Env...)
	all = append(all, s.F.bin, "--config", s.ConfigPath(), "--socket", s.Socket())
	return append(all, words...)
}

// Vine runs vine at the site, fails the test if vine does, and returns what it printed on stdout.
func (s *Site) Vine(t testing.TB, words ...string) string {
	t.Helper()
	stdout, stderr, err := s.Try(t, words...)
	if err != nil {
		t.Fatalf("%s: vine %s: %v\n%s%s", s.Name, strings.Join(words, " "), err, stdout, stderr)
	}
	return stdout
}

// VineJSON runs vine with --json at the site and parses what it printed.
func VineJSON[T any](t testing.TB, s *Site, words ...string) (v T) {
	t.Helper()
	out := s.Vine(t, append([]string{"--json"}, words...)...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%s: vine %s printed %q: %v", s.Name, strings.Join(words, " "), out, err)
	}
	return v
}

// Init founds the federation at the site.
func (s *Site) Init(t testing.TB, words ...string) {
	t.Helper()
	phrase := filepath.Join(s.dir, "passphrase")
	if err := os.WriteFile(phrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Joined = VineJSON[Membership](t, s, append([]string{"init", "--name", "grid", "--vr", s.Name, "--site", s.Name,
		"--lan", "lan0", "--passphrase-file", phrase, "--root-key", filepath.Join(s.dir, "root.key.sealed")}, words...)...)
}

// Join joins through the seed.
func (s *Site) Join(t testing.TB, seed string, words ...string) {
	t.Helper()
	s.Joined = VineJSON[Membership](t, s, append([]string{"join", seed, "--name", s.Name, "--site", s.Name,
		"--lan", "lan0", "--timeout", "60s"}, words...)...)
}

// Up runs the VR and waits until it answers.
func (s *Site) Up(t testing.TB) {
	t.Helper()
	s.VR = s.Start(s.t, s.command("up")...)
	vr := s.VR
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s said:\n%s", s.Name, tail(vr.Output(), 60))
		}
	})
	Await(t, s.Name+" answers", 20*time.Second, func() bool {
		select {
		case <-vr.Done():
			t.Fatalf("%s: vine up ended: %v\n%s", s.Name, vr.Err(), vr.Output())
		default:
		}
		_, _, err := s.Try(t, "--json", "status")
		return err == nil
	})
}

// Kill kills the VR as kill -9 does.
func (s *Site) Kill() { s.VR.Kill() }

// Stop ends the VR by SIGTERM and fails the test if it does not end well.
func (s *Site) Stop(t testing.TB) {
	t.Helper()
	s.VR.Stop(t, 15*time.Second)
	if err := s.VR.Err(); err != nil {
		t.Errorf("%s: vine up ended with %v\n%s", s.Name, err, tail(s.VR.Output(), 30))
	}
}

// Reload sends the VR SIGHUP.
func (s *Site) Reload() { s.VR.Signal(syscall.SIGHUP) }

// Seed is the site's address as a newcomer is told it.
func (s *Site) Seed() string { return s.WAN.V4.String() }

// SeedFor is the site's address as a newcomer is told it who may have IPv6 alone.
func (s *Site) SeedFor(newcomer *Site) string {
	if newcomer.Kind == IPv6Only {
		return s.WAN.V6.String()
	}
	return s.Seed()
}

// Network returns what the VR could have changed of the machine's network: addresses, rules and
// routes, one a line, and apart from them the sysctls of its interfaces.
func (s *Site) Network(t testing.TB) (network, sysctls string) {
	t.Helper()
	network = s.MustExec(t, "sh", "-e", "-c", `ip -o addr show; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all`)
	// Some parameters cannot be read; that is grep's failure and not ours.
	sysctls, _ = s.Exec(t, "sh", "-c", `grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf | sort`)
	return network, sysctls
}

// Address returns the ViNe address of host i, of the family asked for.
func (s *Site) Address(t testing.TB, i int, ipv6 bool) netip.Addr {
	t.Helper()
	for _, b := range s.Joined.Blocks {
		if b.Addr().Is6() != ipv6 {
			continue
		}
		a := b.Addr().AsSlice()
		a[len(a)-1] = byte(10 * (i + 1))
		addr, _ := netip.AddrFromSlice(a)
		return addr
	}
	t.Fatalf("%s has no block of that family: %v", s.Name, s.Joined.Blocks)
	return netip.Addr{}
}

// Addr4 and Addr6 return the ViNe addresses of host i.
func (s *Site) Addr4(t testing.TB, i int) netip.Addr { t.Helper(); return s.Address(t, i, false) }
func (s *Site) Addr6(t testing.TB, i int) netip.Addr { t.Helper(); return s.Address(t, i, true) }

// SetUpHost runs on host i what `vine host setup` prints at the site for addr.
func (s *Site) SetUpHost(t testing.TB, i int, addr netip.Addr) {
	t.Helper()
	script := s.Vine(t, "host", "setup", addr.String())
	if strings.TrimSpace(script) == "" {
		t.Fatalf("%s: vine host setup %v prints nothing", s.Name, addr)
	}
	s.LAN.Hosts[i].MustExec(t, "sh", "-e", "-c", script)
}

// tail returns the last n lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
