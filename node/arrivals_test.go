package node

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

func TestUnderLoad(t *testing.T) {
	for _, c := range []struct {
		on     bool
		queued int
		idle   time.Duration
		want   bool
	}{
		{false, 0, time.Hour, false},
		{false, 16, 0, false},
		{false, 17, 0, true},
		{false, 128, time.Hour, true},
		{true, 16, time.Hour, true},
		{true, 1, time.Hour, true},
		{true, 0, loadLinger - 1, true},
		{true, 0, loadLinger, false},
	} {
		if got := underLoad(c.on, c.queued, 128, c.idle); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestIndexes(t *testing.T) {
	var x indexes
	have := map[uint32]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		i := random.Uint32N(64)<<24 | random.Uint32N(16)<<4
		on := random.IntN(2) == 0
		x.set(transport.Listening{Index: i, On: on})
		have[i] = on
		probe := random.Uint32N(64)<<24 | random.Uint32N(16)<<4
		if x.has(probe) != have[probe] {
			t.Fatalf("%#x: %v", probe, !have[probe])
		}
	}
	for i := range x {
		if list := x[i].Load(); list != nil && !slices.IsSorted(*list) {
			t.Fatal("not sorted")
		}
	}
}

// sent is a Socket that counts what is sent.
type sent struct {
	underlay.Socket
	datagrams, bytes int
}

func (s *sent) WriteBatch(dgs []underlay.Datagram) (int, error) {
	for _, d := range dgs {
		s.datagrams++
		s.bytes += d.N
	}
	return len(dgs), nil
}

// Datagrams that name no index of ours are dropped before they are queued, first messages have
// their own queue, and nothing is allocated for what is dropped.
func TestArrivals(t *testing.T) {
	start := time.Unix(1e9, 0)
	gate, err := secure.NewGate(tables.LinkKey{9}, start, rand.NewChaCha8([32]byte{}))
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{
		controls: make(chan arrival, 4), handshakes: make(chan arrival, 16), underLoad: underLoad, gate: gate,
		socket: &sent{}, options: Options{Rand: rand.NewChaCha8([32]byte{1})},
	}
	from := netip.MustParseAddrPort("192.0.2.1:1")
	control := func(index uint32) []byte {
		return append(frame.ControlHeader{Receiver: index}.Append(nil), make([]byte, frame.TagLen)...)
	}
	junk := control(0x10)
	if allocs := testing.AllocsPerRun(100, func() { n.controlArrived(start, from, junk) }); allocs > 0 {
		t.Errorf("%v allocations for each junk datagram", allocs)
	}
	cookie := frame.Cookie{Receiver: 0x10}.Append(nil)
	n.controlArrived(start, from, cookie)
	if len(n.controls)+len(n.handshakes) > 0 || n.unknown.Load() != 102 {
		t.Fatalf("%d queued, %d counted", len(n.controls), n.unknown.Load())
	}
	n.listening.set(transport.Listening{Index: 0x20, On: true})
	for range 6 {
		n.controlArrived(start, from, control(0x20))
	}
	if len(n.controls) != 4 || n.busy.Load() != 2 || n.unknown.Load() != 102 {
		t.Fatalf("%d queued, %d dropped", len(n.controls), n.busy.Load())
	}
	init := frame.Init{Noise: make([]byte, frame.InitNoiseLen)}.Append(nil)
	secure.NewCookieClient(tables.LinkKey{9}).Stamp(start, init)
	for i := range 20 {
		n.controlArrived(start, netip.AddrPortFrom(netip.AddrFrom4([4]byte{60, byte(i), 0, 1}), 1), init)
	}
	if len(n.handshakes) != 3 || n.crowded.Load() != 0 { // an eighth of 16, and the one that was over
		t.Fatalf("%d first messages queued, %d dropped: the rest should have got cookies", len(n.handshakes), n.crowded.Load())
	}
	if c := n.socket.(*sent); c.datagrams != 17 || c.bytes != 17*frame.CookieLen {
		t.Fatalf("%d answers of %d bytes", c.datagrams, c.bytes)
	}
	for len(n.handshakes) > 0 {
		<-n.handshakes
	}
	l := &loop{n: n, shaken: start}
	verdict := func() secure.Verdict { return gate.Check(start.Add(time.Minute), from, init) }
	if l.calm(start.Add(loadLinger - 1)); verdict() != secure.Cookie {
		t.Error("calm too early")
	}
	if l.calm(start.Add(loadLinger)); verdict() != secure.Pass {
		t.Error("still under load")
	}
}
