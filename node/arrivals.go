package node

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/transport"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
)

// An arrival is a datagram for the links that passed the gate.
type arrival struct {
	at       time.Time
	from     netip.AddrPort
	datagram []byte
}

const (
	arrivalsMax = 1024 // at 1,028 bytes: 1.1 MB when the control loop is behind
	// handshakesMax bounds the first messages that wait: with some 0.2 ms of public-key work each,
	// the last one waits for 25 ms.
	handshakesMax = 128
	// controlRun is how many control datagrams are taken in a row before anything else has a turn.
	controlRun = 32
	// loadLinger is how long first messages need a cookie after the last one that waited.
	loadLinger = time.Second
)

// underLoad decides whether first messages must bring a cookie: from when their queue is over an
// eighth full until none has waited for loadLinger. on is what it decided before, idle the time
// since one waited.
func underLoad(on bool, queued, capacity int, idle time.Duration) bool {
	switch {
	case queued > capacity/8:
		return true
	case queued == 0 && idle >= loadLinger:
		return false
	}
	return on
}

// controlArrived passes a datagram through the gate and on to the control loop. It runs on the
// receiving lane, before anything is kept.
func (n *Node) controlArrived(now time.Time, from netip.AddrPort, b []byte) {
	origin := n.origin(from)
	switch verdict := n.gate.Check(now, origin, b); verdict {
	case secure.Pass:
		n.enqueue(arrival{now, from, b})
	case secure.Cookie:
		answer, err := n.gate.AppendCookie(nil, now, origin, b, n.options.Rand)
		if err == nil && len(answer) <= len(b) {
			n.send(from, answer)
		}
	default:
		n.gated.Add(1)
	}
}

// enqueue copies a datagram into its queue. What names an index that we do not listen to has been
// sent blindly, or too late. First messages name none, so anybody can send them: they have a queue of
// their own, and all others go before.
func (n *Node) enqueue(a arrival) {
	queue, full := n.handshakes, &n.crowded
	if index, named := frame.ReceiverOf(a.datagram); named {
		if !n.listening.has(index) {
			n.unknown.Add(1)
			return
		}
		queue, full = n.controls, &n.busy
	}
	a.datagram = append([]byte(nil), a.datagram...)
	select {
	case queue <- a:
	default:
		full.Add(1)
	}
	if n.underLoad(false, len(n.handshakes), cap(n.handshakes), 0) {
		n.gate.SetUnderLoad(true)
	}
}

// drainControls takes what waits of control datagrams, at most controlRun.
func (l *loop) drainControls() {
	for range controlRun {
		select {
		case a := <-l.n.controls:
			l.handle(func(now time.Time) { l.arrive(now, a) })
		default:
			return
		}
	}
}

// arrive gives a datagram to the links, unless it came through a relay that we may not use: no answer tells
// the peer not to use it either.
func (l *loop) arrive(now time.Time, a arrival) {
	if relay, _ := path.RelayOf(a.from); relay != 0 && !l.mayPass(relay) {
		l.n.refused.Add(1)
		return
	}
	l.do(now, l.links.HandleArrived(now, a.at, a.from, a.datagram))
}

// shake gives a first message to the links.
func (l *loop) shake(now time.Time, a arrival) {
	l.shaken = now
	l.arrive(now, a)
}

// calm ends the need of cookies when it is over. It is called every second; the lane begins it.
func (l *loop) calm(now time.Time) {
	if !l.n.underLoad(true, len(l.n.handshakes), cap(l.n.handshakes), now.Sub(l.shaken)) {
		l.n.gate.SetUnderLoad(false)
	}
}

// indexes is the set of indexes that the links listen to. The control loop writes it, lanes read it.
// The sorted lists are immutable; an index is in the list of its first byte, so that a change copies
// few of them.
type indexes [256]atomic.Pointer[[]uint32]

func (x *indexes) has(index uint32) bool {
	list := x[index>>24].Load()
	if list == nil {
		return false
	}
	_, found := slices.BinarySearch(*list, index)
	return found
}

func (x *indexes) set(a transport.Listening) {
	var list []uint32
	if old := x[a.Index>>24].Load(); old != nil {
		list = slices.Clone(*old)
	}
	switch at, found := slices.BinarySearch(list, a.Index); {
	case a.On && !found:
		list = slices.Insert(list, at, a.Index)
	case !a.On && found:
		list = slices.Delete(list, at, at+1)
	}
	x[a.Index>>24].Store(&list)
}
