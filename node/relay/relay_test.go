package relay

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"pgregory.net/rapid"
)

var start = time.Unix(1e9, 0)

// A source sends packets of a size at a rate in bits/s.
type source struct {
	client tables.RouterID
	size   int
	rate   float64
	due    float64 // bytes that it should have sent by now
	sent   int     // bytes
}

// drive lets sources send through a queue for a time, in steps of a millisecond, and returns the bytes
// that came out for each client and the longest that a packet of each waited.
func drive(t *testing.T, q *Queue, d time.Duration, sources ...*source) (out map[tables.RouterID]int, longest map[tables.RouterID]time.Duration) {
	t.Helper()
	out, longest = map[tables.RouterID]int{}, map[tables.RouterID]time.Duration{}
	into := make([]Packet, 16)
	for now := start; now.Sub(start) < d; now = now.Add(time.Millisecond) {
		for _, s := range sources {
			s.due += s.rate / 8 / 1000
			for ; s.due >= float64(s.size); s.due -= float64(s.size) {
				packet := make([]byte, s.size)
				binary.BigEndian.PutUint32(packet, uint32(s.client))
				binary.BigEndian.PutUint64(packet[4:], uint64(now.UnixNano()))
				s.sent += s.size
				if q.Push(now, Packet{Client: s.client, Bytes: packet}) {
					out[s.client] += s.size
				}
			}
		}
		for n := 1; n > 0; {
			n = q.Pop(now, into)
			for _, p := range into[:n] {
				client := tables.RouterID(binary.BigEndian.Uint32(p.Bytes))
				if p.Client != client && !q.unfair {
					t.Fatalf("a packet of %v under the name of %v", client, p.Client)
				}
				out[client] += len(p.Bytes)
				longest[client] = max(longest[client], now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(p.Bytes[4:])))))
			}
		}
	}
	return out, longest
}

// jain is the fairness index of Jain, Chiu and Hawe (1984): 1 if all get the same, 1/n if one gets all.
func jain(out map[tables.RouterID]int, n int) float64 {
	sum, squares := 0.0, 0.0
	for _, bytes := range out {
		sum += float64(bytes)
		squares += float64(bytes) * float64(bytes)
	}
	return sum * sum / squares / float64(n)
}

// TestFair: ten clients that all want more than their share get the same, whatever the size of their
// packets and however much more they want. Without fairness they do not.
func TestFair(t *testing.T) {
	run := func(unfair bool) (float64, float64) {
		q := NewQueue(10e6)
		q.unfair = unfair
		var sources []*source
		for i := range 10 {
			sources = append(sources, &source{client: tables.RouterID(i + 1), size: 100 + 150*i, rate: 1.5e6 * float64(i+1)})
		}
		out, _ := drive(t, q, 10*time.Second, sources...)
		total := 0
		for _, bytes := range out {
			total += bytes
		}
		return jain(out, 10), float64(total) * 8 / 10
	}
	index, rate := run(false)
	if index < 0.999 || math.Abs(rate-10e6) > 0.01*10e6 {
		t.Errorf("Jain's index %.4f at %.2f Mb/s", index, rate/1e6)
	}
	unfair, _ := run(true)
	if unfair > 0.95 {
		t.Errorf("without fairness Jain's index is %.4f", unfair)
	}
	t.Logf("Jain's index %.5f at %.3f Mb/s, without fairness %.3f", index, rate/1e6, unfair)
}

// TestGreedy: one of ten sends twenty times its share. The others, which keep to theirs, lose nothing
// and wait for a round at most.
func TestGreedy(t *testing.T) {
	run := func(unfair bool) (losers int, longest time.Duration, greedy float64) {
		q := NewQueue(10e6)
		q.unfair = unfair
		sources := []*source{{client: 1, size: 1400, rate: 20e6}}
		for i := range 9 {
			sources = append(sources, &source{client: tables.RouterID(i + 2), size: 700, rate: 0.9e6})
		}
		out, waited := drive(t, q, 10*time.Second, sources...)
		for _, s := range sources[1:] {
			longest = max(longest, waited[s.client])
			if s.sent-out[s.client] > 4*s.size { // no more than what may wait at the end
				losers++
			}
		}
		return losers, longest, float64(out[1]) * 8 / 10
	}
	losers, longest, greedy := run(false)
	if losers != 0 || longest > 30*time.Millisecond || greedy > 2e6 {
		t.Errorf("%d of the others lose packets, they wait %v, the greedy one gets %.2f Mb/s", losers, longest, greedy/1e6)
	}
	if losers, _, _ := run(true); losers != 9 {
		t.Errorf("without fairness %d of the others lose packets", losers)
	}
	t.Logf("the others lose nothing and wait %v at most, the greedy one gets %.2f Mb/s", longest, greedy/1e6)
}

