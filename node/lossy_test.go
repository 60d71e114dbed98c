package node

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A remainder is what the obvious VR brought out and the lanes have not yet. It is used up by what they bring out, of which nothing may
// come twice. A template run that lost its ends has segments with other borders: a TCP payload with the don't fragment bit is looked for byte
// by byte, at its sequence number.
type remainder struct {
	tcp   []*tcpBytes
	exact map[string]int
	bytes int
}

// A tcpBytes is the payload of one TCP packet, and which of it has come.
type tcpBytes struct {
	b    []byte
	s    sight
	head int
	came []bool
}

func newTCPBytes(b []byte) (x *tcpBytes, ok bool) {
	s, faults := see(b)
	if len(faults) > 0 || s.proto != 6 || !s.df || s.more || s.offset > 0 || s.upper == 0 || len(b) < s.upper+20 {
		return nil, false
	}
	head := s.upper + 4*int(b[s.upper+12]>>4)
	if head < s.upper+20 || head >= len(b) {
		return nil, false
	}
	return &tcpBytes{b, s, head, make([]bool, len(b)-head)}, true
}

func (x *tcpBytes) seq() uint32 { return binary.BigEndian.Uint32(x.b[x.s.upper+4:]) }
func (x *tcpBytes) flags() byte { return x.b[x.s.upper+13] }

// constant returns of the headers what is the same in all segments of a super-packet.
func (x *tcpBytes) constant() string {
	h := bytes.Clone(x.b[:x.head])
	if x.s.v6 {
		put(h, 4, 0)
	} else {
		put(h, 2, 0)
		put(h, 4, 0)
		put(h, 10, 0)
	}
	copy(h[x.s.upper+4:], []byte{0, 0, 0, 0})
	h[x.s.upper+13] &^= 0x01 | 0x08 | 0x80 // FIN, PSH, CWR
	put(h, x.s.upper+16, 0)
	return string(h)
}

func newRemainder(want []plain) *remainder {
	r := &remainder{exact: map[string]int{}}
	for _, p := range want {
		if x, ok := newTCPBytes(p.b); ok {
			r.tcp = append(r.tcp, x)
			r.bytes += len(x.came)
			continue
		}
		r.exact[key(p.b)]++
		r.bytes += cargo(p.b)
	}
	return r
}

// cargo returns the bytes of a packet that are its own in a datagram with others.
func cargo(b []byte) int {
	if s, faults := see(b); len(faults) == 0 && s.proto == 17 && s.upper > 0 && len(b) >= s.upper+8 {
		return len(b) - s.upper - 8
	}
	return len(b)
}

// key is a packet without what may be another than it was sent.
func key(b []byte) string {
	if s, faults := see(b); len(faults) == 0 && !s.v6 && s.df && s.proto == 17 {
		b = bytes.Clone(b)
		put(b, 4, 0)
		put(b, 10, 0)
	}
	return string(b)
}

// take uses up what a packet of the wire brings; it says what is wrong with it, if anything.
func (r *remainder) take(b []byte) error {
	got, ok := newTCPBytes(b)
	if !ok {
		k := key(b)
		if r.exact[k] == 0 {
			return fmt.Errorf("nobody sent it, or it came before")
		}
		r.exact[k]--
		r.bytes -= cargo(b)
		return nil
	}
	if sum16(pseudo(b, 6, len(b)-got.s.upper), b[got.s.upper:]) != 0xffff {
		for _, x := range r.tcp { // wrong when it was sent, too
			if bytes.Equal(x.b, b) && !x.came[0] {
				return r.from(x, 0, len(x.came))
			}
		}
		return fmt.Errorf("wrong TCP checksum")
	}
	first := true
	for rest, seq := b[got.head:], got.seq(); len(rest) > 0; first = false {
		n, x := r.next(got, rest, seq)
		if n == 0 {
			return fmt.Errorf("%d bytes from %d on are not what was sent, or came before", len(rest), seq)
		}
		if first && got.flags()&^x.flags()&0x80 != 0 {
			return fmt.Errorf("CWR where there was none")
		}
		if rest, seq = rest[n:], seq+uint32(n); len(rest) == 0 && got.flags()&^x.flags()&(0x01|0x08) != 0 {
			return fmt.Errorf("FIN or PSH where there was none")
		}
	}
	return nil
}

