package secure

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/flynn/noise"
	"golang.org/x/crypto/blake2s"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

func TestLinkHandshake(t *testing.T) {
	for _, test := range []struct {
		a, b bool
		want Suite
	}{
		{true, true, SuiteAES128GCM}, {true, false, SuiteChaCha20Poly1305},
		{false, true, SuiteChaCha20Poly1305}, {false, false, SuiteChaCha20Poly1305},
	} {
		a, b := router(1, test.a), router(2, test.b)
		for _, n := range []int{0, 1, HelloMax} {
			helloA, helloB := bytes.Repeat([]byte("a"), n), bytes.Repeat([]byte("b"), n)
			i, err := NewInitiator(a, b.Static.Public(), 100, Order{3, 4}, helloA)
			if err != nil {
				t.Fatal(err)
			}
			r, err := ReadInit(b, i.Datagram())
			if err != nil {
				t.Fatal(err)
			}
			if r.Peer() != a.Static.Public() || r.Order() != (Order{3, 4}) || !bytes.Equal(r.Hello(), helloA) {
				t.Errorf("read %v %v %d", r.Peer(), r.Order(), len(r.Hello()))
			}
			response, sb, err := r.Respond(start, 200, helloB)
			if err != nil {
				t.Fatal(err)
			}
			if len(i.Datagram()) != frame.HandshakeLen || len(response) > len(i.Datagram()) {
				t.Errorf("hello of %d: init %d, response %d bytes", n, len(i.Datagram()), len(response))
			}
			sa, hello, err := i.ReadResponse(start, response)
			if err != nil || !bytes.Equal(hello, helloB) {
				t.Fatalf("response: %v", err)
			}
			if sa.Suite != test.want || sb.Suite != test.want || sa.secrets != sb.secrets {
				t.Errorf("suites %v, %v; want %v", sa.Suite, sb.Suite, test.want)
			}
			if sa.Peer != b.Static.Public() || sb.Peer != a.Static.Public() || sa.Local != sb.Remote || sa.Remote != sb.Local || !sa.Initiator || sb.Initiator {
				t.Error("the two ends differ")
			}
			if _, _, err := i.ReadResponse(start, response); err != ErrFailed {
				t.Errorf("response again: %v", err)
			}
			if _, _, err := r.Respond(start, 201, nil); err != ErrFailed {
				t.Errorf("respond again: %v", err)
			}
		}
	}
}

// join runs an XX handshake; between is called before each message from the seed or to it is delivered.
func join(t testing.TB, a, b *Config, beforeReply func(*Joiner, []byte), beforeFinish func(*JoinResponder, []byte)) (sa, sb *Session, err error) {
	t.Helper()
	j, err := NewJoiner(a, 100)
	if err != nil {
		t.Fatal(err)
	}
	r, reply, err := ReadJoinHello(b, j.Datagram(), 200, []byte("hello of the seed"))
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Datagram()) != frame.HandshakeLen || len(reply) > frame.HandshakeLen {
		t.Errorf("hello %d, reply %d bytes", len(j.Datagram()), len(reply))
	}
	if beforeReply != nil {
		beforeReply(j, reply)
	}
	hello, err := j.ReadReply(reply)
	if err != nil {
		return nil, nil, err
	}
	if string(hello) != "hello of the seed" || j.Peer() != b.Static.Public() {
		t.Errorf("reply: %q of %v", hello, j.Peer())
	}
	finish, sa, err := j.Finish(start, []byte("hello of the newcomer"))
	if err != nil {
		return nil, nil, err
	}
	if beforeFinish != nil {
		beforeFinish(r, finish)
	}
	sb, hello, err = r.ReadFinish(start, finish)
	if err != nil {
		return nil, nil, err
	}
	if string(hello) != "hello of the newcomer" || sb.Peer != a.Static.Public() {
		t.Errorf("finish: %q of %v", hello, sb.Peer)
	}
	if _, _, err := r.ReadFinish(start, finish); err != ErrFailed {
		t.Errorf("finish again: %v", err)
	}
	return sa, sb, nil
}