// TestNoRate: without a rate nothing waits.
func TestNoRate(t *testing.T) {
	q := NewQueue(0)
	for range 1000 {
		if !q.Push(start, Packet{Client: 1, Bytes: make([]byte, 1400)}) {
			t.Fatal("a packet waits")
		}
	}
	if n := q.Pop(start, make([]Packet, 1)); n != 0 || !q.Next().IsZero() {
		t.Errorf("%d popped, next %v", n, q.Next())
	}
	// A rate that comes and goes leaves neither a debt nor packets behind.
	q.SetRate(start, 1e6)
	waits := 0
	for range 100 {
		if !q.Push(start, Packet{Client: 1, Bytes: make([]byte, 1400)}) {
			waits++
		}
	}
	q.SetRate(start, 0)
	into := make([]Packet, 200)
	if n := q.Pop(start, into); n != waits || waits < 90 {
		t.Errorf("%d of %d popped when the rate has gone", n, waits)
	}
	q.SetRate(start, 1e6)
	if now := start.Add(20 * time.Millisecond); !q.Push(now, Packet{Client: 1, Bytes: make([]byte, 1400)}) {
		t.Error("a rate that is new begins with a debt")
	}
}

// TestNextIsExact: whoever calls Pop at Next gets a packet each time, at the rate.
func TestNextIsExact(t *testing.T) {
	q := NewQueue(1e6)
	for q.Push(start, Packet{Client: 1, Bytes: make([]byte, 1000)}) {
	}
	for range 100 {
		q.Push(start, Packet{Client: 1, Bytes: make([]byte, 1000)})
	}
	q.limits.age = time.Hour
	now, n := start, 0
	into := make([]Packet, 1)
	for ; !q.Next().IsZero(); n++ {
		if q.Next().After(now) {
			now = q.Next()
		}
		if q.Pop(now, into) != 1 {
			t.Fatalf("nothing at Next, after %d packets", n)
		}
	}
	if d := now.Sub(start); n != 101 || d < 790*time.Millisecond || d > 810*time.Millisecond {
		t.Errorf("%d packets in %v, want 101 in 0.8 s", n, d)
	}
}

// TestBounds: whatever is pushed, no bound is exceeded, packets of a client come out in order and
// unchanged, and every one is accounted for.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := NewQueue(float64(rapid.SampledFrom([]int{0, 1e4, 1e6, 1e8}).Draw(t, "rate")))
		q.limits = limits{age: 50 * time.Millisecond, clientBytes: 5000, clientPackets: 8, bytes: 12000}
		now := start
		pushed, came, last := map[tables.RouterID]uint64{}, map[tables.RouterID]uint64{}, map[tables.RouterID]uint64{}
		arrived := func(client tables.RouterID, packet []byte) {
			serial := binary.BigEndian.Uint64(packet)
			if serial <= last[client] || !bytes.Equal(packet[8:], bytes.Repeat([]byte{byte(serial)}, len(packet)-8)) {
				t.Fatalf("packet %d of %v after %d, or changed", serial, client, last[client])
			}
			last[client] = serial
			came[client]++
		}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			client := tables.RouterID(rapid.IntRange(1, 6).Draw(t, "client"))
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				now = now.Add(time.Duration(rapid.IntRange(-5, 60).Draw(t, "ms")) * time.Millisecond)
			case 1:
				q.SetRate(now, float64(rapid.SampledFrom([]int{-1, 0, 1e4, 1e7}).Draw(t, "new rate")))
			case 2, 3:
				into := make([]Packet, rapid.IntRange(0, 5).Draw(t, "n"))
				for _, p := range into[:q.Pop(now, into)] {
					arrived(p.Client, p.Bytes)
				}
			default:
				pushed[client]++
				packet := binary.BigEndian.AppendUint64(nil, pushed[client])
				packet = append(packet, bytes.Repeat([]byte{byte(pushed[client])}, rapid.IntRange(0, 6000).Draw(t, "size"))...)
				if q.Push(now, Packet{Client: client, Bytes: packet}) {
					arrived(client, packet)
				}
				clear(packet) // what is queued is a copy
			}
			status, _ := q.Status()
			total := 0
			for _, c := range status {
				total += c.Bytes
				if c.Bytes > 5000 || c.Packets > 8 || c.SentPackets != came[c.Client] ||
					pushed[c.Client] != c.SentPackets+c.Dropped+uint64(c.Packets) {
					t.Fatalf("pushed %d, came %d: %+v", pushed[c.Client], came[c.Client], c)
				}
			}
			if total != q.bytes || total > 12000 || total > 0 && q.last == nil {
				t.Fatalf("%d bytes wait, counted as %d", total, q.bytes)
			}
		}
	})
}