// next uses up the begin of rest, as far as one packet that was sent goes.
func (r *remainder) next(got *tcpBytes, rest []byte, seq uint32) (n int, x *tcpBytes) {
	for _, x := range r.tcp {
		at := int64(seq - x.seq())
		if at >= int64(len(x.came)) || x.constant() != got.constant() {
			continue
		}
		n := min(len(rest), len(x.came)-int(at))
		if bytes.Equal(rest[:n], x.b[x.head+int(at):][:n]) && r.from(x, int(at), n) == nil {
			return n, x
		}
	}
	return 0, nil
}

func (r *remainder) from(x *tcpBytes, at, n int) error {
	for i := at; i < at+n; i++ {
		if x.came[i] {
			return fmt.Errorf("byte %d came before", i)
		}
	}
	for i := at; i < at+n; i++ {
		x.came[i] = true
	}
	r.bytes -= n
	return nil
}

// TestLossyAgainstObvious: of datagrams that are lost, overtaken and repeated on their way nothing comes out that the obvious VR does not
// bring out, and nothing twice; and one lost datagram costs what was in it.
func TestLossyAgainstObvious(t *testing.T) {
	rng := seeded(t)
	w := newTwin(t, rng)
	rounds := 1500
	if night() {
		rounds *= 20
	}
	came, missing := 0, 0
	for round := range rounds {
		w.anyPath(rng)
		g := generator{rng: rng, mtu: w.mtu, ports: 1}
		batch := g.batch()
		for i := 0; i < len(batch); i++ { // of two faults it is not said which counts; these are compared elsewhere
			if _, faults := see(batch[i].Bytes); len(faults) > 0 {
				batch = append(batch[:i], batch[i+1:]...)
				i--
			}
		}
		if len(batch) == 0 {
			continue
		}
		one, lost := round%2 == 0, 0
		w.onTheWay = func(list [][]byte) [][]byte {
			if one && len(list) > 0 {
				i := rng.IntN(len(list))
				lost = max(len(list[i]), 1280) // or half of a packet, whose other half is of no use
				return append(list[:i], list[i+1:]...)
			}
			return astray(rng, list)
		}
		got, want := w.lanes(t, batch), w.carry(batch)
		left := newRemainder(want.far)
		sent := left.bytes
		for i, p := range got.far {
			if err := left.take(p.b); err != nil {
				t.Fatalf("path of %d bytes, many %v: packet %d to the far LAN: %v\n%x", w.mtu, w.many, i, err, p.b[:min(len(p.b), 120)])
			}
		}
		if one && left.bytes > lost {
			t.Fatalf("path of %d bytes, many %v: %d bytes are missing; the datagram that was lost had at most %d", w.mtu, w.many, left.bytes, lost)
		}
		came, missing = came+sent-left.bytes, missing+left.bytes
	}
	t.Logf("%d bytes came, %d did not", came, missing)
	if missing == 0 || came < missing {
		t.Error("this shows too little")
	}
}

// astray loses, repeats and delays datagrams.
func astray(rng *rand.Rand, list [][]byte) (all [][]byte) {
	percent := pick(rng, []int{0, 1, 10, 50})
	for _, b := range list {
		if rng.IntN(100) < percent {
			continue
		}
		all = append(all, b)
		if rng.IntN(100) < 5 {
			all = append(all, b)
		}
	}
	for range len(all) * percent / 100 {
		i := rng.IntN(len(all))
		j := min(i+rng.IntN(10), len(all)-1)
		all[i], all[j] = all[j], all[i]
	}
	return all
}