func TestJoinHandshake(t *testing.T) {
	a, b := router(1, true), router(2, true)
	a.Federation = tables.Hash{} // a newcomer does not know it
	sa, sb, err := join(t, a, b, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if sa.secrets != sb.secrets || sa.Suite != SuiteAES128GCM || sb.Suite != SuiteAES128GCM || sa.Remote != sb.Local || sb.Remote != sa.Local {
		t.Error("the two ends differ")
	}
	d, _ := sa.SealControl(nil, []byte{0, 0, 0})
	if _, err := sb.OpenControl(nil, d); err != nil {
		t.Error(err)
	}
}

func TestJoinAnswersFitWithLongestHello(t *testing.T) {
	a, b := router(1, true), router(2, true)
	hello := make([]byte, HelloMax)
	j, err := NewJoiner(a, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, reply, err := ReadJoinHello(b, j.Datagram(), 2, hello)
	if err != nil || len(reply) > frame.HandshakeLen {
		t.Fatalf("reply of %d bytes, %v", len(reply), err)
	}
	if _, err := j.ReadReply(reply); err != nil {
		t.Fatal(err)
	}
	finish, _, err := j.Finish(start, hello)
	if err != nil || len(finish) > frame.HandshakeLen {
		t.Fatalf("finish of %d bytes, %v", len(finish), err)
	}
}

// forgeries calls try with damaged copies of an authentic message: bits turned, cut, made longer,
// and with a public key of low order in the place of the ephemeral key, if there is one at that offset.
func forgeries(genuine []byte, ephemeral int, try func(forged []byte)) {
	for bit := 0; bit < len(genuine)*8; bit += 5 {
		try(flip(genuine, bit))
	}
	for n := 0; n < len(genuine); n += 3 {
		try(genuine[:n])
	}
	try(append(bytes.Clone(genuine), 0))
	if ephemeral > 0 {
		low := bytes.Clone(genuine)
		copy(low[ephemeral:], make([]byte, frame.KeyLen))
		try(low)
	}
}

// A forged message never advances the state: after every forgery the genuine message still finishes
// the handshake.
func TestForgedMessagesChangeNothing(t *testing.T) {
	tryResponse := func(i *Initiator, response []byte) {
		forgeries(response, 12, func(forged []byte) {
			// The sender's index and the MACs are not in the Noise message; the gate checks
			// the MACs, and a wrong index gives a session in which nothing opens.
			if bytes.Equal(response[8:len(response)-macsLen], forged[min(8, len(forged)):max(8, len(forged)-macsLen)]) {
				return
			}
			if _, _, err := i.ReadResponse(start, forged); err == nil || i.Failed() {
				t.Fatalf("forged response: %v, failed %v", err, i.Failed())
			}
		})
	}
	tryReply := func(j *Joiner, reply []byte) {
		forgeries(reply, 12, func(forged []byte) {
			if len(forged) == len(reply) && bytes.Equal(forged[8:], reply[8:]) {
				return
			}
			if _, err := j.ReadReply(forged); err == nil || j.Failed() {
				t.Fatalf("forged reply: %v, failed %v", err, j.Failed())
			}
		})
	}
	tryFinish := func(r *JoinResponder, finish []byte) {
		forgeries(finish, 0, func(forged []byte) {
			if _, _, err := r.ReadFinish(start, forged); err == nil || r.Failed() {
				t.Fatalf("forged finish: %v, failed %v", err, r.Failed())
			}
		})
	}
	t.Run("response", func(t *testing.T) {
		a, b := router(1, true), router(2, true)
		sa, sb, err := handshake(a, b, tryResponse)
		if err != nil || sa.secrets != sb.secrets {
			t.Errorf("the genuine one: %v", err)
		}
		a.keepState = true
		if _, _, err := handshake(a, b, tryResponse); err == nil {
			t.Error("with the library's own rollback the attack should succeed")
		}
	})
	t.Run("reply and finish", func(t *testing.T) {
		a, b := router(1, true), router(2, true)
		sa, sb, err := join(t, a, b, tryReply, tryFinish)
		if err != nil || sa.secrets != sb.secrets {
			t.Errorf("the genuine ones: %v", err)
		}
		a.keepState = true
		if _, _, err := join(t, a, b, tryReply, nil); err == nil {
			t.Error("with the library's own rollback the attack on the joiner should succeed")
		}
		a.keepState, b.keepState = false, true
		if _, _, err := join(t, a, b, nil, tryFinish); err == nil {
			t.Error("with the library's own rollback the attack on the seed should succeed")
		}
	})
}

func TestInitIsRefused(t *testing.T) {
	a, b := router(1, true), router(2, true)
	i, err := NewInitiator(a, b.Static.Public(), 100, Order{1, 1}, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	genuine := i.Datagram()
	for bit := 8 * 8; bit < (frame.HandshakeLen-macsLen)*8; bit += 61 {
		if _, err := ReadInit(b, flip(genuine, bit)); err == nil {
			t.Errorf("bit %d turned, and it is read", bit)
		}
	}
	low := bytes.Clone(genuine)
	copy(low[8:], make([]byte, frame.KeyLen))
	if _, err := ReadInit(b, low); err != ErrHandshake {
		t.Errorf("ephemeral key of low order: %v", err)
	}
	if _, err := ReadInit(router(3, true), genuine); err != ErrHandshake {
		t.Errorf("for another router: %v", err)
	}
	other := router(2, true)
	other.Federation = tables.Hash{9}
	if _, err := ReadInit(other, genuine); err != ErrHandshake {
		t.Errorf("of another federation: %v", err)
	}
	if _, err := ReadInit(b, genuine); err != nil {
		t.Errorf("the genuine one: %v", err)
	}
}

func TestNewInitiatorRefuses(t *testing.T) {
	a := router(1, true)
	if _, err := NewInitiator(a, tables.LinkKey{}, 1, Order{}, nil); err == nil {
		t.Error("a peer key of low order")
	}
	if _, err := NewInitiator(a, a.Static.Public(), 1, Order{}, make([]byte, HelloMax+1)); err != ErrHello {
		t.Errorf("a long hello: %v", err)
	}
	dry := *a
	dry.Rand = iotest.ErrReader(fmt.Errorf("dry"))
	if _, err := NewInitiator(&dry, a.Static.Public(), 1, Order{}, nil); err == nil {
		t.Error("no randomness")
	}
	if _, err := NewJoiner(&dry, 1); err == nil {
		t.Error("no randomness for a join")
	}
}

// TestReplayedInit: a recorded init is authentic, and its Order gives it away.
func TestReplayedInit(t *testing.T) {
	a, b := router(1, true), router(2, true)
	orders := []Order{{1, 1}, {1, 2}, {2, 0}, {2, 1}, {7, 0}}
	var mark Order
	var recorded [][]byte
	for _, o := range orders {
		i, err := NewInitiator(a, b.Static.Public(), 1, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		recorded = append(recorded, i.Datagram())
		r, err := ReadInit(b, i.Datagram())
		if err != nil || !r.Order().After(mark) {
			t.Fatalf("init %v after %v: %v", o, mark, err)
		}
		mark = r.Order()
		for _, d := range recorded {
			r, err := ReadInit(b, d)
			if err != nil {
				t.Fatal(err)
			}
			if r.Order().After(mark) {
				t.Errorf("replay of %v passes after %v", r.Order(), mark)
			}
		}
	}
}

// observe computes the handshake hash from what an observer sees: the messages and the public keys.
func observe(federation tables.Hash, responder tables.LinkKey, initMessage, response []byte) [32]byte {
	h := blake2s.Sum256([]byte("Noise_IK_25519_ChaChaPoly_BLAKE2s"))
	mix := func(b []byte) { h = blake2s.Sum256(append(h[:], b...)) }
	mix(append([]byte(prologueLink), federation[:]...))
	mix(responder[:])
	mix(initMessage[:32])
	mix(initMessage[32:80])
	mix(initMessage[80:])
	mix(response[:32])
	mix(response[32:])
	return h
}

// TestObserverCannotDerive: who has the complete transcript, and so the handshake hash ("channel
// binding"), cannot derive the session's keys. The attack is real: when the keys are derived from
// the hash instead of the split secrets, it reads the packet.
func TestObserverCannotDerive(t *testing.T) {
	attack := func(a, b *Config) (read bool) {
		i, err := NewInitiator(a, b.Static.Public(), 100, Order{1, 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReadInit(b, i.Datagram())
		if err != nil {
			t.Fatal(err)
		}
		response, _, err := r.Respond(start, 200, nil)
		if err != nil {
			t.Fatal(err)
		}
		session, _, err := i.ReadResponse(start, response)
		if err != nil {
			t.Fatal(err)
		}
		session.Bind(alice, bob)
		s, _ := session.Lane(0)
		d, _ := s.Seal(nil, 0, [3]byte{}, vn, []byte("secret"))

		init, _ := frame.ParseInit(i.Datagram())
		resp, _ := frame.ParseResponse(response)
		hash := observe(b.Federation, b.Static.Public(), init.Noise, resp.Noise)
		if got := [32]byte(i.state.ChannelBinding()); got != hash {
			t.Fatalf("the observer's hash %x is not the handshake's %x", hash, got)
		}
		for _, suite := range suites {
			eve := newSession(Session{Suite: suite}, [2][32]byte{hash, hash})
			eve.Bind(bob, alice)
			_, tap := eve.Lane(0)
			if out, err := tap.Open(nil, d, vn); err == nil && string(out) == "secret" {
				return true
			}
		}
		return false
	}
	a, b := router(1, true), router(2, true)
	if attack(a, b) {
		t.Error("the observer reads the packet")
	}
	fromHash := func(_, _ *noise.CipherState, hash []byte) [2][32]byte {
		return [2][32]byte{[32]byte(hash), [32]byte(hash)}
	}
	a.splitSecrets, b.splitSecrets = fromHash, fromHash
	if !attack(a, b) {
		t.Error("with keys from the handshake hash the attack should succeed")
	}
}

func TestStaticKeyDoesNotPrint(t *testing.T) {
	key := NewStaticKey([32]byte{0xab, 0xcd})
	holder := struct{ K StaticKey }{key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, s := range []string{fmt.Sprintf(verb, key), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &key)} {
			if !strings.Contains(s, "key(...)") || strings.Contains(strings.ToLower(s), "abcd") {
				t.Errorf("%s gives %q", verb, s)
			}
		}
	}
	if !(StaticKey{}).IsZero() || key.IsZero() || !(StaticKey{}).Public().IsZero() {
		t.Error("zero value")
	}
}

// FuzzForgedHandshake gives any bytes to every reader of a handshake message, in the state in which it waits
// for one: none panics, none accepts, and the genuine message still does its work afterwards.
func FuzzForgedHandshake(f *testing.F) {
	a, b := router(1, true), router(2, true)
	i, err := NewInitiator(a, b.Static.Public(), 100, Order{1, 1}, []byte("a"))
	if err != nil {
		f.Fatal(err)
	}
	r, err := ReadInit(b, i.Datagram())
	if err != nil {
		f.Fatal(err)
	}
	response, _, err := r.Respond(start, 200, []byte("b"))
	if err != nil {
		f.Fatal(err)
	}
	j, err := NewJoiner(a, 100)
	if err != nil {
		f.Fatal(err)
	}
	jr, reply, err := ReadJoinHello(b, j.Datagram(), 200, []byte("b"))
	if err != nil {
		f.Fatal(err)
	}
	client := NewCookieClient(b.Static.Public())
	client.Stamp(start, i.Datagram())
	f.Add(flip(i.Datagram(), 90))
	f.Add(spoil(response, 12))
	f.Add(spoil(response, len(response)-macsLen-8))
	f.Add(spoil(reply, 12))
	f.Add(spoil(reply, len(reply)-8))
	f.Add(frame.JoinFinish{Receiver: 200, Noise: make([]byte, 90)}.Append(nil))
	f.Add(frame.Cookie{Receiver: 100}.Append(nil))
	f.Add(frame.JoinCookie{Receiver: 101}.Append(nil))
	f.Fuzz(func(t *testing.T, d []byte) {
		if _, err := ReadInit(b, d); err == nil && !bytes.Equal(d[8:frame.HandshakeLen-32], i.Datagram()[8:frame.HandshakeLen-32]) {
			t.Errorf("init %x is read", d)
		}
		if _, _, err := i.ReadResponse(start, d); err == nil || i.Failed() {
			t.Errorf("response %x: %v", d, err)
		}
		if _, err := j.ReadReply(d); err == nil || j.Failed() {
			t.Errorf("reply %x: %v", d, err)
		}
		if _, _, err := jr.ReadFinish(start, d); err == nil || jr.Failed() {
			t.Errorf("finish %x: %v", d, err)
		}
		if err := client.ReadCookie(start, d); err == nil {
			t.Errorf("cookie %x is taken", d)
		}
		// The same machines are used for the next input: what an input broke shows there too.
		forward := *i
		if _, _, err := forward.ReadResponse(start, response); err != nil {
			t.Errorf("after %x the genuine response fails: %v", d, err)
		}
		i.state = nil // the copy above has used it up
	})
}

// FuzzPayload gives any bytes to the payload parsers, as if an authenticated peer had sent them.
func FuzzPayload(f *testing.F) {
	f.Add(initPayload(Order{1, 2}, payload{true, []byte("hello")}, 64))
	f.Add([]byte{1, 4, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, rest, err := parsePayload(b)
		if err == nil && len(p.hello)+3+len(rest) != len(b) {
			t.Errorf("%x: %d + %d bytes", b, len(p.hello), len(rest))
		}
		o, p, err := parseInitPayload(b)
		if err == nil {
			again := initPayload(o, p, len(b))
			if n := 16 + 3 + len(p.hello); !bytes.Equal(again[:16], b[:16]) || !bytes.Equal(again[17:n], b[17:n]) {
				t.Errorf("%x gives %x", b, again)
			}
		}
	})
}