// TestAge: what has waited too long does not come out.
func TestAge(t *testing.T) {
	q := NewQueue(8e3) // 1,000 bytes/s
	for range 20 {
		q.Push(start, Packet{Client: 1, Bytes: make([]byte, 1000)})
	}
	if n := q.Pop(start.Add(queueLimits.age+time.Second), make([]Packet, 20)); n != 0 {
		t.Errorf("%d old packets came out", n)
	}
	status, _ := q.Status()
	if s := status[0]; s.Packets != 0 || s.Dropped+s.SentPackets != 20 {
		t.Errorf("%+v", s)
	}
}

// TestRoomForOneMore: clients that fill the queue leave room for another.
func TestRoomForOneMore(t *testing.T) {
	q := NewQueue(1)
	q.Push(start, Packet{Client: 1, Bytes: make([]byte, 60000)}) // the token
	for range 300 {
		for client := range tables.RouterID(300) {
			q.Push(start, Packet{Client: client + 1, Bytes: make([]byte, 1400)})
		}
	}
	if q.bytes > queueLimits.bytes {
		t.Errorf("%d bytes wait", q.bytes)
	}
	q.Push(start, Packet{Client: 1000, Bytes: make([]byte, 1400)})
	status, _ := q.Status()
	if s := status[len(status)-1]; s.Client != 1000 || s.Packets != 1 {
		t.Errorf("the newcomer: %+v", s)
	}
}

// TestClients: clients beyond the bound are refused, and one that is forgotten gives its place.
func TestClients(t *testing.T) {
	q := NewQueue(1)
	for client := range tables.RouterID(clientsMax + 1) {
		q.Push(start, Packet{Client: client + 1, Bytes: make([]byte, 10)})
	}
	if _, refused := q.Status(); refused != 1 {
		t.Errorf("%d refused", refused)
	}
	for client := range tables.RouterID(clientsMax) {
		q.Drop(client + 1)
	}
	q.Push(start, Packet{Client: 7, Bytes: make([]byte, 10)})
	if status, refused := q.Status(); refused != 1 || len(status) != 1 || q.bytes != 10 {
		t.Errorf("%v, %d refused, %d bytes", status, refused, q.bytes)
	}
	if n := q.Pop(start.Add(190*time.Millisecond), make([]Packet, 9)); n != 0 {
		t.Errorf("%d popped against the rate", n)
	}
	q.SetRate(start, 0)
	if n := q.Pop(start.Add(190*time.Millisecond), make([]Packet, 9)); n != 1 || q.last != nil {
		t.Errorf("%d popped, want the one left", n)
	}
	q.Push(start, Packet{Client: 7, Bytes: make([]byte, packetMax+1)})
	if _, refused := q.Status(); refused != 2 {
		t.Errorf("a packet too large: %d refused", refused)
	}
}

