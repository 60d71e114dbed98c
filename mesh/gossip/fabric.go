package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/vine-mesh/vine/tables"
)

const (
	// packetQueue is how many packets wait for memberlist; more are dropped and counted.
	packetQueue = 1024
	// streamQueue is how many incoming streams wait for memberlist, which starts a
	// goroutine for each; more are closed and counted.
	streamQueue = 64
)

// A fabric is memberlist's transport over the links between VRs.
//
// WriteTo never waits, and reports success for a VR that cannot be reached, as UDP does: any
// other error silently switches memberlist's failure detection off (measured).
type fabric struct {
	config  *Config
	police  inspector
	packets chan *memberlist.Packet // filled by deliver, which drops when it is full
	streams chan net.Conn           // filled by accept, which closes when it is full
	ctx     context.Context         // ends with Shutdown; parent of every Dial
	cancel  context.CancelFunc
	// onFirstAdvertise runs inside memberlist.Create, after serf has set its delegates and
	// before any goroutine that uses them exists.
	onFirstAdvertise func()
	advertised       sync.Once
	// farewell, if set, is shown every packet that is sent.
	farewell atomic.Pointer[farewell]

	unroutable  atomic.Uint64 // packets to what is not the address of an enrolled VR
	fullPackets atomic.Uint64
	fullStreams atomic.Uint64
}

var _ memberlist.NodeAwareTransport = (*fabric)(nil)

func newFabric(c *Config, p inspector) *fabric {
	ctx, cancel := context.WithCancel(context.Background())
	return &fabric{
		config:  c,
		police:  p,
		packets: make(chan *memberlist.Packet, packetQueue),
		streams: make(chan net.Conn, streamQueue),
		ctx:     ctx,
		cancel:  cancel,
	}
}

// FinalAdvertiseAddr returns our constant address. memberlist calls it in Create before any
// goroutine starts, and again for every alive message of ours.
func (f *fabric) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	f.advertised.Do(f.onFirstAdvertise)
	a := addr16(f.config.Self.Router)
	return a[:], Port, nil
}

// WriteTo sends a packet to a SWIM address.
func (f *fabric) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	to, ok := f.route(addr)
	if !ok {
		f.unroutable.Add(1)
		return now, nil
	}
	if to == f.config.Self.Router {
		// serf answers our own queries like anybody's.
		f.deliver(now, to, slices.Clone(b))
		return now, nil
	}
	f.police.sent(now, to, b)
	if fw := f.farewell.Load(); fw != nil {
		fw.watch(b)
	}
	f.config.Send(to, b)
	return now, nil
}

// WriteToAddress is WriteTo: the address alone says which VR it is.
func (f *fabric) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return f.WriteTo(b, a.Addr)
}

// route returns the enrolled VR with the SWIM address.
func (f *fabric) route(addr string) (tables.RouterID, bool) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Port() != Port {
		return 0, false
	}
	id, ok := routerOf(ap.Addr())
	if !ok {
		return 0, false
	}
	_, ok = f.config.Directory.Name(id)
	return id, ok
}

// PacketCh implements memberlist.Transport.
func (f *fabric) PacketCh() <-chan *memberlist.Packet { return f.packets }

// StreamCh implements memberlist.Transport.
func (f *fabric) StreamCh() <-chan net.Conn { return f.streams }

var errNoRoute = errors.New("gossip: not the address of an enrolled VR")

// DialTimeout opens a stream to a SWIM address.
func (f *fabric) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, ok := f.route(addr)
	if !ok || to == f.config.Self.Router {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errNoRoute}
	}
	ctx, cancel := context.WithTimeout(f.ctx, timeout)
	defer cancel()
	conn, err := f.config.Dial(ctx, to)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	// memberlist sets deadlines on some streams only.
	_ = conn.SetDeadline(time.Now().Add(streamTimeout))
	return f.police.wrap(conn, to, outgoing), nil
}

// DialAddressTimeout is DialTimeout: the address alone says which VR it is.
func (f *fabric) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return f.DialTimeout(a.Addr, timeout)
}

// Shutdown makes all that waits for the fabric return. It does not wait.
func (f *fabric) Shutdown() error {
	f.cancel()
	for {
		select {
		case c := <-f.streams:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// deliver gives memberlist a packet that was judged. It never waits.
func (f *fabric) deliver(now time.Time, from tables.RouterID, clean []byte) {
	if f.ctx.Err() != nil {
		return
	}
	select {
	case f.packets <- &memberlist.Packet{Buf: clean, From: udpAddr(from), Timestamp: now}:
	default:
		f.fullPackets.Add(1)
	}
}

// accept gives memberlist an incoming stream and reports whether it took it. It never waits, and
// leaves a stream that it does not take as it is.
func (f *fabric) accept(now time.Time, from tables.RouterID, conn net.Conn) bool {
	if f.ctx.Err() != nil || !f.police.admit(now, from) {
		return false
	}
	_ = conn.SetDeadline(now.Add(streamTimeout))
	select {
	case f.streams <- f.police.wrap(conn, from, incoming):
		return true
	default:
		f.fullStreams.Add(1)
		return false
	}
}
