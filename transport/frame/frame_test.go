package frame_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

var update = flag.Bool("update", false, "write testdata from the values in this file")

// A vector is one value of a codec. File testdata/NAME.hex holds its bytes; docs/wire.md cites it.
type vector struct {
	name  string
	value any
	// open is how many bytes at the end have no fixed length: a cut there is seen by the AEAD only.
	open int
	// parse is the parser of the codec: for a datagram of the whole, for a control frame of the body.
	parse func([]byte) (any, error)
}

type appender interface{ Append([]byte) []byte }

func whole[T any](parse func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return parse(b) }
}

// body parses one control frame that must be all of b.
func body[T any](kind frame.Kind, parse func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) {
		c, rest, err := frame.ParseControl(b)
		switch {
		case err != nil:
			return nil, err
		case c.Kind != kind || len(rest) != 0:
			return nil, errors.New("not one frame of this kind")
		}
		return parse(c.Body)
	}
}

// sealed is a header with what follows it.
type sealed struct {
	header appender
	rest   string
}

func (s sealed) Append(b []byte) []byte { return append(s.header.Append(b), s.rest...) }

func withRest[T appender](parse func([]byte) (T, []byte, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) {
		h, rest, err := parse(b)
		if err != nil {
			return nil, err
		}
		return sealed{h, string(rest)}, nil
	}
}

