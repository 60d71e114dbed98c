package underlay

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// frame appends a datagram with its length.
func frame(b, p []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
}

func TestFramesTruncated(t *testing.T) {
	var b []byte
	ends := map[int]int{0: 0} // where a datagram ends, and which
	for i, n := range []int{0, 1, 300, 0, 1280, strangerDatagramMax} {
		b = frame(b, make([]byte, n))
		ends[len(b)] = i + 1
	}
	last := 0
	for n := range len(b) + 1 {
		if _, ok := ends[n]; ok {
			last = n
		}
		whole, count, next, err := frames(b[:n], strangerDatagramMax)
		if n >= last+lengthBytes && (next <= n-last || b[last] != byte((next-lengthBytes)>>8) || b[last+1] != byte(next-lengthBytes)) {
			t.Fatalf("of %d bytes: the next datagram has %d", n, next)
		}
		if whole != last || count != ends[last] || err != nil {
			t.Fatalf("of %d bytes: %d in %d datagrams, %v; want %d in %d", n, whole, count, err, last, ends[last])
		}
	}
	bad := binary.BigEndian.AppendUint16(b, strangerDatagramMax+1)
	if whole, count, _, err := frames(bad, strangerDatagramMax); whole != len(b) || count != 6 || err == nil {
		t.Errorf("too long: %d, %d, %v", whole, count, err)
	}
}

// FuzzFrames cuts arbitrary bytes into datagrams: what comes out, put together again, is what went in.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 1, 7})
	f.Add([]byte{0xff, 0xff, 1})
	f.Add(frame(frame(nil, make([]byte, 40)), []byte("abc")))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, count, _, err := frames(b, StreamDatagramMax)
		if whole > len(b) || whole < count*lengthBytes {
			t.Fatalf("%d bytes in %d datagrams of %d bytes", whole, count, len(b))
		}
		c := stream{in: b, hi: whole}
		var again []byte
		dgs := []Datagram{{Buf: make([]byte, StreamDatagramMax)}}
		for more := whole > 0; more; count-- {
			_, more = c.deliver(dgs, 0)
			again = frame(again, dgs[0].Buf[:dgs[0].N])
		}
		if count != 0 || !bytes.Equal(again, b[:whole]) {
			t.Fatalf("%d datagrams too many, %x became %x", count, b[:whole], again)
		}
		rest := b[whole:]
		if long := len(rest) >= 2 && binary.BigEndian.Uint16(rest) > StreamDatagramMax; long != (err != nil) {
			t.Fatalf("rest %x: %v", rest, err)
		}
	})
}

// TestSendQueue compares the ring with a list.
func TestSendQueue(t *testing.T) {
	type entry struct {
		p  []byte
		at time.Duration
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q sendQueue
		var want []entry
		used := func() (n int) {
			for _, e := range want {
				n += stampBytes + lengthBytes + len(e.p)
			}
			return n
		}
		const limit = 40_000
		now := time.Duration(0)
		for range 3000 {
			now += time.Duration(r.IntN(10)) * time.Millisecond
			if r.IntN(3) > 0 {
				p := make([]byte, r.IntN(1500)*(1+5*(r.IntN(20)/19)))
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				dropped := q.add(p, now, limit)
				want = append(want, entry{p, now})
				for used() > limit {
					want = want[1:]
					dropped--
				}
				if dropped != 0 {
					t.Fatalf("seed %d: %d drops too many", seed, dropped)
				}
			} else {
				oldest, most := now-time.Duration(r.IntN(200))*time.Millisecond, r.IntN(8000)
				b, taken, dropped := q.take([]byte("x"), oldest, most)
				expect := []byte("x")
				for n := 0; len(want) > 0; {
					if want[0].at < oldest {
						want, dropped = want[1:], dropped-1
						continue
					}
					if n > 0 && len(expect)+lengthBytes+len(want[0].p) > most {
						break
					}
					expect, want, n, taken = frame(expect, want[0].p), want[1:], n+1, taken-1
				}
				if taken != 0 || dropped != 0 || !bytes.Equal(b, expect) {
					t.Fatalf("seed %d: took %d bytes, want %d; %d taken, %d dropped too many", seed, len(b), len(expect), taken, dropped)
				}
			}
			if q.used != used() || q.used > limit || len(q.ring) > 2*limit {
				t.Fatalf("seed %d: %d of %d bytes used, want %d", seed, q.used, len(q.ring), used())
			}
		}
	}
}
