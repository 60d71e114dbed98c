package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/bench/netns"
)

// vine returns the party that a build of ViNe is. The VRs run as they come, with the default configuration but for
// where their files are. The variant "auth-only" has a VN whose packets are not encrypted; bench.VineCapturing names others.
func vine(program, variant string) carrier {
	what, o := "AES-128-GCM, default configuration", vineOptions{near: "tun", far: "tun"}
	if near, far, ok := bench.CapturingOf(variant); ok {
		what = fmt.Sprintf("AES-128-GCM, capture by %s at the sending and %s at the receiving site", near, far)
		o.near, o.far = near, far
	} else if each, lanes, ok := bench.SlowedOf(variant); ok {
		what = fmt.Sprintf("AES-128-GCM, lanes %d, %v spent on each packet from a host", lanes, each)
		o.each, o.lanes = each, lanes
	} else if variant == "auth-only" {
		what, o.seal = "GMAC, authenticated only, default configuration", []string{"--auth-only"}
	}
	return carrier{
		what:     what,
		programs: [][]string{{program}},
		get:      "go build ./cmd/vine",
		version:  []string{program, "version"},
		open: func(ctx context.Context, s *sites, _ func(string) string) error {
			return openVine(ctx, s, program, o)
		},
		patience: time.Minute,
	}
}

// vineOptions are how the party's VRs differ from the default.
type vineOptions struct {
	near, far string        // ways of capture
	seal      []string      // further words for `vn create`
	lanes     int           // zero: the default
	each      time.Duration // spent on each packet from a host
}

const (
	// vineDevice is the VRs' TUN device, as they call it.
	vineDevice = "vine0"
	// vineMTU is the default of capture.mtu, for VRs without a device that has it.
	vineMTU = 1400
)

// A vr is a VR of the benchmark: the vine command in a namespace, with a directory of its own.
type vr struct {
	name    string
	capture string        // way of capture
	lanes   int           // zero: the default
	each    time.Duration // spent on each packet from a host
	ns      *netns.Namespace
	dir     string
	program string
	process *netns.Process
	blocks  []netip.Prefix
}

// openVine founds a federation, joins the others, and makes a VN of the two hosts.
func openVine(ctx context.Context, s *sites, path string, o vineOptions) error {
	near := &vr{name: s.near.name, capture: o.near, lanes: o.lanes, each: o.each, ns: s.near.router, dir: s.near.dir, program: path}
	far := &vr{name: s.far.name, capture: o.far, lanes: o.lanes, each: o.each, ns: s.far.router, dir: s.far.dir, program: path}
	founder, seeds := near, map[*vr]netip.Addr{far: s.near.wan}
	members, kind := []*vr{far}, "auto"
	if s.place.Topology == bench.Relayed {
		founder = &vr{name: "middle", capture: "tun", ns: s.middle, dir: s.middleDir, program: path}
		seeds = map[*vr]netip.Addr{near: nearMid, far: farMid}
		members, kind = []*vr{near, far}, "limited"
	}
	first := "auto"
	if s.place.Topology == bench.Streamed {
		first = "regular" // nobody can tell it by UDP that it can be reached
	}
	lan := func(v *vr) []string {
		if v.ns == s.middle {
			return nil // no hosts there
		}
		return []string{"--lan", "lan0"}
	}
	if err := founder.configure(first); err != nil {
		return err
	}
	phrase := filepath.Join(founder.dir, "passphrase")
	if err := os.WriteFile(phrase, []byte("correct horse battery staple\n"), 0o600); err != nil {
		return err
	}
	err := founder.become(ctx, append([]string{"init", "--name", "bench", "--vr", founder.name, "--site", founder.name,
		"--passphrase-file", phrase, "--root-key", filepath.Join(founder.dir, "root.key")}, lan(founder)...)...)
	if err != nil {
		return err
	}
	if err := founder.up(ctx); err != nil {
		return err
	}
	for _, v := range members {
		if err := v.configure(kind); err != nil {
			return err
		}
		if err := v.become(ctx, append([]string{"join", seeds[v].String(), "--name", v.name, "--site", v.name, "--timeout", "30s"}, lan(v)...)...); err != nil {
			return err
		}
		if err := v.up(ctx); err != nil {
			return err
		}
	}
	s.near.process, s.far.process = near.process, far.process
	s.mtu = vineMTU
	if o.near == "tun" || o.near == "tap" {
		if s.mtu, err = deviceMTU(near.ns, vineDevice); err != nil {
			return err
		}
	}

	var hosts []string
	for _, v := range []*vr{near, far} {
		addr, err := v.host()
		if err != nil {
			return err
		}
		hosts = append(hosts, addr.String())
		s.target = addr
	}
	if _, err := founder.run(ctx, append([]string{"vn", "create", "bench", "--host", strings.Join(hosts, ",")}, o.seal...)...); err != nil {
		return err
	}
	for i, v := range []*vr{near, far} {
		script, err := v.run(ctx, "-q", "host", "setup", hosts[i])
		if err != nil {
			return err
		}
		p, err := []*site{s.near, s.far}[i].host.Start("sh", "-e", "-c", script)
		if err != nil {
			return err
		}
		if err := p.Wait(ctx); err != nil {
			return fmt.Errorf("set up the host of %s: %w\n%s", v.name, err, tail(p.Output()))
		}
	}
	return nil
}