// run returns n bytes that count up from first.
func run(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

var channels = func() frame.Channels {
	grants := []frame.Grant{{VN: 7, Index: 0x10}, {VN: 9, Index: 0xfffffff0}}
	c, _, err := frame.ParseControl(frame.AppendChannels(nil, 3, 0, 1, grants))
	if err != nil {
		panic(err)
	}
	set, err := frame.ParseChannels(c.Body)
	if err != nil {
		panic(err)
	}
	return set
}()

var vectors = []vector{
	{"data", sealed{frame.DataHeader{Meta: [3]byte{frame.MetaSplit | frame.MetaSplitLast, 0, 0}, Index: 0x01020305, Counter: 1 << 33}, string(run(0xa0, 20))}, 4, withRest(frame.ParseDataHeader)},
	{"init", frame.Init{Sender: 0x01020304, Noise: run(1, frame.InitNoiseLen), MAC1: [16]byte(run(0x80, 16)), MAC2: [16]byte(run(0x90, 16))}, 0, whole(frame.ParseInit)},
	{"response", frame.Response{Sender: 5, Receiver: 0x01020304, Noise: run(1, 51), MAC1: [16]byte(run(0x80, 16)), MAC2: [16]byte(run(0x90, 16))}, 3, whole(frame.ParseResponse)},
	{"cookie", frame.Cookie{Receiver: 9, Nonce: [24]byte(run(1, 24)), Sealed: [32]byte(run(0x40, 32))}, 0, whole(frame.ParseCookie)},
	{"join-hello", frame.JoinHello{Sender: 8, Ephemeral: [32]byte(run(1, 32)), Cookie: [16]byte(run(0x70, 16))}, 0, whole(frame.ParseJoinHello)},
	{"join-cookie", frame.JoinCookie{Receiver: 8, Cookie: [16]byte(run(0x70, 16))}, 0, whole(frame.ParseJoinCookie)},
	{"join-reply", frame.JoinReply{Sender: 6, Receiver: 8, Noise: run(1, 100)}, 4, whole(frame.ParseJoinReply)},
	{"join-finish", frame.JoinFinish{Receiver: 6, Noise: run(1, 66)}, 2, whole(frame.ParseJoinFinish)},
	{"control", sealed{frame.ControlHeader{Receiver: 6, Counter: 300}, string(run(0xa0, 19))}, 3, withRest(frame.ParseControlHeader)},
	{"gossip", sealed{frame.Gossip{Piece: 1, Pieces: 3, Sender: 17, Counter: 5<<40 | 12}, string(run(0xa0, 21))}, 5, withRest(frame.ParseGossip)},

	{"frame-ping", frame.Ping{Token: 0x0102030405060708, Rx: frame.Report{Highest: 1000, Packets: 998}}, 0, body(frame.KindPing, frame.ParsePing)},
	{"frame-pong", frame.Pong{Token: 0x0102030405060708, Held: 250, Rx: frame.Report{Highest: 7, Packets: 6}}, 0, body(frame.KindPong, frame.ParsePong)},
	{"frame-challenge", frame.Challenge(run(1, 8)), 0, body(frame.KindChallenge, frame.ParseChallenge)},
	{"frame-challenged", frame.Challenged(run(1, 8)), 0, body(frame.KindChallenged, frame.ParseChallenged)},
	{"frame-channels", channels, 0, body(frame.KindChannels, frame.ParseChannels)},
	{"frame-channels-ack", frame.ChannelsAck{Version: 3}, 0, body(frame.KindChannelsAck, frame.ParseChannelsAck)},
	{"frame-observed-4", frame.Observed{Endpoint: netip.MustParseAddrPort("192.0.2.1:8463")}, 0, body(frame.KindObserved, frame.ParseObserved)},
	{"frame-observed-6", frame.Observed{Endpoint: netip.MustParseAddrPort("[2001:db8::1]:8463")}, 0, body(frame.KindObserved, frame.ParseObserved)},
	{"frame-stream-open", frame.StreamOpen{ID: 4, Kind: 2}, 0, body(frame.KindStreamOpen, frame.ParseStreamOpen)},
	{"frame-stream-bytes", frame.StreamBytes{ID: 4, Fin: true, Offset: 1 << 40, Bytes: []byte("vine")}, 0, body(frame.KindStreamBytes, frame.ParseStreamBytes)},
	{"frame-stream-ack", frame.StreamAck{ID: 4, Offset: 1<<40 + 5, Window: 65536}, 0, body(frame.KindStreamAck, frame.ParseStreamAck)},
	{"frame-stream-reset", frame.StreamReset{ID: 4, Code: 1}, 0, body(frame.KindStreamReset, frame.ParseStreamReset)},
	{"frame-close", frame.Close{Reason: frame.CloseShutdown}, 0, body(frame.KindClose, frame.ParseClose)},

	{"relay", relayed{frame.Relay{Role: frame.RelayQueue, Index: 0x01020300, Counter: 1 << 33, VN: 7, Source: 17, Destination: 19}, string(run(0xa0, 20)), [16]byte(run(0xc0, 16))}, 0, parseRelayed},
	{"relay-forward", relayed{frame.Relay{Index: 0xfffffff0, Counter: 1, Source: 17, Destination: 19}, "", [16]byte(run(0xc0, 16))}, 0, parseRelayed},
	{"frame-use", frame.Use{Order: 0x0102030405060708}, 0, body(frame.KindUse, frame.ParseUse)},
	{"frame-used", frame.Used{Order: 0x0102030405060708}, 0, body(frame.KindUsed, frame.ParseUsed)},
	{"frame-candidates", frame.Candidates{Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:8463"), netip.MustParseAddrPort("[2001:db8::1]:443")}, Relays: []tables.RouterID{17, 19, 23}}, 0, body(frame.KindCandidates, frame.ParseCandidates)},
	{"frame-candidates-none", frame.Candidates{}, 0, body(frame.KindCandidates, frame.ParseCandidates)},
	{"frame-train", train{frame.Train{ID: 9, Index: 3, Count: 16}, 60}, 0, body(frame.KindTrain, parseTrain)},
	{"frame-train-report", frame.TrainReport{ID: 9, Received: 15, Bytes: 18000, Span: 1440}, 0, body(frame.KindTrainReport, frame.ParseTrainReport)},
	{"frame-delivered", frame.Delivered{Bytes: 1 << 41, Packets: 998, Highest: 1000, Clock: 1 << 50}, 0, body(frame.KindDelivered, frame.ParseDelivered)},
	{"frame-attach", frame.Attach{Order: 2, Mode: frame.AttachPoll, Interval: 500}, 0, body(frame.KindAttach, frame.ParseAttach)},
	{"frame-attached", frame.Attached{Order: 2, Accepted: true}, 0, body(frame.KindAttached, frame.ParseAttached)},
	{"frame-poll", frame.Poll{Order: 77}, 0, body(frame.KindPoll, frame.ParsePoll)},
	{"frame-dial-back", frame.DialBack{Token: [8]byte(run(1, 8)), Helper: 19}, 0, body(frame.KindDialBack, frame.ParseDialBack)},
	{"frame-dial-for", frame.DialFor{Token: [8]byte(run(1, 8)), Router: 17, Endpoint: netip.MustParseAddrPort("192.0.2.1:8463")}, 0, body(frame.KindDialFor, frame.ParseDialFor)},
	{"frame-dialled", frame.Dialled{Token: [8]byte(run(1, 8)), Helper: 19}, 0, body(frame.KindDialled, frame.ParseDialled)},
	{"frame-apart", frame.Apart{Apart: true}, 0, body(frame.KindApart, frame.ParseApart)},
	{"gossip-dial-back", dialBack(run(1, 8)), 0, parseDialBack},
	{"gossip-relay", passOn{19, string(sealed{frame.Gossip{Piece: 1, Pieces: 3, Sender: 17, Counter: 5<<40 | 12}, string(run(0xa0, 21))}.Append(nil))}, 5, parsePassOn},
}

// relayed is a relay datagram: the header's size is that of the whole.
type relayed struct {
	header  frame.Relay
	payload string
	tag     [frame.TagLen]byte
}

func (r relayed) Append(b []byte) []byte {
	b = append(r.header.Append(b, frame.RelayOverhead+len(r.payload)), r.payload...)
	return append(b, r.tag[:]...)
}

func parseRelayed(b []byte) (any, error) {
	h, payload, err := frame.ParseRelay(b)
	if err != nil {
		return nil, err
	}
	return relayed{h, string(payload), [frame.TagLen]byte(b[len(b)-frame.TagLen:])}, nil
}

// train is a train frame with its length.
type train struct {
	frame.Train
	n int
}

func (t train) Append(b []byte) []byte { return frame.AppendTrain(b, t.Train, t.n) }

func parseTrain(body []byte) (train, error) {
	t, err := frame.ParseTrain(body)
	return train{t, frame.FrameOverhead + len(body)}, err
}

// dialBack and passOn are gossip payloads of ours.
type dialBack [8]byte

func (d dialBack) Append(b []byte) []byte { return frame.AppendGossipDialBack(b, d) }

func parseDialBack(b []byte) (any, error) {
	token, err := frame.ParseGossipDialBack(b)
	return dialBack(token), err
}

type passOn struct {
	destination tables.RouterID
	datagram    string
}

func (p passOn) Append(b []byte) []byte {
	return frame.AppendGossipRelay(b, p.destination, []byte(p.datagram))
}

func parsePassOn(b []byte) (any, error) {
	destination, datagram, err := frame.ParseGossipRelay(b)
	return passOn{destination, string(datagram)}, err
}

// readHex reads a vector file: hexadecimal digits, white space, and lines of comment from '#' on.
func readHex(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

func writeHex(t *testing.T, path, name string, b []byte) {
	t.Helper()
	var s strings.Builder
	s.WriteString("# " + name + "\n")
	for len(b) > 0 {
		n := min(len(b), 32)
		s.WriteString(hex.EncodeToString(b[:n]) + "\n")
		b = b[n:]
	}
	if err := os.WriteFile(path, []byte(s.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			path := filepath.Join("testdata", v.name+".hex")
			got := v.value.(appender).Append(nil)
			if *update {
				writeHex(t, path, v.name, got)
			}
			want := readHex(t, path)
			if !bytes.Equal(got, want) {
				t.Errorf("append gives\n%x, want\n%x", got, want)
			}
			value, err := v.parse(want)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if !reflect.DeepEqual(value, v.value) {
				t.Errorf("parse gives\n%+v, want\n%+v", value, v.value)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) != len(vectors) {
		t.Errorf("%d files in testdata for %d vectors (%v)", len(files), len(vectors), err)
	}
}

func TestTruncationFails(t *testing.T) {
	for _, v := range vectors {
		b := v.value.(appender).Append(nil)
		for n := range len(b) - v.open {
			if _, err := v.parse(b[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes parse", v.name, n, len(b))
			}
		}
	}
}

func TestLongerFails(t *testing.T) {
	for _, v := range vectors {
		if v.open > 0 {
			continue // what is sealed has no fixed length
		}
		b := append(v.value.(appender).Append(nil), 0)
		if _, err := v.parse(b); err == nil {
			t.Errorf("%s: one byte too many parses", v.name)
		}
	}
}

func TestRefused(t *testing.T) {
	with := func(name string, at int, to byte) []byte {
		for _, v := range vectors {
			if v.name == name {
				b := v.value.(appender).Append(nil)
				b[at] = to
				return b
			}
		}
		t.Fatalf("no vector %q", name)
		return nil
	}
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"data", with("data", 0, 2), frame.ErrType},
		{"data", with("data", 1, 0x48), frame.ErrReserved},
		{"data", with("data", 1, 0x80), frame.ErrReserved},
		{"init", with("init", 0, 3), frame.ErrType},
		{"init", with("init", 1, 1), frame.ErrReserved},
		{"init", with("init", 2, 1), frame.ErrReserved},
		{"init", with("init", 3, 1), frame.ErrReserved},
		{"response", append(with("response", 3, 0), make([]byte, frame.HandshakeLen)...), frame.ErrLength},
		{"join-hello", with("join-hello", 40, 1), frame.ErrReserved},
		{"join-hello", with("join-hello", frame.HandshakeLen-17, 1), frame.ErrReserved},
		{"control", with("control", 3, 1), frame.ErrReserved},
		{"gossip", with("gossip", 3, 1), frame.ErrReserved},
		{"gossip", with("gossip", 1, 3), frame.ErrValue},
		{"gossip", with("gossip", 2, 0), frame.ErrValue},
		{"gossip", with("gossip", 2, frame.GossipPiecesMax+1), frame.ErrValue},
		{"frame-channels", with("frame-channels", 3+8, 1), frame.ErrValue},            // part 1 of 1
		{"frame-channels", with("frame-channels", 3+10+3, 9), frame.ErrValue},         // VN 9 twice
		{"frame-channels", with("frame-channels", 3+10+3, 0), frame.ErrValue},         // VN 0
		{"frame-channels", with("frame-channels", 3+10+7, 0x11), frame.ErrValue},      // lane bits
		{"frame-stream-bytes", with("frame-stream-bytes", 3+4, 2), frame.ErrReserved}, // unknown flag
		{"frame-stream-bytes", with("frame-stream-bytes", 3+5, 0x80), frame.ErrValue}, // beyond 2^63
		{"frame-ping", frame.Control{Kind: frame.KindPing, Body: make([]byte, 25)}.Append(nil), frame.ErrLength},
		{"relay", with("relay", 0, 10), frame.ErrType},
		{"relay", with("relay", 1, 2), frame.ErrValue},                                                            // no such role
		{"relay", with("relay", 2, 1), frame.ErrReserved},                                                         // state
		{"relay", with("relay", 3, 1), frame.ErrReserved},                                                         //
		{"relay", with("relay", 16, 1), frame.ErrLength},                                                          // size, high byte
		{"relay", with("relay", 17, 67), frame.ErrLength},                                                         // one too few
		{"relay", with("relay", 17, 69), frame.ErrLength},                                                         // one too many
		{"relay", with("relay", 18, 1), frame.ErrReserved},                                                        //
		{"relay", with("relay", 19, 0x80), frame.ErrReserved},                                                     //
		{"relay", make([]byte, 47), frame.ErrShort},                                                               //
		{"frame-candidates", with("frame-candidates", 3, 9), frame.ErrValue},                                      // endpoints
		{"frame-candidates", with("frame-candidates", 3, 3), frame.ErrLength},                                     // relays read as an endpoint
		{"frame-candidates", with("frame-candidates", 3, 1), frame.ErrLength},                                     // 30 bytes of relays
		{"frame-candidates", with("frame-candidates", len(with("frame-candidates", 0, 15))-1, 0), frame.ErrValue}, // router 0
		{"frame-candidates-none", frame.Control{Kind: frame.KindCandidates, Body: make([]byte, 1+9*4)}.Append(nil), frame.ErrValue},
		{"frame-train", with("frame-train", 3+5, 16), frame.ErrValue},   // packet 16 of 16
		{"frame-train", with("frame-train", 3+7, 0), frame.ErrValue},    // of none
		{"frame-train", with("frame-train", 3+8, 1), frame.ErrReserved}, // padding
		{"frame-train", with("frame-train", 59, 1), frame.ErrReserved},
		{"frame-attach", with("frame-attach", 3+4, 3), frame.ErrValue},
		{"frame-attached", with("frame-attached", 3+4, 2), frame.ErrValue},
		{"frame-dial-for", with("frame-dial-for", 3+11, 0), frame.ErrValue}, // router 0
		{"gossip-dial-back", with("gossip-dial-back", 0, 0xd3), frame.ErrType},
		{"gossip-relay", with("gossip-relay", 0, 0xd2), frame.ErrType},
		{"gossip-relay", with("gossip-relay", 4, 0), frame.ErrValue},   // router 0
		{"gossip-relay", with("gossip-relay", 5, 11), frame.ErrType},   // not gossip inside
		{"gossip-relay", with("gossip-relay", 6, 3), frame.ErrValue},   // piece 3 of 3 inside
		{"gossip-relay", with("gossip-relay", 5, 0xd3), frame.ErrType}, //
	}
	for _, test := range tests {
		for _, v := range vectors {
			if v.name == test.name {
				if _, err := v.parse(test.b); err != test.want {
					t.Errorf("%s: got %v, want %v", test.name, err, test.want)
				}
			}
		}
	}
}

// "A receiver MUST skip a frame whose kind it does not know." docs/wire.md
func TestUnknownFrameIsSkipped(t *testing.T) {
	b := frame.Close{Reason: frame.CloseIdle}.Append(nil)
	b = frame.Control{Kind: 200, Body: []byte("from a later version")}.Append(b)
	b = frame.AppendPadding(b, 100)
	b = frame.ChannelsAck{Version: 5}.Append(b)
	var kinds []frame.Kind
	for len(b) > 0 {
		c, rest, err := frame.ParseControl(b)
		if err != nil {
			t.Fatal(err)
		}
		kinds, b = append(kinds, c.Kind), rest
	}
	want := []frame.Kind{frame.KindClose, 200, frame.KindPadding, frame.KindChannelsAck}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}

func TestLengths(t *testing.T) {
	for _, n := range []int{0, 3, 4, 1000} {
		if got := len(frame.AppendPadding(nil, n)); got != max(n, frame.FrameOverhead) {
			t.Errorf("AppendPadding(%d) is %d bytes", n, got)
		}
	}
	full := frame.ControlHeader{}.Append(nil)
	full = frame.StreamBytes{Bytes: make([]byte, frame.StreamBytesMax)}.Append(full)
	if n := len(full) + frame.TagLen; n != frame.MessageMax {
		t.Errorf("a full stream datagram is %d bytes, want %d", n, frame.MessageMax)
	}
	grants := make([]frame.Grant, frame.ChannelsMax)
	full = frame.AppendChannels(frame.ControlHeader{}.Append(nil), 1, 0, 1, grants)
	if n := len(full) + frame.TagLen; n > frame.MessageMax {
		t.Errorf("a full channels datagram is %d bytes", n)
	}
	if n := frame.GossipHeaderLen + frame.GossipPieceMax + frame.TagLen; n > frame.MessageMax {
		t.Errorf("a full gossip piece is %d bytes", n)
	}
}

func TestTypeOf(t *testing.T) {
	for b := range 256 {
		got := frame.TypeOf([]byte{byte(b)})
		if known := got.String() != "unknown"; known != (b >= 1 && b <= 11) {
			t.Errorf("first byte %d is type %v", b, got)
		}
	}
	if frame.TypeOf(nil) != 0 {
		t.Error("an empty datagram has a type")
	}
}

func TestHeadersDoNotAllocate(t *testing.T) {
	b := frame.DataHeader{Index: 16, Counter: 9}.Append(make([]byte, 0, 64))[:64]
	relay := append(frame.Relay{VN: 7}.Append(nil, frame.RelayOverhead), make([]byte, frame.TagLen)...)
	if n := testing.AllocsPerRun(100, func() {
		h, _, err := frame.ParseDataHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		h.Append(b[:0])
		_, _, _ = frame.ParseDataHeader(b[:5])
		_, _, _ = frame.ParseGossip(b)
		_, _ = frame.ParseInit(b)
		_, _, _ = frame.ParseControl(b)
		r, _, err := frame.ParseRelay(relay)
		if err != nil {
			t.Fatal(err)
		}
		r.Append(relay[:0], frame.RelayOverhead)
		_, _, _ = frame.ParseRelay(b[:40])
		_ = r.Carries(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse gives any bytes to every parser: none panics, and what parses re-encodes to the same bytes.
func FuzzParse(f *testing.F) {
	for i, v := range vectors {
		f.Add(uint8(i), v.value.(appender).Append(nil))
	}
	f.Add(uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		v := vectors[int(which)%len(vectors)]
		value, err := v.parse(b)
		if err != nil {
			return
		}
		if again := value.(appender).Append(nil); !bytes.Equal(again, b) {
			t.Errorf("%s: parse then append gives\n%x, want\n%x", v.name, again, b)
		}
	})
}

// FuzzControl walks any bytes as control frames: the walk ends, and gives the same bytes back.
func FuzzControl(f *testing.F) {
	f.Add(frame.AppendPadding(frame.ChannelsAck{Version: 5}.Append(nil), 9))
	f.Add([]byte{1, 0, 0, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		rest := b
		for len(rest) > 0 {
			c, next, err := frame.ParseControl(rest)
			if err != nil {
				break
			}
			again, rest = c.Append(again), next
		}
		if !bytes.Equal(append(again, rest...), b) {
			t.Errorf("walk of %x gives %x", b, again)
		}
	})
}

// TestDataFlags: of all flags and sizes only those that mean something are taken.
func TestDataFlags(t *testing.T) {
	taken := 0
	for flags := range 256 {
		for _, size := range []uint16{0, 1, 1400} {
			h := frame.DataHeader{Meta: frame.RunMeta(0, size), Index: 16, Counter: 1}
			h.Meta[0] = byte(flags)
			b := append(h.Append(nil), make([]byte, frame.TagLen)...)
			_, _, err := frame.ParseDataHeader(b)
			run, partial, split, second := flags&3 != 0, flags&4 != 0, flags&8 != 0, flags&16 != 0
			bundle, template, index := flags&64 != 0, flags&128 != 0, flags&3 > 1
			kinds := 0
			for _, is := range []bool{partial, split, bundle} {
				if is {
					kinds++
				}
			}
			want := kinds <= 1 && !(second && !split) && !(run && !(partial && size != 0)) && !(size != 0 && !partial) &&
				!(template && !run) && !(template && index && size > 127)
			if (err == nil) != want {
				t.Errorf("flags %#02x with size %d: %v, want it taken: %v", flags, size, err, want)
			}
			if err == nil {
				taken++
			}
		}
	}
	if taken != 34 {
		t.Errorf("%d combinations are taken", taken)
	}
	// A piece's index is that from the counter of the first.
	for counter, want := range []bool{false, false, true, true} {
		h := frame.DataHeader{Meta: frame.PieceMeta(frame.MetaRunMid, 2), Index: 16, Counter: uint64(counter)}
		if _, _, err := frame.ParseDataHeader(append(h.Append(nil), make([]byte, frame.TagLen)...)); (err == nil) != want {
			t.Errorf("piece 2 with counter %d: %v", counter, err)
		}
	}
}
