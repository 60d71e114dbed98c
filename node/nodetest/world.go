package nodetest

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/transporttest"
	"github.com/vine-mesh/vine/transport/underlay"
)

// Port is the UDP port of every VR.
const Port = 8463

// A World is a federation on the in-memory Internet. It belongs to the test's goroutine.
type World struct {
	T     testing.TB
	Net   *transporttest.Internet
	Sites []*Site
	// Ahead is how far the founder's clock is ahead of all others' when it signs the founding
	// documents.
	Ahead time.Duration
	// AutoAdmit is what the authority does with newcomers: "open" unless changed.
	AutoAdmit string
	// Prepare, if set, is shown every VR before it runs.
	Prepare func(*node.Node)
	// PathMTU is the path MTU setting of new sites: 1,500 unless changed.
	PathMTU int
	// Strays are the packets that hosts got outside any Flow, see Run.
	Strays []Packet
	flows  []*Flow
	random *source
}

// New returns an empty World. Everything random in it comes from seed, to which the number in the
// environment variable VINE_SEED is added: with another number every test is another one.
func New(t testing.TB, seed uint64) *World {
	if n, err := strconv.ParseUint(os.Getenv("VINE_SEED"), 10, 64); err == nil {
		seed += n * 1000
	}
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	return &World{T: t, Net: transporttest.Start(t, seed), AutoAdmit: "open", PathMTU: 1500, random: &source{chacha: rand.NewChaCha8(key)}}
}

// A source is randomness that all VRs of a World draw from, each on goroutines of its own.
type source struct {
	mu     sync.Mutex // guards chacha
	chacha *rand.ChaCha8
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chacha.Read(p)
}

// Uint64 returns a random number.
func (s *source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chacha.Uint64()
}

// Random returns the randomness that all VRs of the world draw from. It is safe for several goroutines at once.
func (w *World) Random() io.Reader { return w.random }

// A Site is one VR with its LAN.
type Site struct {
	Name      string
	World     *World
	Host      *transporttest.Host
	NAT       *transporttest.NAT // in front of it, nil if there is none
	Kind      string             // as the operator declares: "auto" unless changed
	Dir       string
	Node      *node.Node // nil while stopped
	Devices   []*capturetest.ChannelDevice
	Serve     [][]string // VNs that each attachment serves; nil: one attachment that serves all
	Joined    node.Joined
	Root      ed25519.PrivateKey // the root key, at the founding site
	PathMTU   int
	Adjust    func(*node.Settings)     // changes what the VR is started with; may be nil
	Closed    bool                     // answers no newcomer
	Pin       string                   // of the federation that it means to join
	With      *Site                    // whose blocks it is to share, as a VR of the same site; nil: nobody's
	Hears     func() []tables.RouterID // which VRs that share its blocks it hears on the LAN; nil: it does not listen
	Alerts    node.Alerter             // who is told of alerts; may be nil
	cancel    context.CancelFunc
	ended     chan error
	Log       *slog.Logger
	hostCount int
	killed    bool // and not started since
}

func (w *World) site(name string) *Site {
	addr := netip.AddrFrom4([4]byte{192, 0, byte(2 + len(w.Sites)/200), byte(1 + len(w.Sites)%200)})
	return w.siteAt(name, w.Net.Host(name, addr))
}

