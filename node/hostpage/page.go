package hostpage

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/hosts"
)

// A VR is what the page needs of the running VR. Its methods may be called from any goroutine.
type VR interface {
	// Standing returns what the VR knows of a machine on its LAN.
	Standing(mac hosts.MAC, addr netip.Addr) control.Standing
	// FileHost notes that the machine wants to be in a VN. It returns when that is on disk; an error that wraps
	// control.ErrRefused says why not.
	FileHost(ctx context.Context, mac hosts.MAC, seen netip.Addr, name, vn string) (control.HostRequest, error)
}

// A Config says where the page is shown.
type Config struct {
	Interfaces []string       // of the LAN
	At         netip.AddrPort // without an address: every one of the interface
	VR         VR
	// Neighbour returns the MAC of a machine on an interface, as the kernel's table of neighbours has it; empty: none.
	Neighbour func(iface string, addr netip.Addr) (hosts.MAC, error)
	// Shared are gateway addresses that the VR may have on an interface for a while, with others.
	Shared map[string][]netip.Addr
	Log    *slog.Logger
}

// A Page is the page of one VR. New starts nothing.
type Page struct {
	Config
	times
	listen    func(ctx context.Context, iface string, at netip.AddrPort) (net.Listener, error)
	provoke   func(ctx context.Context, iface string, addr netip.Addr) error
	addresses func(iface string) []netip.Addr
	index     func(iface string) int // of the interface; zero: it is not there
	bucket    bucket
}

// times are the patience of the page, which tests shorten.
type times struct {
	header, read, write time.Duration
	retry               time.Duration // how soon a socket that could not be opened, or has lost its interface, is opened again
}

const (
	// bodyBytesMax and headerBytesMax bound what a machine may say.
	bodyBytesMax   = 4 << 10
	headerBytesMax = 8 << 10
	// filesBurst requests may come at once, and then filesEvery one: each is a write to disk.
	filesBurst = 16
	filesEvery = time.Second
)

// New returns the page.
func New(c Config) *Page {
	return &Page{
		Config: c, times: times{5 * time.Second, 5 * time.Second, 10 * time.Second, 10 * time.Second},
		listen: listenOn, provoke: provoke,
		addresses: func(iface string) []netip.Addr { return append(interfaceAddresses(iface), c.Shared[iface]...) },
		index: func(name string) int {
			i, err := net.InterfaceByName(name)
			if err != nil {
				return 0
			}
			return i.Index
		},
		bucket: bucket{burst: filesBurst, every: filesEvery},
	}
}

// Run shows the page until ctx ends. A socket that cannot be opened, since its port is taken or its interface not there, is
// tried again; the VR does without meanwhile.
func (p *Page) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, iface := range p.Interfaces {
		all.Go(func() { p.show(ctx, iface) })
	}
	all.Wait()
	return nil
}

// show shows the page on one interface.
func (p *Page) show(ctx context.Context, iface string) {
	failure := ""
	for ctx.Err() == nil {
		index := p.index(iface)
		l, err := p.listen(ctx, iface, p.At)
		if err == nil {
			failure = ""
			p.Log.Info("page for hosts", "interface", iface, "listen", l.Addr().String())
			err = p.serve(ctx, iface, index, l)
		}
		if err != nil && ctx.Err() == nil && err.Error() != failure {
			failure = err.Error()
			p.Log.Warn("no page for hosts; will try again", "interface", iface, "every", p.retry, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(p.retry):
		}
	}
}

var errInterfaceGone = errors.New("the interface has gone, or is another one now")

// serve serves one socket until ctx ends or the interface that it is bound to goes: a socket is bound to a number, which
// an interface of the same name that comes later does not have.
func (p *Page) serve(ctx context.Context, iface string, index int, l net.Listener) error {
	d := &door{Listener: l, iface: iface, neighbour: p.Neighbour, addresses: p.addresses, byMAC: map[hosts.MAC]int{}, bucket: bucket{burst: visitsBurst, every: visitsEvery}}
	s := &http.Server{
		Handler: p, ReadHeaderTimeout: p.header, ReadTimeout: p.read, WriteTimeout: p.write, MaxHeaderBytes: headerBytesMax,
		ErrorLog:    slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, visitKey{}, c) },
	}
	s.SetKeepAlivesEnabled(false)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(d) }()
	tick := time.NewTicker(p.retry)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			s.Close()
			return err
		case <-ctx.Done():
			s.Close()
			<-ended
			return nil
		case <-tick.C:
			if p.index(iface) != index {
				s.Close()
				<-ended
				return errInterfaceGone
			}
		}
	}
}

type visitKey struct{}

// A bucket lets a burst through and then one in every while.
type bucket struct {
	burst int
	every time.Duration

	mu   sync.Mutex
	full time.Time // when it will be full again
}

// take reports whether one more may pass now.
func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full.Before(now) {
		b.full = now
	}
	if b.full.Sub(now) > time.Duration(b.burst-1)*b.every {
		return false
	}
	b.full = b.full.Add(b.every)
	return true
}
