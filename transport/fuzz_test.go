package transport

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/transport/frame"
)

// hostile is a host with a link, a join conversation, and a dial of each kind under way, and the
// datagrams that it really got.
func hostile(t testing.TB) (h *host, seen [][]byte) {
	w := newWorld(t, 3)
	a, b := w.nodes[0], w.nodes[1]
	w.keepLog = true
	w.connect(a, b, 7)
	n := w.newcomer(1)
	w.join(n, a)
	w.open(b, a, noise(3000, 1), noise(10, 2))
	w.run(time.Second)
	w.nodes[2].off = true
	a.do(a.links.Dial(a.clock(), 3))
	_, actions := a.links.DialJoin(a.clock(), netip.MustParseAddrPort("192.0.2.77:1"))
	a.do(actions)
	for _, p := range w.log {
		if p.to == a.addr && frame.TypeOf(p.b) != frame.TypeData {
			seen = append(seen, p.b)
		}
	}
	for i := range a.links.index {
		for _, ty := range []frame.Type{frame.TypeResponse, frame.TypeCookie, frame.TypeJoinCookie, frame.TypeJoinReply, frame.TypeJoinFinish, frame.TypeControl} {
			x := make([]byte, 200)
			x[0] = byte(ty)
			for _, off := range []int{4, 8} {
				x[off], x[off+1], x[off+2], x[off+3] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
			}
			seen = append(seen, x, x[:frame.CookieLen], x[:frame.JoinCookieLen])
		}
	}
	return a, seen
}

// FuzzHandle: no datagram that a stranger can make, from any address, makes the state machine
// panic, send (but for the answer to a join hello that the gate passed), or tell its caller anything.
func FuzzHandle(f *testing.F) {
	_, seen := hostile(f)
	for i, p := range seen {
		f.Add(p, uint16(i), byte(i))
		f.Add(p, uint16(8*len(p)-1), byte(0))
	}
	h, seen := hostile(f)
	known := map[string]bool{}
	for _, p := range seen {
		known[string(p)] = true
	}
	f.Fuzz(func(t *testing.T, p []byte, flip uint16, from byte) {
		h.w.t = t
		p = bytes.Clone(p)
		if n := int(flip) / 8; n < len(p) {
			p[n] ^= 1 << (flip % 8)
		}
		if known[string(p)] {
			t.Skip()
		}
		source := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, from}), 8463)
		h.w.now = h.w.now.Add(time.Millisecond)
		for _, a := range h.links.Handle(h.clock(), source, p) {
			s, sends := a.(Send)
			switch {
			case !sends && frame.TypeOf(p) == frame.TypeJoinHello:
				if _, listens := a.(Listening); !listens {
					t.Fatalf("a join hello made %T", a)
				}
			case !sends:
				t.Fatalf("%v of a stranger made %T", frame.TypeOf(p), a)
			case frame.TypeOf(p) == frame.TypeJoinHello && s.To == source && len(s.Datagram) <= len(p):
			case frame.TypeOf(p) == frame.TypeJoinCookie && frame.TypeOf(s.Datagram) == frame.TypeJoinHello:
				// Whoever sees our hello may answer it: the newcomer brings the cookie back to where it
				// dialled, at most answersMax times.
				if s.To != netip.MustParseAddrPort("192.0.2.77:1") {
					t.Fatal("a hello went elsewhere")
				}
			default:
				t.Fatalf("%v of a stranger is answered by %v", frame.TypeOf(p), frame.TypeOf(s.Datagram))
			}
		}
		if len(h.links.joins) > joinsMax || h.links.pending+h.links.dials > handshakesMax {
			t.Fatal("a bound is broken")
		}
	})
}

// FuzzFrames: whatever an enrolled peer seals, nothing panics and the bounds hold.
func FuzzFrames(f *testing.F) {
	open := frame.StreamOpen{ID: 1, Kind: 2}.Append(nil)
	for _, b := range [][]byte{
		frame.Ping{Token: 1}.Append(nil), frame.Pong{Token: 1}.Append(nil), frame.Challenge{}.Append(nil),
		frame.Challenged{}.Append(nil), frame.AppendChannels(nil, 9, 0, 2, []frame.Grant{{VN: 1, Index: 16}}),
		frame.ChannelsAck{Version: 1}.Append(nil), frame.Close{}.Append(nil),
		frame.Observed{Endpoint: netip.MustParseAddrPort("192.0.2.1:1")}.Append(nil),
		frame.StreamBytes{ID: 1, Offset: 5, Bytes: []byte("x"), Fin: true}.Append(open),
		frame.StreamBytes{ID: 1, Bytes: []byte("hello")}.Append(frame.StreamBytes{ID: 1, Offset: 5, Fin: true}.Append(open)),
		frame.StreamAck{ID: 2, Offset: 1, Window: 9}.Append(nil), frame.StreamReset{ID: 2}.Append(open),
		frame.StreamAck{ID: 2, Offset: 1 << 60, Window: 9}.Append(nil),
		appendSpans(open, 2, []span{{5, 9}, {11, 12}}),
	} {
		f.Add(b, uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, times uint8) {
		w := newWorld(t, 2)
		a, h := w.nodes[0], w.nodes[1]
		w.connect(a, h, 7)
		conn, _ := h.links.Conn(1)
		s, actions := h.links.OpenStream(h.clock(), conn, 1)
		h.do(actions)
		n, actions := h.links.WriteStream(h.clock(), s, noise(3000, 1))
		h.do(actions)
		if n != 3000 {
			t.Fatal("not written")
		}
		session := a.links.links[2].conn.session
		for range int(times)%4 + 1 {
			d, ok := session.SealControl(nil, b)
			if !ok {
				return
			}
			h.receive(a.addr, d)
			w.run(50 * time.Millisecond)
		}
		if len(h.links.streams) > streamsMax || len(h.links.index) > 10 {
			t.Fatal("a bound is broken")
		}
	})
}

func FuzzParseSpans(f *testing.F) {
	f.Add(appendSpans(nil, 7, []span{{5, 9}, {11, 12}})[frame.FrameOverhead:])
	f.Add(appendSpans(nil, 1<<31, []span{{1, 2}})[frame.FrameOverhead:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		id, spans, err := parseSpans(b)
		if err != nil {
			return
		}
		if got := appendSpans(nil, id, spans)[frame.FrameOverhead:]; !bytes.Equal(got, b) {
			t.Fatalf("%x becomes %x", b, got)
		}
		for n := range b {
			if _, s, err := parseSpans(b[:n]); err == nil && len(s) >= len(spans) {
				t.Fatalf("cut to %d bytes it still parses", n)
			}
		}
	})
}
