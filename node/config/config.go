package config

import (
	"github.com/vine-mesh/vine/node/notify"

	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultPort is the UDP port of a VR: "VINE" on a telephone keypad.
const DefaultPort = 8463

// A Config is a checked configuration. It is immutable.
type Config struct {
	State   string // directory
	Control string // path of the unix socket

	API      netip.AddrPort // of the management API over TCP; invalid: off
	APINames []string       // host names of this machine in calls

	Listen    netip.AddrPort
	Endpoints []netip.AddrPort // as declared; empty: find out
	Kind      string           // "auto", "regular" or "limited"
	Joinable  bool
	PathMTU   int  // bytes of IP packet on the underlay
	FastGCM   bool // our own AES-GCM, where the processor has what it takes
	Offload   bool // several datagrams at once, where the kernel does it right
	Lanes     int  // that carry packets; 1 to 16
	Streams   []StreamListen
	Proxy     *url.URL // nil: as NoProxy says
	NoProxy   bool     // no proxy at all; else the environment's, if Proxy is nil
	Mapping   bool

	QueueUse      []string
	QueueServe    bool
	QueueRate     int64  // bits per second; 0: no limit
	QueueCapacity int64  // bits per second; 0: not said
	QueueMode     string // "channel", "udp-poll" or "tcp-poll"
	QueueInterval time.Duration

	Capture     string // "tun", "tap", "raw", "nfqueue" or "none"
	Device      string
	MTU         int // bytes
	Attachments []Attachment

	Scale Scale

	HostPage netip.AddrPort // port 0: off; without an address: every one of the LAN interfaces

	RPC      netip.AddrPort // invalid: off
	RPCToken string

	AutoAdmit string // "invite", "open" or "never"

	Alerts Alerts

	LogLevel slog.Level
	LogJSON  bool
}

// A Scale says when VRs of the site are started and stopped, and how.
type Scale struct {
	Command     []string // program and arguments; empty: nothing watches
	Measure     string   // "cpu" or "packets"
	High, Low   float64
	GrowAfter   time.Duration
	ShrinkAfter time.Duration
	Rest        time.Duration
	Least, Most int
}

// Alerts is how people are told when something is wrong.
type Alerts struct {
	Hooks        notify.Hooks // without their secrets
	WebhookKey   string       // file of the webhook's key; empty: none
	MailPassword string       // file of the mail server's password; empty: none
}

// A StreamListen is where stream connections are taken.
type StreamListen struct {
	Protocol string // "tls" or "tcp"
	At       netip.AddrPort
}

// An Attachment is a LAN interface and the VNs it serves.
type Attachment struct {
	Interface string
	VNs       []string // names; empty: all
	Device    string   // its own TUN device; empty: the common one
	Subnets   []netip.Prefix
	Gateway   []netip.Addr // shared with the other VRs of the site
}

// DefaultPath returns where the configuration file is looked for: /etc/vine/vine.toml for root,
// else under XDG_CONFIG_HOME.
func DefaultPath() string {
	if os.Geteuid() == 0 {
		return "/etc/vine/vine.toml"
	}
	return filepath.Join(xdg("XDG_CONFIG_HOME", ".config"), "vine", "vine.toml")
}

// DefaultState returns the default state directory. A service manager's STATE_DIRECTORY counts.
func DefaultState() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/vine"
	}
	return filepath.Join(xdg("XDG_STATE_HOME", ".local/state"), "vine")
}

// DefaultControl returns the default control socket. A service manager's RUNTIME_DIRECTORY counts.
func DefaultControl() string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" {
		return filepath.Join(dir, "vine.sock")
	}
	if os.Geteuid() == 0 {
		return "/run/vine/vine.sock"
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("vine-%d", os.Geteuid()))
	}
	return filepath.Join(dir, "vine", "vine.sock")
}

func xdg(env, fallback string) string {
	if dir := os.Getenv(env); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), fallback)
	}
	return filepath.Join(home, fallback)
}

const (
	lanesMax    = 16 // frame.LanesMax
	gatewaysMax = 8  // each is announced by itself
	sharersMax  = 16 // tables.SharersMax
)

var nameRE = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)

