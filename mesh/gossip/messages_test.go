package gossip

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Every message type encodes to the bytes that it was parsed from, and no part of it parses.
func TestMessagesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bs := func(label string, max int) []byte { return rapid.SliceOfN(rapid.Byte(), 0, max).Draw(t, label) }
		seq := rapid.Uint32().Draw(t, "seq")
		port := rapid.Uint16().Draw(t, "port")
		a := claim{seq, bs("node", nameMax), bs("addr", 16), port, bs("meta", metaMax), bs("vsn", 6), 0}
		filters := [][]byte{bs("filter", 9)}
		q := query{rapid.Uint64().Draw(t, "time"), seq, bs("addr", 16), port, bs("source", nameMax), filters, 3, 1e9, bs("name", 99), bs("payload", 500)}
		for _, m := range []struct {
			b     []byte
			again func(b []byte) ([]byte, error)
		}{
			{appendAlive(nil, a), func(b []byte) ([]byte, error) {
				m, err := parseAlive(b)
				return appendAlive(nil, m), err
			}},
			{appendAck(nil, ack{seq, bs("payload", ackPayloadMax)}), func(b []byte) ([]byte, error) {
				m, err := parseAck(b)
				return appendAck(nil, m), err
			}},
			{appendAccusation(nil, typeDead, accusation{seq, bs("node", nameMax), bs("from", nameMax)}), func(b []byte) ([]byte, error) {
				m, err := parseAccusation(b)
				return appendAccusation(nil, typeDead, m), err
			}},
			{appendPing(nil, ping{seq, bs("n", 63), bs("t", 16), port, true, bs("a", 16), port, bs("s", 63)}, true), func(b []byte) ([]byte, error) {
				m, err := parsePing(b)
				return appendPing(nil, m, true), err
			}},
			{appendIntent(nil, serfJoin, intent{q.time, bs("node", nameMax), false}), func(b []byte) ([]byte, error) {
				m, err := parseIntent(b)
				return appendIntent(nil, serfJoin, m), err
			}},
			{appendQuery(nil, q), func(b []byte) ([]byte, error) {
				m, err := parseQuery(b)
				return appendQuery(nil, m), err
			}},
			{appendResponse(nil, response{q.time, seq, bs("from", nameMax), 1, bs("payload", 500)}), func(b []byte) ([]byte, error) {
				m, err := parseResponse(b)
				return appendResponse(nil, m), err
			}},
		} {
			if got, err := m.again(m.b[1:]); err != nil || !bytes.Equal(got, m.b) {
				t.Fatalf("%x became %x, %v", m.b, got, err)
			}
			for n := range len(m.b) - 1 {
				if _, err := m.again(m.b[1 : 1+n]); err == nil {
					t.Fatalf("%d of %d bytes of %x were enough", n, len(m.b)-1, m.b)
				}
			}
		}
	})
}

func TestTagsAreSerfs(t *testing.T) {
	b, err := encodeTags(map[string]string{"site": "lyon", "role": strings.Repeat("q", 40)})
	if err != nil || b[0] != tagsMagic {
		t.Fatal(b, err)
	}
	var m map[string]string
	decode(t, b, &m)
	if len(m) != 2 || m["site"] != "lyon" || len(m["role"]) != 40 {
		t.Errorf("%v", m)
	}
}

func TestExchangePeriod(t *testing.T) {
	for _, test := range []struct {
		n, members int
		want       time.Duration
	}{{0, 5, 10 * time.Second}, {1, 5, 20 * time.Second}, {5, 5, exchangeMin}, {2, 1000, 40 * time.Second},
		{30, 1000, 5000 * time.Second}, {1 << 30, 10000, 50000 * time.Second}} {
		if got := exchangePeriod(test.n, test.members); got != test.want {
			t.Errorf("exchange %d of %d members: %v, want %v", test.n, test.members, got, test.want)
		}
	}
}