// configure writes the VR's configuration.
func (v *vr) configure(kind string) error {
	text := fmt.Sprintf("state = %q\ncontrol = %q\n[underlay]\nkind = %q\n[authority]\nauto_admit = \"open\"\n",
		filepath.Join(v.dir, "state"), v.socket(), kind)
	if v.capture != "tun" { // an older build to compare with may know only its default
		text += fmt.Sprintf("[capture]\nkind = %q\n", v.capture)
	}
	if v.lanes > 0 {
		text = strings.Replace(text, "[underlay]\n", fmt.Sprintf("[underlay]\nlanes = %d\n", v.lanes), 1)
	}
	return os.WriteFile(v.config(), []byte(text), 0o600)
}

func (v *vr) config() string { return filepath.Join(v.dir, "vine.toml") }
func (v *vr) socket() string { return filepath.Join(v.dir, "vine.sock") }

// command returns the words that run vine as this VR, with nothing of our environment: it may name proxies.
func (v *vr) command(words ...string) []string {
	return append([]string{"env", "-i", "PATH=" + os.Getenv("PATH"), "HOME=" + v.dir, "VINE_PROCESSING=" + v.each.String(), v.program, "--config", v.config(), "--socket", v.socket()}, words...)
}

// run runs vine to its end and returns what it printed.
func (v *vr) run(ctx context.Context, words ...string) (string, error) {
	p, err := v.ns.Start(v.command(words...)...)
	if err != nil {
		return "", err
	}
	if err := p.Wait(ctx); err != nil {
		return "", fmt.Errorf("%s: vine %s: %w\n%s", v.name, strings.Join(words, " "), err, tail(p.Output()))
	}
	return p.Output(), nil
}

// become runs init or join, and remembers the blocks of addresses that the VR got.
func (v *vr) become(ctx context.Context, words ...string) error {
	out, err := v.run(ctx, append([]string{"--json", "-q"}, words...)...)
	if err != nil {
		return err
	}
	var joined struct {
		Blocks []netip.Prefix `json:"blocks"`
	}
	if err := json.Unmarshal([]byte(out), &joined); err != nil {
		return fmt.Errorf("%s: vine %s printed %q: %w", v.name, words[0], out, err)
	}
	v.blocks = joined.Blocks
	return nil
}

// host returns an IPv4 address in the VR's block.
func (v *vr) host() (netip.Addr, error) {
	for _, b := range v.blocks {
		if b.Addr().Is4() {
			a := b.Addr().As4()
			a[3] |= 10
			return netip.AddrFrom4(a), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no block of IPv4 addresses: %v", v.name, v.blocks)
}

// up runs the VR and waits until it answers.
func (v *vr) up(ctx context.Context) (err error) {
	if v.process, err = v.ns.Start(v.command("up")...); err != nil {
		return err
	}
	err = awaitFile(ctx, v.name+"'s VR", func() error {
		select {
		case <-v.process.Done():
			return fmt.Errorf("vine up has ended: %w", v.process.Err())
		default:
		}
		_, err := v.run(ctx, "--json", "-q", "status")
		return err
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(v.process.Output()))
	}
	return nil
}

// deviceMTU returns the MTU of an interface.
func deviceMTU(ns *netns.Namespace, iface string) (int, error) {
	out, err := ns.Output("ip -j link show dev " + iface)
	if err != nil {
		return 0, fmt.Errorf("find the MTU of %s: %w\n%s", iface, err, out)
	}
	var links []struct {
		MTU int `json:"mtu"`
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		return 0, fmt.Errorf("find the MTU of %s: %w in %q", iface, err, out)
	}
	return links[0].MTU, nil
}
