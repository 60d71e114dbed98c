package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/vine-mesh/vine/node/capture/netstack"
	"github.com/vine-mesh/vine/policy"
)

func newDemoCommand(e *Env) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Bring up four sites in one process and show what they do",
		Long: `demo makes a federation of four sites, needs no root and leaves nothing behind. The VRs are
the ones of "vine up", over real UDP sockets on loopback; their LAN hosts are user-space TCP/IP stacks.
Each line is a check: OK, or FAILED with the reason. The exit code is 0 when all are OK.

With --keep it goes on running, and says how to point the other commands at its VRs.`,
		Example: `  vine demo
  vine demo --keep`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d := &demo{e: e, keep: keep, patience: 20 * time.Second}
			return d.run(c.Context())
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "go on running until interrupted")
	return c
}

// The ports of the demo's servers.
const (
	pagePort   = 80
	secretPort = 8080
	streamPort = 5001
)

// A demo is one run of `vine demo`.
type demo struct {
	e     *Env
	keep  bool
	dir   string
	log   *slog.Logger
	sites []*demoSite

	failures int
	// sabotage names the parts that are broken on purpose, so that a test can see their lines say
	// FAILED. Only tests set it.
	sabotage map[string]bool
	patience time.Duration // for one check
}

// errDemo says that a line of the demo said FAILED.
var errDemo = errors.New("the demo did not go as it should")

// run goes through the checks in order.
func (d *demo) run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "vine-demo-")
	if err != nil {
		return err
	}
	d.dir = dir
	defer os.RemoveAll(dir)
	d.log = slog.New(slog.DiscardHandler)
	if d.e.verbose {
		d.log = d.e.log()
	}
	defer d.stop()
	start := time.Now()
	d.say("A federation of four sites, each behind one virtual router (VR), over UDP on loopback.\n")
	for _, check := range d.checks() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if ok := d.check(ctx, check); !ok && check.vital {
			break
		}
	}
	d.say("\n%d checks failed, %.1f s in all.", d.failures, time.Since(start).Seconds())
	if d.keep && d.failures == 0 {
		d.tell()
		<-ctx.Done()
	}
	if d.failures > 0 {
		return errDemo
	}
	return nil
}

// A check is one line of the demo.
type check struct {
	what  string
	do    func(ctx context.Context) (detail string, err error)
	vital bool // without it the rest makes no sense
}

func (d *demo) checks() []check {
	return []check{
		{"uf founds the federation and is its authority", d.found, true},
		{"nwu joins, knowing only uf's address", func(ctx context.Context) (string, error) { return d.join(ctx, "nwu", 0) }, true},
		{"pu joins, knowing only uf's address", func(ctx context.Context) (string, error) { return d.join(ctx, "pu", 0) }, true},
		{"ucsd joins through nwu: any member can be the seed", func(ctx context.Context) (string, error) { return d.join(ctx, "ucsd", 1) }, true},
		{"every VR knows every other by gossip", d.meet, false},
		{"VN physics connects hosts of uf, nwu and pu", d.physics, true},
		{"VN biology connects a host of uf with one of ucsd", d.biology, true},
		{"a host of uf fetches a web page from nwu", d.page, false},
		{"a host of uf pings pu", d.ping, false},
		{"a host of biology pings its own VN", d.pingBiology, false},
		{"the same host gets nothing from physics", d.isolation, false},
		{"a host of uf sends 16 MiB to pu over TCP", d.transfer, false},
		{"uf's VR, the seed and authority, is killed: nwu and pu go on", d.kill, false},
		{"uf's VR is back from its own disk, and its hosts with it", d.recover, false},
	}
}

// check runs one check, prints its line and reports whether it says OK.
func (d *demo) check(ctx context.Context, c check) bool {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	start := time.Now()
	detail, err := c.do(ctx)
	verdict := "OK    "
	if err != nil {
		verdict, detail = "FAILED", err.Error()
		d.failures++
	}
	d.say("%s  %-62s %6.2f s  %s", verdict, c.what, time.Since(start).Seconds(), detail)
	return err == nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.e.Stdout, format+"\n", args...) }

// tell says how to use the other commands on the demo's VRs.
func (d *demo) tell() {
	d.say("\nThe VRs go on running; interrupt to end them. In another shell, for example:\n")
	for _, s := range d.sites {
		d.say("  VINE_SOCKET=%s vine status        # %s; serf members -rpc-addr=%s", s.config.Control, s.name, s.vr.RPC)
	}
	d.say("\nTo change things, sign as the administrator:\n")
	d.say("  VINE_USER=%s VINE_SOCKET=%s vine vn list", filepath.Join(d.sites[0].config.State, "user.key"), d.sites[0].config.Control)
}

