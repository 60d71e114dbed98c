package gossip

import (
	"bufio"
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// exchange is a state exchange as memberlist writes it.
func exchangeBytes(states []refState, user []byte) []byte {
	b := reference(typePushPull, &struct {
		Nodes        int
		UserStateLen int
		Join         bool
	}{len(states), len(user), true})
	for _, s := range states {
		b = append(b, reference(0, &s)[1:]...)
	}
	return append(b, user...)
}

type refState struct {
	Name        string
	Addr        []byte
	Port        uint16
	Meta        []byte
	Incarnation uint32
	State       int
	Vsn         []uint8
}

type refPushPull struct {
	LTime        uint64
	StatusLTimes map[string]uint64
	LeftMembers  []string
	EventLTime   uint64
	Events       []*struct{ LTime uint64 }
	QueryLTime   uint64
}

func TestPoliceExchange(t *testing.T) {
	p := newTestPolice()
	p.known["vr4"] = record{incarnation: 1}
	p.known["vr5"] = record{incarnation: 1}
	p.known["vr6"] = record{incarnation: 1}
	user := reference(serfPushPull, &refPushPull{LTime: 50, StatusLTimes: map[string]uint64{"vr2": 7, "vr3": 9},
		LeftMembers: []string{"vr3", "vr4"}, EventLTime: 1 << 60, Events: []*struct{ LTime uint64 }{nil, {3}}, QueryLTime: 60})
	in := exchangeBytes([]refState{
		{"vr2", at(2), Port, []byte("m"), 1 << 20, stateAlive, vsn},        // speaks for itself
		{"vr3", at(3), Port, nil, 1, stateAlive, vsn},                      // introduces
		{"vr4", at(4), Port, nil, 1, stateLeft, vsn},                       // weakened to a suspicion
		{"vr5", at(5), Port, nil, math.MaxUint32, stateSuspect, vsn},       // dropped
		{"vr6", at(2), Port, nil, 2, stateAlive, vsn},                      // dropped
		{"vr7", at(7), Port, nil, 2, stateDead, vsn},                       // not known: dropped
		{"vr30", at(30), Port, nil, 2, stateAlive, vsn},                    // stranger
		{"vr8", at(8), Port, nil, 2, stateAlive, []byte{5, 5, 5, 2, 5, 4}}, // would break all exchanges
		{"vr3", at(3), Port, nil, 2, stateAlive, vsn},                      // said before
	}, user)
	out, err := p.stream(start, 2, incoming, bufio.NewReaderSize(bytes.NewReader(in), streamValueMax))
	if err != nil {
		t.Fatal(err)
	}
	h := codec.MsgpackHandle{}
	r := bufio.NewReader(bytes.NewReader(out[1:]))
	dec := codec.NewDecoder(r, &h)
	var head struct {
		Nodes, UserStateLen int
		Join                bool
	}
	if err := dec.Decode(&head); err != nil || !head.Join || out[0] != typePushPull {
		t.Fatal(head, err)
	}
	var got []string
	for range head.Nodes {
		var s refState
		if err := dec.Decode(&s); err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Name+" "+[]string{"alive", "suspect", "dead", "left"}[s.State])
	}
	if want := "vr2 alive,vr3 alive,vr4 dead"; strings.Join(got, ",") != want {
		t.Errorf("states %v, want %v", got, want)
	}
	rest := make([]byte, head.UserStateLen)
	if _, err := r.Read(rest); err != nil {
		t.Fatal(err)
	}
	var pp refPushPull
	decode(t, rest, &pp)
	if pp.LTime != 50 || pp.QueryLTime != 60 || len(pp.StatusLTimes) != 1 || pp.StatusLTimes["vr2"] != 7 ||
		len(pp.LeftMembers) != 0 || pp.EventLTime != 0 || len(pp.Events) != 0 {
		t.Errorf("user state %+v", pp)
	}
	for n := range in {
		if _, err := newTestPolice().stream(start, 2, incoming, bufio.NewReaderSize(bytes.NewReader(in[:n]), streamValueMax)); err == nil {
			t.Fatalf("%d of %d bytes were enough", n, len(in))
		}
	}
}

func TestPoliceStreamDirections(t *testing.T) {
	pingBytes := reference(typePing, &refPing{1, "vr1", at(2), Port, "vr2"})
	ackBytes := reference(typeAck, &refAck{1, []byte("lie")})
	errBytes := reference(typeError, &struct{ Error string }{strings.Repeat("x", 1000)})
	for _, test := range []struct {
		name string
		b    []byte
		dir  direction
		ok   bool
	}{
		{"ping in", pingBytes, incoming, true}, {"ping out", pingBytes, outgoing, false},
		{"ack in", ackBytes, incoming, false}, {"ack out", ackBytes, outgoing, true},
		{"error in", errBytes, incoming, false}, {"error out", errBytes, outgoing, true},
		{"user message", []byte{typeUser, 0x81}, incoming, false}, {"label", []byte{244, 1, 'a'}, incoming, false},
		{"compressed", []byte{9}, outgoing, false}, {"nothing", nil, incoming, false},
	} {
		out, err := newTestPolice().stream(start, 2, test.dir, bufio.NewReaderSize(bytes.NewReader(test.b), streamValueMax))
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
		if len(out) > 200 {
			t.Errorf("%s: %d bytes pass", test.name, len(out))
		}
		if test.ok {
			var a struct {
				Payload []byte
				Error   string
			}
			decode(t, out, &a)
			if len(a.Payload) != 0 {
				t.Errorf("%s: payload passes", test.name)
			}
		}
	}
}
