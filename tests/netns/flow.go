//go:build linux

package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// A Flow is UDP between two hosts, numbered packets at a steady rate both ways, that tells afterwards
// what became of them. Each side sends whatever it hears of the other.
type Flow struct {
	There, Back        *Direction
	stop               chan struct{}
	senders, receivers sync.WaitGroup
	once               sync.Once
	sockets            [2]*net.UDPConn
}

const (
	flowPort = 7979
	// flowSize is a packet: tag, sequence number, filling. Small, so that the rate is what matters.
	flowSize = 100
	// flowMax bounds what a direction remembers: an hour at 1,000 packets per second.
	flowMax = 3_600_000
	// flowTick is how often a sender sends what is due. 1,000 packets per second are then one at a time.
	flowTick = time.Millisecond
	// flowLinger is how long after the last packet was sent one may still arrive.
	flowLinger = 2 * time.Second
)

// An End is a host of a flow and its address there.
type End struct {
	NS   *netnstest.Namespace
	Addr netip.Addr
}

// Host returns host i of the site as an end, by its IPv4 ViNe address.
func (s *Site) Host(t testing.TB, i int) End {
	t.Helper()
	return End{s.LAN.Hosts[i], s.Addr4(t, i)}
}

// StartFlow sends rate packets per second each way until Stop, or until the test ends.
func StartFlow(t testing.TB, from, to End, rate int) *Flow {
	t.Helper()
	f := &Flow{There: &Direction{}, Back: &Direction{}, stop: make(chan struct{})}
	tag := uint64(time.Now().UnixNano())
	at := [2]netip.AddrPort{netip.AddrPortFrom(from.Addr, flowPort), netip.AddrPortFrom(to.Addr, flowPort)}
	for i, end := range []End{from, to} {
		f.sockets[i] = netnstest.ListenUDP(t, end.NS, at[i])
		_ = f.sockets[i].SetReadBuffer(1 << 20)
	}
	start := time.Now()
	for i, d := range []*Direction{f.There, f.Back} {
		d.start = start
		f.receivers.Go(func() { d.receive(f.sockets[1-i], tag+uint64(i)) })
		f.senders.Go(func() { d.send(f.sockets[i], at[1-i], tag+uint64(i), rate, f.stop) })
	}
	// Before the sockets are closed, which happens in the opposite order.
	t.Cleanup(f.halt)
	return f
}

func (f *Flow) halt() {
	f.once.Do(func() { close(f.stop) })
	f.senders.Wait()
}

// Stop ends the flow and waits for what is still on its way. Another one may start between the same hosts
// afterwards, and not before.
func (f *Flow) Stop() {
	f.halt()
	defer func() {
		for _, c := range f.sockets {
			_ = c.Close()
		}
		f.receivers.Wait() // a port is free when nobody reads from it any more
	}()
	deadline := time.After(flowLinger)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for f.There.missing()+f.Back.missing() > 0 {
		select {
		case <-deadline:
			return
		case <-tick.C:
		}
	}
}

// A Direction is one way of a Flow.
type Direction struct {
	start time.Time

	mu sync.Mutex
	// The rest is guarded by mu.
	packets    []packet // by sequence number
	arrivals   []time.Duration
	highest    int // sequence number that has arrived, plus one
	duplicates int
}

// A packet is when it was sent and when it arrived, since the start of the flow; 0: it has not arrived.
type packet struct {
	sent, arrived time.Duration
	late          bool // a later one had arrived before
}

func (d *Direction) send(c *net.UDPConn, to netip.AddrPort, tag uint64, rate int, stop chan struct{}) {
	b := make([]byte, flowSize)
	binary.BigEndian.PutUint64(b, tag)
	tick := time.NewTicker(flowTick)
	defer tick.Stop()
	for seq := 0; seq < flowMax; {
		for due := int(time.Since(d.start).Seconds() * float64(rate)); seq < due && seq < flowMax; seq++ {
			d.mu.Lock()
			d.packets = append(d.packets, packet{sent: time.Since(d.start)})
			d.mu.Unlock()
			binary.BigEndian.PutUint64(b[8:], uint64(seq))
			_, _ = c.WriteToUDPAddrPort(b, to) // one that cannot even be sent is lost
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

func (d *Direction) receive(c *net.UDPConn, tag uint64) {
	b := make([]byte, flowSize)
	for {
		n, _, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return // closed
		}
		if n == flowSize && binary.BigEndian.Uint64(b) == tag {
			d.take(int(binary.BigEndian.Uint64(b[8:])), time.Since(d.start))
		}
	}
}

func (d *Direction) take(seq int, now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if seq < 0 || seq >= len(d.packets) {
		return
	}
	p := &d.packets[seq]
	if p.arrived > 0 {
		d.duplicates++
		return
	}
	p.arrived, p.late = now, seq < d.highest-1
	d.highest = max(d.highest, seq+1)
	d.arrivals = append(d.arrivals, now)
}

func (d *Direction) missing() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.packets) - len(d.arrivals)
}

// Received returns how many packets have arrived so far.
func (d *Direction) Received() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.arrivals)
}

// A Record says what became of the packets that one way of a flow has sent in some time.
type Record struct {
	Sent, Lost int
	Reordered  int // arrived after one that was sent later (RFC 4737, section 3)
	Duplicates int // of the whole flow
	// Gap is the longest time without an arrival, of whatever packet, and GapAt when it began, from the
	// beginning of the time asked about.
	Gap, GapAt time.Duration
}

// String says it in a line.
func (r Record) String() string {
	return fmt.Sprintf("%d sent, %d lost, %d reordered, %d twice, longest gap %.3f s after %.3f s",
		r.Sent, r.Lost, r.Reordered, r.Duplicates, r.Gap.Seconds(), r.GapAt.Seconds())
}

// All returns the record of the whole flow, from the first arrival.
func (d *Direction) All() Record {
	d.mu.Lock()
	first, last := time.Duration(0), time.Duration(0)
	if len(d.arrivals) > 0 {
		first = d.arrivals[0]
	}
	if len(d.packets) > 0 {
		last = d.packets[len(d.packets)-1].sent
	}
	d.mu.Unlock()
	return d.record(0, first, last)
}

// Between returns the record of a time. Packets that may still arrive count as lost: stop the flow first, or
// ask about the past.
func (d *Direction) Between(from, to time.Time) Record {
	return d.record(from.Sub(d.start), from.Sub(d.start), to.Sub(d.start))
}

// record counts packets sent from one time to another, and looks for gaps from a time of its own.
func (d *Direction) record(from, gapsFrom, to time.Duration) Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := Record{Duplicates: d.duplicates}
	for _, p := range d.packets {
		if p.sent < from || p.sent > to {
			continue
		}
		r.Sent++
		switch {
		case p.arrived == 0:
			r.Lost++
		case p.late:
			r.Reordered++
		}
	}
	last := gapsFrom
	gap := func(now time.Duration) {
		if now-last > r.Gap {
			r.Gap, r.GapAt = now-last, last-gapsFrom
		}
		last = now
	}
	for _, now := range d.arrivals {
		if now > gapsFrom && now < to {
			gap(now)
		}
	}
	gap(to)
	return r
}