// stop ends every VR that runs, all at once: each says goodbye for a second or two.
func (d *demo) stop() {
	var all sync.WaitGroup
	for _, s := range d.sites {
		all.Go(s.stop)
	}
	all.Wait()
}

// found makes the first site.
func (d *demo) found(ctx context.Context) (string, error) {
	s, err := d.site("uf")
	if err != nil {
		return "", err
	}
	if d.sabotage["found"] {
		s.name = "not a name"
	}
	if err := s.found(); err != nil {
		return "", err
	}
	if err := s.start(ctx); err != nil {
		return "", err
	}
	return s.describe(), nil
}

// join makes one more site, which knows only the address of another one's VR.
func (d *demo) join(ctx context.Context, name string, seed int) (string, error) {
	s, err := d.site(name)
	if err != nil {
		return "", err
	}
	at := d.sites[seed].vr.Endpoint
	if d.sabotage["join "+name] {
		at = netip.AddrPortFrom(at.Addr(), 9) // nobody is there
	}
	if err := s.join(ctx, at); err != nil {
		return "", err
	}
	if err := s.start(ctx); err != nil {
		return "", err
	}
	return s.describe(), nil
}

// meet waits until every VR's gossip knows every other alive.
func (d *demo) meet(ctx context.Context) (string, error) {
	if d.sabotage["meet"] {
		d.sites[3].mute(true)
		defer d.sites[3].mute(false)
	}
	err := eventually(ctx, func() error {
		for _, s := range d.sites {
			members, err := s.vr.Node.API().Members(ctx)
			if err != nil {
				return err
			}
			alive := 0
			for _, m := range members {
				if m.Status == "alive" {
					alive++
				}
			}
			if alive != len(d.sites) {
				return fmt.Errorf("%s knows %d of %d", s.name, alive, len(d.sites))
			}
		}
		return nil
	})
	return fmt.Sprintf("%d members", len(d.sites)), err
}

func (d *demo) physics(ctx context.Context) (string, error) {
	return d.createVN(ctx, "physics", d.sites[0].hosts[0], d.sites[1].hosts[0], d.sites[2].hosts[0])
}

func (d *demo) biology(ctx context.Context) (string, error) {
	return d.createVN(ctx, "biology", d.sites[0].hosts[1], d.sites[3].hosts[0])
}

// createVN asks for a VN as the administrator, at the last site's VR, and waits until it is
// installed wherever it has hosts.
func (d *demo) createVN(ctx context.Context, name string, hosts ...*netstack.Host) (string, error) {
	args := policy.VNCreateArgs{Name: name}
	for _, h := range hosts {
		args.Hosts = append(args.Hosts, h.Addr())
	}
	if d.sabotage[name] {
		args.Hosts[0] = netip.MustParseAddr("192.0.2.1") // no ViNe address
	}
	if err := d.ask(ctx, d.sites[len(d.sites)-1], policy.OpVNCreate, args); err != nil {
		return "", err
	}
	err := eventually(ctx, func() error {
		for _, s := range d.sites {
			vn, err := s.vr.Node.API().VN(ctx, name)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if vn.Installed == 0 {
				return fmt.Errorf("%s has not installed it", s.name)
			}
		}
		return nil
	})
	return fmt.Sprintf("installed at all %d VRs", len(d.sites)), err
}

// page has a host fetch a page with a text that nobody could know before.
func (d *demo) page(ctx context.Context) (string, error) {
	var nonce [8]byte
	rand.Read(nonce[:])
	want := "Hello from nwu, " + hex.EncodeToString(nonce[:])
	stop, err := serve(d.sites[1].hosts[0], pagePort, func(w http.ResponseWriter, _ *http.Request) {
		if d.sabotage["page"] {
			want = "another page"
		}
		fmt.Fprint(w, want)
	})
	if err != nil {
		return "", err
	}
	defer stop()
	expected := want
	got, err := fetch(ctx, d.sites[0].hosts[0], netip.AddrPortFrom(d.sites[1].hosts[0].Addr(), pagePort))
	if err != nil {
		return "", err
	}
	if got != expected {
		return "", fmt.Errorf("got %q, want %q", got, expected)
	}
	return fmt.Sprintf("%q", got), nil
}

func (d *demo) ping(ctx context.Context) (string, error) {
	to := d.sites[2].hosts[0].Addr()
	if d.sabotage["ping"] {
		to = to.Next().Next() // no member
	}
	return d.pings(ctx, d.sites[0].hosts[0], to)
}

func (d *demo) pingBiology(ctx context.Context) (string, error) {
	if d.sabotage["ping biology"] {
		d.sites[3].mute(true)
		defer d.sites[3].mute(false)
	}
	return d.pings(ctx, d.sites[0].hosts[1], d.sites[3].hosts[0].Addr())
}