// check turns raw into a Config, or returns every problem it has. where gives the line of a key.
func (raw *rawFile) check(where func(key string) string) (Config, error) {
	var problems []error
	bad := func(key, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s%s: %s", where(key), key, fmt.Sprintf(format, args...)))
	}
	oneOf := func(key, value string, allowed ...string) string {
		for _, a := range allowed {
			if value == a {
				return value
			}
		}
		bad(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
		return ""
	}
	c := Config{
		State: raw.State, Control: raw.Control,
		Kind:     oneOf("underlay.kind", raw.Underlay.Kind, "auto", "regular", "limited"),
		Joinable: raw.Underlay.Joinable, PathMTU: raw.Underlay.MTU, Lanes: raw.Underlay.Lanes,
		FastGCM: oneOf("underlay.aes", raw.Underlay.AES, "auto", "standard") == "auto",
		Offload: oneOf("underlay.offload", raw.Underlay.Offload, "auto", "off") == "auto",
		Capture: oneOf("capture.kind", raw.Capture.Kind, "tun", "tap", "raw", "nfqueue", "none"),
		Device:  raw.Capture.Device, MTU: raw.Capture.MTU,
		RPCToken:  raw.Gossip.Token,
		AutoAdmit: oneOf("authority.auto_admit", raw.Authority.AutoAdmit, "invite", "open", "never"),
		LogJSON:   oneOf("log.format", raw.Log.Format, "text", "json") == "json",
	}
	if c.State == "" {
		c.State = DefaultState()
	}
	if c.Control == "" {
		c.Control = DefaultControl()
	}
	if err := c.LogLevel.UnmarshalText([]byte(raw.Log.Level)); err != nil {
		bad("log.level", "%q is not one of debug, info, warn, error", raw.Log.Level)
	}
	var err error
	if c.Listen, err = netip.ParseAddrPort(raw.Underlay.Listen); err != nil {
		bad("underlay.listen", "%q is not ADDRESS:PORT", raw.Underlay.Listen)
	}
	if len(raw.Underlay.Endpoints) > 8 {
		bad("underlay.endpoints", "%d endpoints, at most 8 are announced", len(raw.Underlay.Endpoints))
	}
	for _, text := range raw.Underlay.Endpoints {
		ep, err := ParseEndpoint(text)
		if err != nil {
			bad("underlay.endpoints", "%v", err)
		}
		c.Endpoints = append(c.Endpoints, ep)
	}
	if c.PathMTU < 1124 || c.PathMTU > 9000 {
		bad("underlay.mtu", "%d is not between 1124 and 9000", c.PathMTU)
	}
	raw.api(&c, bad)
	if c.Lanes < 1 || c.Lanes > lanesMax {
		bad("underlay.lanes", "%d is not between 1 and %d", c.Lanes, lanesMax)
	}
	raw.reach(&c, bad)
	c.QueueMode = oneOf("queue.mode", raw.Queue.Mode, "channel", "udp-poll", "tcp-poll")
	if n := len(c.Device); n == 0 || n > 15 {
		bad("capture.device", "%q has %d bytes; a device name has 1 to 15", c.Device, n)
	}
	if c.MTU < 1280 || c.MTU > 9000 {
		bad("capture.mtu", "%d is not between 1280 and 9000", c.MTU)
	}
	if raw.Gossip.RPC != "" {
		if c.RPC, err = netip.ParseAddrPort(raw.Gossip.RPC); err != nil {
			bad("gossip.rpc", "%q is not ADDRESS:PORT", raw.Gossip.RPC)
		} else if !c.RPC.Addr().IsLoopback() {
			bad("gossip.rpc", "%s is not a loopback address; serf's protocol has no protection on a network", c.RPC)
		}
	}
	c.Attachments = raw.attachments(bad)
	raw.scale(&c, bad)
	a := raw.Alerts
	c.Alerts = Alerts{WebhookKey: a.WebhookKey, MailPassword: a.MailPassword, Hooks: notify.Hooks{
		Command: a.Command, Webhook: a.Webhook, Mail: notify.Mail{Server: a.MailServer, From: a.MailFrom, To: a.MailTo, User: a.MailUser}}}
	c.Alerts.Hooks.Check(func(key, problem string) { bad("alerts."+key, "%s", problem) })
	if c.HostPage, err = parseHostPage(raw.HostPage.Listen); err != nil {
		bad("host_page.listen", "%v", err)
	}
	if len(problems) > 0 {
		return Config{}, errors.Join(problems...)
	}
	return c, nil
}

// api checks the management API over the network.
func (raw *rawFile) api(c *Config, bad func(key, format string, args ...any)) {
	c.APINames = raw.API.Names
	for _, name := range raw.API.Names {
		if !hostRE.MatchString(name) {
			bad("api.names", "%.64q is not a host name", name)
		}
	}
	if raw.API.Listen == "" {
		return
	}
	at, err := netip.ParseAddrPort(raw.API.Listen)
	if err != nil {
		bad("api.listen", "%q is not ADDRESS:PORT", raw.API.Listen)
	}
	c.API = at
}

// hostRE is a host name as browsers and our client write it: letters, digits, hyphens and dots.
var hostRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$`)

// reach checks what a VR does to be reached, and to reach others.
func (raw *rawFile) reach(c *Config, bad func(key, format string, args ...any)) {
	c.Mapping, c.QueueServe = raw.Underlay.Mapping, raw.Queue.Serve
	for _, text := range raw.Underlay.Streams {
		protocol, rest, ok := strings.Cut(text, "://")
		at, err := netip.ParseAddrPort(rest)
		if !ok || err != nil || protocol != "tls" && protocol != "tcp" {
			bad("underlay.streams", "%q is not tls://ADDRESS:PORT or tcp://ADDRESS:PORT", text)
		}
		c.Streams = append(c.Streams, StreamListen{Protocol: protocol, At: at})
	}
	switch raw.Underlay.Proxy {
	case "":
	case "none":
		c.NoProxy = true
	default:
		u, err := url.Parse(raw.Underlay.Proxy)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5" {
			bad("underlay.proxy", "not http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT or none") // it may hold a password
		}
		c.Proxy = u
	}
	for _, name := range raw.Queue.Use {
		if !nameRE.MatchString(name) {
			bad("queue.use", "%q is not a VR name: use a-z, 0-9 and -", name)
		}
	}
	c.QueueUse = raw.Queue.Use
	var err error
	if c.QueueRate, err = ParseRate(raw.Queue.Rate); err != nil {
		bad("queue.rate", "%v", err)
	}
	if c.QueueCapacity, err = ParseRate(raw.Queue.Capacity); err != nil {
		bad("queue.capacity", "%v", err)
	}
	if c.QueueInterval, err = time.ParseDuration(raw.Queue.Interval); err != nil || c.QueueInterval < 50*time.Millisecond || c.QueueInterval > time.Second {
		bad("queue.interval", "%q is not between 50ms and 1s", raw.Queue.Interval)
	}
}

// scale checks when VRs of the site are started and stopped.
func (raw *rawFile) scale(c *Config, bad func(key, format string, args ...any)) {
	r := raw.Scale
	s := Scale{Command: r.Command, Measure: r.Measure, High: float64(r.High), Low: float64(r.Low), Least: r.Least, Most: r.Most}
	if r.Measure != "cpu" && r.Measure != "packets" {
		bad("scale.measure", "%q is not one of cpu, packets", r.Measure)
	}
	if r.High < 1 || r.Measure == "cpu" && r.High > 100 {
		bad("scale.high", "%d is not a load: 1 to 100 percent, or packets a second", r.High)
	}
	if r.Low < 1 || r.Low > r.High/2 {
		bad("scale.low", "%d is not between 1 and half of scale.high, %d: with one VR fewer the others would be above that soon", r.Low, r.High/2)
	}
	for _, d := range []struct {
		key, text string
		to        *time.Duration
	}{{"scale.grow_after", r.GrowAfter, &s.GrowAfter}, {"scale.shrink_after", r.ShrinkAfter, &s.ShrinkAfter}, {"scale.rest", r.Rest, &s.Rest}} {
		var err error
		if *d.to, err = time.ParseDuration(d.text); err != nil || *d.to < time.Second || *d.to > 24*time.Hour {
			bad(d.key, "%q is not between 1s and 24h", d.text)
		}
	}
	if r.Least < 1 || r.Least > sharersMax {
		bad("scale.least", "%d is not between 1 and %d", r.Least, sharersMax)
	}
	if r.Most < r.Least || r.Most > sharersMax {
		bad("scale.most", "%d is not between scale.least and %d", r.Most, sharersMax)
	}
	shares := false
	for _, a := range c.Attachments {
		shares = shares || len(a.Gateway) > 0
	}
	if len(r.Command) > 0 && (r.Command[0] == "" || !shares) {
		bad("scale.command", "it needs a program, and an attachment with a gateway that VRs share: the VR that answers for it decides")
	}
	c.Scale = s
}

// ParseRate reads a rate in bits per second, such as 500kbit, 100Mbit or 1Gbit; "" is 0.
func ParseRate(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	for _, unit := range []struct {
		name string
		bits int64
	}{{"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}} {
		number, ok := strings.CutSuffix(strings.ToLower(text), unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n > 0) || n*float64(unit.bits) > 1e15 {
			break
		}
		return int64(n * float64(unit.bits)), nil
	}
	return 0, fmt.Errorf("%q is not a rate such as 500kbit, 100Mbit or 1Gbit", text)
}

func (raw *rawFile) attachments(bad func(key, format string, args ...any)) []Attachment {
	var list []Attachment
	seen, gateways := map[string]bool{}, map[netip.Addr]bool{}
	for _, a := range raw.Attachment {
		if a.Interface == "" || len(a.Interface) > 15 {
			bad("attachment.interface", "%q is not an interface name", a.Interface)
		}
		if key := a.Interface; seen[key] {
			bad("attachment.interface", "%q stands twice", key)
		}
		seen[a.Interface] = true
		for _, vn := range a.VNs {
			if !nameRE.MatchString(vn) {
				bad("attachment.vns", "%q is not a VN name: use a-z, 0-9 and -", vn)
			}
		}
		if len(a.Device) > 15 {
			bad("attachment.device", "%q has more than 15 bytes", a.Device)
		}
		at := Attachment{Interface: a.Interface, VNs: a.VNs, Device: a.Device}
		for _, text := range a.Subnets {
			p, err := netip.ParsePrefix(text)
			if err != nil || p != p.Masked() || p.Addr().Is4In6() {
				bad("attachment.subnets", "%q is not a prefix such as 192.168.1.0/24", text)
			}
			at.Subnets = append(at.Subnets, p)
		}
		for _, text := range a.Gateway {
			addr, err := netip.ParseAddr(text)
			switch {
			case err != nil || addr.Zone() != "" || addr.Is4In6() || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() || addr.IsLinkLocalUnicast():
				bad("attachment.gateway", "%q is not an address such as 192.168.1.254 or fd00::fe", text)
			case gateways[addr]:
				bad("attachment.gateway", "%s stands twice", addr)
			}
			gateways[addr] = true
			at.Gateway = append(at.Gateway, addr)
		}
		if len(a.Gateway) > gatewaysMax {
			bad("attachment.gateway", "%d addresses, at most %d", len(a.Gateway), gatewaysMax)
		}
		list = append(list, at)
	}
	return list
}

// parseHostPage reads :PORT or ADDRESS:PORT; "" is port 0.
func parseHostPage(text string) (netip.AddrPort, error) {
	if text == "" {
		return netip.AddrPort{}, nil
	}
	if rest, ok := strings.CutPrefix(text, ":"); ok {
		if port, err := strconv.ParseUint(rest, 10, 16); err == nil && port > 0 {
			return netip.AddrPortFrom(netip.Addr{}, uint16(port)), nil
		}
	} else if at, err := netip.ParseAddrPort(text); err == nil && at.Port() > 0 && !at.Addr().IsUnspecified() {
		return at, nil
	}
	return netip.AddrPort{}, fmt.Errorf("%q is not :PORT or ADDRESS:PORT", text)
}

// ParseEndpoint reads ADDRESS or ADDRESS:PORT; without a port it is DefaultPort.
func ParseEndpoint(text string) (netip.AddrPort, error) {
	if ep, err := netip.ParseAddrPort(text); err == nil {
		if ep.Port() == 0 {
			return netip.AddrPort{}, fmt.Errorf("endpoint %q has port 0", text)
		}
		return ep, reachable(ep.Addr())
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not ADDRESS[:PORT]", text)
	}
	return netip.AddrPortFrom(addr, DefaultPort), reachable(addr)
}

// reachable refuses addresses where nobody can be: within a VR they name paths.
func reachable(a netip.Addr) error {
	if discard.Contains(a) {
		return fmt.Errorf("nobody is at %v, an address of the discard-only prefix %v (RFC 6666)", a, discard)
	}
	return nil
}

var discard = netip.MustParsePrefix("100::/64")