// siteAt is a site whose VR runs on a host of the caller's making.
func (w *World) siteAt(name string, host *transporttest.Host) *Site {
	s := &Site{Name: name, World: w, Dir: w.T.TempDir(), Host: host, PathMTU: w.PathMTU, Kind: "auto"}
	level := slog.LevelError + 4
	if os.Getenv("VINE_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	s.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("at", name)
	w.Sites = append(w.Sites, s)
	return s
}

// Endpoint returns where the site's VR is reached.
func (s *Site) Endpoint() netip.AddrPort { return netip.AddrPortFrom(s.Host.Addr(), Port) }

// Found makes the first site, whose VR is the authority, and starts it.
func (w *World) Found(name string) *Site {
	w.T.Helper()
	return w.site(name).Found()
}

// Found has a site of the caller's making be the first one, and starts it.
func (s *Site) Found() *Site {
	w := s.World
	w.T.Helper()
	dir := s.open()
	founded, err := node.Found(time.Now().Add(w.Ahead), node.Founding{Name: "world", VR: s.Name, Site: s.Name, UserName: "admin", Rand: w.random})
	if err == nil {
		err = founded.Store(dir)
	}
	if err != nil {
		w.T.Fatalf("found: %v", err)
	}
	dir.Close()
	s.Root = founded.Root
	s.Joined = node.Joined{Name: s.Name, Router: founded.Enrolment.Router, Blocks: founded.Enrolment.Blocks, FederationID: founded.View.FederationID()}
	s.Start()
	return s
}

// Join makes a site that knows only seed's address, has it enrolled and starts it.
func (w *World) Join(name string, seed *Site) *Site {
	w.T.Helper()
	s := w.site(name)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.Enrol(ctx, seed.Endpoint(), ""); err != nil {
		w.T.Fatalf("join %s: %v", name, err)
	}
	s.Start()
	return s
}

// JoinWith makes a second VR of a site, admitted by the administrator, and starts it.
func (w *World) JoinWith(name string, seed, with *Site) *Site {
	w.T.Helper()
	s := w.site(name)
	s.With = with
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	joined := make(chan error, 1)
	go func() { joined <- s.Enrol(ctx, seed.Endpoint(), "") }()
	founder := w.Sites[0]
	w.Eventually(name+" asks", time.Minute, func() bool {
		list, err := founder.API().Pending(ctx)
		if err != nil || len(list) == 0 {
			return false
		}
		if list[0].With != with.Name {
			w.T.Fatalf("%s asks: %+v", name, list[0])
		}
		w.Must(founder, policy.OpAdmit, policy.AdmitArgs{Fingerprint: list[0].Fingerprint})
		return true
	})
	if err := <-joined; err != nil {
		w.T.Fatalf("join %s: %v", name, err)
	}
	s.Start()
	return s
}

// NewSite returns a site that has yet to join.
func (w *World) NewSite(name string) *Site { return w.site(name) }

// At returns a site that has yet to join, whose VR runs on a host of the caller's making, behind a translator of its own if nat is not nil.
func (w *World) At(name string, host *transporttest.Host, nat *transporttest.NAT) *Site {
	s := w.siteAt(name, host)
	s.NAT = nat
	return s
}

// Behind returns a site that has yet to join, behind an address translator of its own.
func (w *World) Behind(name string, kind transporttest.NATKind) *Site {
	n := byte(1 + len(w.Sites))
	nat := w.Net.NAT(name+"-nat", netip.AddrFrom4([4]byte{198, 51, 100, n}), kind)
	s := w.siteAt(name, nat.Host(name, netip.AddrFrom4([4]byte{10, 0, n, 2})))
	s.NAT = nat
	return s
}

// Beside returns a site that has yet to join, behind the translator of another.
func (w *World) Beside(other *Site, name string) *Site {
	s := w.siteAt(name, other.NAT.Host(name, netip.AddrFrom4([4]byte{10, 0, other.Host.Addr().As4()[2], byte(3 + len(w.Sites))})))
	s.NAT = other.NAT
	return s
}

// JoinAs has a site of the caller's making enrolled through seed and starts it.
func (s *Site) JoinAs(seed *Site) *Site {
	t := s.World.T
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := s.Enrol(ctx, seed.Endpoint(), ""); err != nil {
		t.Fatalf("join %s: %v", s.Name, err)
	}
	s.Start()
	return s
}

// Enrol joins the federation of the VR at seed, with an invite if token is not empty.
func (s *Site) Enrol(ctx context.Context, seed netip.AddrPort, token string) error {
	dir := s.open()
	defer dir.Close()
	socket, err := s.Host.Listen(Port)
	if err != nil {
		return err
	}
	defer socket.Close()
	site, with := s.Name, ""
	if s.With != nil {
		site, with = "", s.With.Name
	}
	s.Joined, err = node.Join(ctx, node.Joining{
		State: dir, Socket: socket, Seeds: []netip.AddrPort{seed}, Name: s.Name, Site: site, With: with, Token: token, Pin: s.Pin,
		Rand: s.World.random, Log: s.Log, Progress: func(text string) { s.Log.Info(text) },
	})
	return err
}

func (s *Site) open() *state.Dir {
	s.World.T.Helper()
	dir, err := state.Open(s.Dir)
	if err != nil {
		s.World.T.Fatal(err)
	}
	return dir
}

// Start runs the site's VR until Stop or the end of the test.
func (s *Site) Start() {
	t := s.World.T
	t.Helper()
	s.Plug()
	socket, err := s.Host.Listen(Port)
	if err != nil {
		t.Fatal(err)
	}
	serve := s.Serve
	if serve == nil {
		serve = [][]string{nil}
	}
	s.Devices = nil
	o := node.Options{
		State: s.open(), Socket: socket, Rand: s.World.random, Log: s.Log, Software: "test", Offload: true,
		Fresh:    func(netip.Addr) (underlay.Socket, error) { return s.Host.Listen(0) },
		Settings: node.Settings{Kind: s.Kind, Serve: true, Joinable: !s.Closed, PathMTU: s.PathMTU, AutoAdmit: s.World.AutoAdmit},
	}
	o.Hears = s.Hears
	o.Alerts = s.Alerts
	if s.Adjust != nil {
		s.Adjust(&o.Settings)
	}
	for i, vns := range serve {
		d := capturetest.NewChannelDevice(fmt.Sprintf("lan%d", i), 1400)
		s.Devices = append(s.Devices, d)
		o.Attachments = append(o.Attachments, node.Attachment{Name: d.Name(), Device: capture.Device(d), VNs: vns})
	}
	n, err := node.New(o)
	if err != nil {
		t.Fatalf("start %s: %v", s.Name, err)
	}
	if s.World.Prepare != nil {
		s.World.Prepare(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.Node, s.cancel, s.ended = n, cancel, make(chan error, 1)
	ended := s.ended
	go func() { ended <- n.Run(ctx) }()
}

// Stop ends the site's VR as SIGTERM does.
func (s *Site) Stop() {
	s.World.T.Helper()
	if s.Node == nil {
		return
	}
	s.cancel()
	if err := <-s.ended; err != nil {
		s.World.T.Errorf("%s: %v", s.Name, err)
	}
	s.Node = nil
}

// Kill ends the site's VR without a word to anybody: what it sends from now on is lost, also what is under way when it has ended. It
// is cut off until it starts again.
func (s *Site) Kill() {
	s.World.T.Helper()
	s.eachOther(s.World.Net.Cut)
	s.killed = true
	s.Stop()
}

// Plug has others reach the host of a killed VR again, for somebody else to use it. Nothing of the VR is under way any more then.
func (s *Site) Plug() {
	if s.killed {
		s.killed = false
		time.Sleep(time.Second)
		s.eachOther(s.World.Net.Join)
	}
}

func (s *Site) eachOther(do func(a, b transporttest.Node)) {
	for _, other := range s.World.Sites {
		if other != s {
			do(s.Host, other.Host)
		}
	}
}

// Close stops every VR and lets what serf leaves behind run out. Call it at the end of a bubble.
func (w *World) Close() {
	for _, s := range w.Sites {
		s.Stop()
	}
	w.Net.Close()
	time.Sleep(15 * time.Minute)
}

// API returns the management interface of a running site.
func (s *Site) API() control.Router { return s.Node.API() }

// NewHost returns a fresh address of the site's first IPv4 block.
func (s *Site) NewHost() netip.Addr {
	s.hostCount++
	a := s.Joined.Blocks[0].Addr().As4()
	a[3] = byte(9 + s.hostCount)
	return netip.AddrFrom4(a)
}

// NewHost6 is NewHost for IPv6.
func (s *Site) NewHost6() netip.Addr {
	s.hostCount++
	for _, b := range s.Joined.Blocks {
		if b.Addr().Is6() {
			a := b.Addr().As16()
			a[15] = byte(9 + s.hostCount)
			return netip.AddrFrom16(a)
		}
	}
	s.World.T.Fatalf("%s has no IPv6 block", s.Name)
	return netip.Addr{}
}

// Ask has the administrator ask for an operation at site s and waits for the outcome.
func (w *World) Ask(s *Site, op string, args any) (control.Request, error) {
	w.T.Helper()
	d, err := policy.NewRequest(time.Now(), w.random, w.Sites[0].User(), op, args)
	if err != nil {
		return control.Request{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.API().Submit(ctx, d.Bytes()); err != nil {
		return control.Request{}, err
	}
	return s.API().Request(ctx, d.Hash(), 30*time.Second)
}

// Must is Ask for what must be done.
func (w *World) Must(s *Site, op string, args any) control.Request {
	w.T.Helper()
	r, err := w.Ask(s, op, args)
	if err != nil || r.State != tables.StateDone {
		w.T.Fatalf("%s: %+v, %v", op, r, err)
	}
	return r
}

// User returns the administrator's key, which the founding site holds.
func (s *Site) User() ed25519.PrivateKey {
	s.World.T.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "user.key"))
	if err != nil {
		s.World.T.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		s.World.T.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// Eventually waits until ok holds, at most for bound, and reports how long it took.
func (w *World) Eventually(what string, bound time.Duration, ok func() bool) time.Duration {
	w.T.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > bound {
			w.T.Fatalf("not within %v: %s", bound, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(start)
}

// Send sends one UDP packet from a host of site s, by the attachment.
func (s *Site) Send(at int, src, dst netip.Addr, payload string) {
	s.Devices[at].Send(capturetest.AppendUDP(nil, netip.AddrPortFrom(src, 1000), netip.AddrPortFrom(dst, 2000), []byte(payload)))
}

// Receive returns the payload of the next UDP packet for a host of the site, "" if none comes
// within wait.
func (s *Site) Receive(at int, wait time.Duration) (src, dst netip.Addr, payload string) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	for {
		pkt, err := s.Devices[at].Receive(ctx)
		if err != nil {
			return netip.Addr{}, netip.Addr{}, ""
		}
		if from, to, text, ok := capturetest.ParseUDP(pkt); ok {
			return from.Addr(), to.Addr(), string(text)
		}
	}
}

// Reaches reports whether a packet from a host at one site arrives at a host at another within
// wait, sending again every 100 ms.
func (w *World) Reaches(from *Site, src netip.Addr, to *Site, dst netip.Addr, wait time.Duration) bool {
	w.T.Helper()
	text := fmt.Sprintf("%s>%s %d", src, dst, w.random.Uint64())
	for end := time.Now().Add(wait); time.Now().Before(end); {
		from.Send(0, src, dst, text)
		if _, _, got := to.Receive(0, 100*time.Millisecond); got == text {
			return true
		}
	}
	return false
}