// pings sends echo requests one second apart until one comes back.
func (d *demo) pings(ctx context.Context, from *netstack.Host, to netip.Addr) (string, error) {
	var rtt time.Duration
	err := eventually(ctx, func() (err error) {
		one, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		rtt, err = from.Ping(one, to)
		return err
	})
	return fmt.Sprintf("round trip %.2f ms", rtt.Seconds()*1000), err
}

// isolation has a host that is only in biology try a host that is only in physics. Its own VR must
// be seen to drop the packets for want of a route, and nothing may come back.
func (d *demo) isolation(ctx context.Context) (string, error) {
	from, to := d.sites[0].hosts[1], d.sites[1].hosts[0]
	if d.sabotage["isolation"] {
		from = d.sites[0].hosts[0]
	}
	stop, err := serve(to, secretPort, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secret") })
	if err != nil {
		return "", err
	}
	defer stop()
	before, err := d.noRoute(ctx)
	if err != nil {
		return "", err
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := from.Ping(short, to.Addr()); err == nil {
		return "", errors.New("an echo reply came back across VNs")
	}
	short, cancel = context.WithTimeout(ctx, time.Second)
	defer cancel()
	if page, err := fetch(short, from, netip.AddrPortFrom(to.Addr(), secretPort)); err == nil {
		return "", fmt.Errorf("fetched %q across VNs", page)
	}
	after, err := d.noRoute(ctx)
	if err != nil {
		return "", err
	}
	if after <= before {
		return "", errors.New("its VR did not count a dropped packet: did it send any?")
	}
	return fmt.Sprintf("its VR dropped %d packets: no-route", after-before), nil
}

func (d *demo) noRoute(ctx context.Context) (uint64, error) {
	s, err := d.sites[0].vr.Node.API().Status(ctx)
	return s.Packets.Drops["no-route"], err
}

// transferBytes is how much the demo sends to measure throughput.
const transferBytes = 16 << 20

// transfer sends a stream through the VN and has the receiver count it.
func (d *demo) transfer(ctx context.Context) (string, error) {
	from, to := d.sites[0].hosts[0], d.sites[2].hosts[0]
	l, err := to.Listen(streamPort)
	if err != nil {
		return "", err
	}
	defer l.Close()
	counted := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			counted <- 0
			return
		}
		n, _ := io.Copy(io.Discard, c)
		c.Close()
		counted <- n
	}()
	start := time.Now()
	c, err := from.DialTCP(ctx, netip.AddrPortFrom(to.Addr(), streamPort))
	if err != nil {
		return "", err
	}
	defer c.Close()
	send := int64(transferBytes)
	if d.sabotage["transfer"] {
		send--
	}
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	if _, err := io.CopyN(c, zeroes{}, send); err != nil {
		return "", err
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	select {
	case n := <-counted:
		if n != transferBytes {
			return "", fmt.Errorf("%d of %d bytes arrived", n, transferBytes)
		}
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return fmt.Sprintf("%.0f Mb/s", transferBytes*8/time.Since(start).Seconds()/1e6), nil
}

// kill ends the seed's VR without a goodbye; traffic between the others must go on.
func (d *demo) kill(ctx context.Context) (string, error) {
	d.sites[0].kill()
	if d.sabotage["kill"] {
		d.sites[2].mute(true)
		defer d.sites[2].mute(false)
	}
	one, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if d.sites[0].vr != nil {
		return "", errors.New("the VR still runs")
	}
	return d.pings(one, d.sites[1].hosts[0], d.sites[2].hosts[0].Addr())
}

// recover starts the killed VR again: it knows all it needs from its own disk.
func (d *demo) recover(ctx context.Context) (string, error) {
	if d.sabotage["recover"] {
		os.RemoveAll(filepath.Join(d.sites[0].config.State, "documents"))
	}
	if err := d.sites[0].start(ctx); err != nil {
		return "", err
	}
	start := time.Now()
	detail, err := d.pings(ctx, d.sites[0].hosts[0], d.sites[2].hosts[0].Addr())
	return fmt.Sprintf("first packet after %.2f s, %s", time.Since(start).Seconds(), detail), err
}

// ask signs a request as the administrator and hands it in at a site.
func (d *demo) ask(ctx context.Context, at *demoSite, op string, args any) error {
	quiet := *d.e
	quiet.Stdout, quiet.quiet, quiet.json, quiet.socket = io.Discard, true, false, at.config.Control
	return quiet.ask(ctx, asking{user: filepath.Join(d.sites[0].config.State, "user.key"), wait: 15 * time.Second}, op, args)
}

// eventually tries f until it succeeds, or returns its last error when ctx ends.
func eventually(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