// TestQueueAllocates: in the long run it does not.
func TestQueueAllocates(t *testing.T) {
	q := NewQueue(1e9)
	now := start
	packet := make([]byte, 1400)
	into := make([]Packet, 64)
	round := func() {
		for client := range tables.RouterID(20) {
			for range 10 {
				q.Push(now, Packet{Client: client, Bytes: packet})
			}
		}
		now = now.Add(2 * time.Millisecond)
		for q.Pop(now, into) > 0 {
		}
	}
	for range 300 {
		round() // until the clients are at their bounds
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if status, _ := q.Status(); status[0].Dropped == 0 {
		t.Error("the clients were never at their bounds")
	}
}

// TestPoll: packets wait for their client, in order, within the bounds, and not for ever.
func TestPoll(t *testing.T) {
	p := NewPoll()
	into := make([]Packet, 3)
	if p.Take(start, 1, into) != 0 {
		t.Error("packets of nowhere")
	}
	for i := range byte(5) {
		p.Push(start.Add(time.Duration(i)*time.Second), Packet{Client: 1, Bytes: []byte{i}})
	}
	p.Push(start, Packet{Client: 2, Bytes: []byte{99}})
	// At 4.5 s, those of 0 s and 1 s are too old.
	now := start.Add(4500 * time.Millisecond)
	if n := p.Take(now, 1, into); n != 3 || into[0].Bytes[0] != 2 || into[2].Bytes[0] != 4 || into[0].Client != 1 {
		t.Errorf("%d taken: %v", n, into)
	}
	if p.Waiting(1) != 0 || p.Waiting(2) != 1 || p.Waiting(3) != 0 {
		t.Error("the wrong ones wait")
	}
	p.Expire(now)
	if p.Waiting(2) != 0 || p.bytes != 0 {
		t.Error("what nobody came for is still there")
	}
	for range 10000 {
		p.Push(now, Packet{Client: 1, Bytes: make([]byte, 1000)})
	}
	status, _ := p.Status()
	if s := status[0]; s.Bytes > pollLimits.clientBytes || s.Bytes < pollLimits.clientBytes-1000 || s.Dropped != uint64(2+10000-s.Packets) {
		t.Errorf("%+v", s)
	}
	p.Drop(1)
	if status, _ := p.Status(); len(status) != 1 || p.bytes != 0 {
		t.Errorf("forgotten, and still %v, %d bytes", status, p.bytes)
	}
	p.Push(now, Packet{Client: 1, Bytes: make([]byte, packetMax+1)})
	if _, refused := p.Status(); refused != 1 {
		t.Errorf("a packet too large: %d refused", refused)
	}
}

func TestPollAllocates(t *testing.T) {
	p := NewPoll()
	now := start
	packet := make([]byte, 1400)
	into := make([]Packet, 64)
	round := func() {
		for range 100 {
			p.Push(now, Packet{Client: 1, Bytes: packet})
		}
		now = now.Add(time.Second)
		for p.Take(now, 1, into) > 0 {
		}
	}
	for range 10 {
		round()
	}
	if n := testing.AllocsPerRun(100, round); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkQueue(b *testing.B) {
	q := NewQueue(1e12)
	packet := make([]byte, 1400)
	into := make([]Packet, 64)
	now := start
	b.SetBytes(1400)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		q.tokens = -1 // nothing goes at once
		q.Push(now, Packet{Client: tables.RouterID(i % 100), Bytes: packet})
		if i%64 == 63 {
			now = now.Add(time.Microsecond)
			q.Pop(now, into)
		}
	}
}

// TestMarksWait: what a datagram's header said of congestion comes out with it.
func TestMarksWait(t *testing.T) {
	q, p := NewQueue(1), NewPoll()
	q.Push(start, Packet{Client: 1, Bytes: make([]byte, 60000)}) // the token
	for i := range uint8(4) {
		q.Push(start, Packet{Client: 1, Bytes: []byte{i}, ECN: i})
		p.Push(start, Packet{Client: 1, Bytes: []byte{i}, ECN: i})
	}
	q.SetRate(start, 0)
	var a, b [5]Packet
	if n, m := q.Pop(start, a[:]), p.Take(start, 1, b[:]); n != 4 || m != 4 {
		t.Fatalf("%d and %d packets", n, m)
	}
	for i := range uint8(4) {
		if a[i].ECN != i || b[i].ECN != i || a[i].Bytes[0] != i || b[i].Bytes[0] != i {
			t.Errorf("packet %d: %v and %v", i, a[i], b[i])
		}
	}
}
