package gossip

import (
	"bytes"
	"math"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/vine-mesh/vine/tables"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// newTestPolice is vr1's police in a federation of nine.
func newTestPolice() *police { return newPolice(Self{1, "vr1"}, newRoll(9), 0) }

// reference encodes m as memberlist and serf do.
func reference(typ byte, m any) []byte {
	b := bytes.NewBuffer([]byte{typ})
	h := codec.MsgpackHandle{}
	h.TimeNotBuiltin = true
	if err := codec.NewEncoder(b, &h).Encode(m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// The messages as memberlist declares them.
type (
	refPing struct {
		SeqNo      uint32
		Node       string
		SourceAddr []byte `codec:",omitempty"`
		SourcePort uint16 `codec:",omitempty"`
		SourceNode string `codec:",omitempty"`
	}
	refIndirect struct {
		SeqNo      uint32
		Target     []byte
		Port       uint16
		Node       string
		Nack       bool
		SourceAddr []byte `codec:",omitempty"`
		SourcePort uint16 `codec:",omitempty"`
		SourceNode string `codec:",omitempty"`
	}
	refAck struct {
		SeqNo   uint32
		Payload []byte
	}
	refAccusation struct {
		Incarnation uint32
		Node        string
		From        string
	}
	refAlive struct {
		Incarnation uint32
		Node        string
		Addr        []byte
		Port        uint16
		Meta        []byte
		Vsn         []uint8
	}
	refQuery struct {
		LTime       uint64
		ID          uint32
		Addr        []byte
		Port        uint16
		SourceNode  string
		Filters     [][]byte
		Flags       uint32
		RelayFactor uint8
		Timeout     time.Duration
		Name        string
		Payload     []byte
	}
)

// decode reads one message that the policing let through as memberlist would.
func decode(t *testing.T, b []byte, into any) {
	t.Helper()
	h := codec.MsgpackHandle{}
	if err := codec.NewDecoder(bytes.NewReader(b[1:]), &h).Decode(into); err != nil {
		t.Fatalf("memberlist cannot read %x: %v", b, err)
	}
}

func at(id tables.RouterID) []byte {
	a := addr16(id)
	return a[:]
}

var vsn = []byte{1, 5, 2, 2, 5, 4}

func TestPoliceJudges(t *testing.T) {
	alive := func(edit func(*refAlive)) []byte {
		m := refAlive{Incarnation: 3, Node: "vr3", Addr: at(3), Port: Port, Meta: []byte{255, 0x80}, Vsn: vsn}
		edit(&m)
		return reference(typeAlive, &m)
	}
	queryFrom := func(edit func(*refQuery)) []byte {
		m := refQuery{LTime: 5, ID: 6, Addr: at(3), Port: Port, SourceNode: "vr3", Timeout: time.Second, Name: "uptime"}
		edit(&m)
		return append([]byte{typeUser}, reference(serfQuery, &m)...)
	}
	user := func(typ byte, m any) []byte { return append([]byte{typeUser}, reference(typ, m)...) }
	tests := []struct {
		name string
		b    []byte
		want Drop
	}{
		{"ping", reference(typePing, &refPing{1, "vr1", at(2), Port, "vr2"}), dropNone},
		{"ping of another", reference(typePing, &refPing{1, "vr3", at(2), Port, "vr2"}), DropImpersonation},
		{"ping as another", reference(typePing, &refPing{1, "vr1", at(3), Port, "vr3"}), DropImpersonation},
		{"ping answered elsewhere", reference(typePing, &refPing{1, "vr1", at(3), Port, "vr2"}), DropImpersonation},
		{"ping answered at another port", reference(typePing, &refPing{1, "vr1", at(2), 53, "vr2"}), DropImpersonation},
		{"ping without source", reference(typePing, &refPing{SeqNo: 1, Node: "vr1"}), DropImpersonation},
		{"indirect ping", reference(typeIndirectPing, &refIndirect{1, at(3), Port, "vr3", true, at(2), Port, "vr2"}), dropNone},
		{"indirect ping elsewhere", reference(typeIndirectPing, &refIndirect{1, at(4), Port, "vr3", true, at(2), Port, "vr2"}), DropAddress},
		{"indirect ping of a stranger", reference(typeIndirectPing, &refIndirect{1, at(40), Port, "vr40", true, at(2), Port, "vr2"}), DropAddress},
		{"ack", reference(typeAck, &refAck{SeqNo: 7}), dropNone},
		{"ack unasked", reference(typeAck, &refAck{SeqNo: 8}), DropUnasked},
		{"nack unasked", reference(typeNack, &struct{ SeqNo uint32 }{8}), DropUnasked},
		{"nack of the target", reference(typeNack, &struct{ SeqNo uint32 }{7}), DropUnasked},
		{"alive", alive(func(*refAlive) {}), dropNone},
		{"alive of a stranger", alive(func(m *refAlive) { m.Node = "vr30" }), DropStranger},
		{"alive elsewhere", alive(func(m *refAlive) { m.Addr = at(2) }), DropAddress},
		{"alive at IPv4", alive(func(m *refAlive) { m.Addr = []byte{10, 0, 0, 1} }), DropAddress},
		{"alive at another port", alive(func(m *refAlive) { m.Port = 1 }), DropAddress},
		{"alive without versions", alive(func(m *refAlive) { m.Vsn = nil }), DropVersion},
		{"alive with other versions", alive(func(m *refAlive) { m.Vsn = []byte{3, 5, 3, 2, 5, 4} }), DropVersion},
		{"alive with newer versions beside ours", alive(func(m *refAlive) { m.Vsn = []byte{1, 6, 2, 2, 6, 4} }), dropNone},
		{"alive with long meta", alive(func(m *refAlive) { m.Meta = make([]byte, 513) }), DropMalformed},
		{"alive far ahead", alive(func(m *refAlive) { m.Incarnation = 2 + jumpMax + 1 }), DropIncarnation},
		{"alive just ahead", alive(func(m *refAlive) { m.Incarnation = 2 + jumpMax }), dropNone},
		{"alive about itself", alive(func(m *refAlive) { m.Node, m.Addr, m.Incarnation = "vr2", at(2), 1<<30 }), dropNone},
		{"alive beyond the end", alive(func(m *refAlive) { m.Node, m.Addr, m.Incarnation = "vr2", at(2), 1<<31 }), DropIncarnation},
		{"alive first heard", alive(func(m *refAlive) { m.Node, m.Addr, m.Incarnation = "vr4", at(4), introMax }), dropNone},
		{"alive first heard, high", alive(func(m *refAlive) { m.Node, m.Addr, m.Incarnation = "vr4", at(4), introMax+1 }), DropIncarnation},
		{"suspect", reference(typeSuspect, &refAccusation{2, "vr3", "vr2"}), dropNone},
		{"suspect by a third", reference(typeSuspect, &refAccusation{2, "vr3", "vr5"}), dropNone},
		{"suspect by us", reference(typeSuspect, &refAccusation{2, "vr3", "vr1"}), DropImpersonation},
		{"suspect by himself", reference(typeSuspect, &refAccusation{2, "vr3", "vr3"}), DropImpersonation},
		{"suspect by a stranger", reference(typeSuspect, &refAccusation{2, "vr3", "vr30"}), DropStranger},
		{"suspect of a stranger", reference(typeSuspect, &refAccusation{2, "vr30", "vr2"}), DropStranger},
		{"suspect of one not heard of", reference(typeSuspect, &refAccusation{2, "vr4", "vr2"}), DropIncarnation},
		{"suspect at the end", reference(typeSuspect, &refAccusation{math.MaxUint32, "vr3", "vr2"}), DropIncarnation},
		{"suspect far ahead", reference(typeSuspect, &refAccusation{2 + jumpMax + 1, "vr3", "vr2"}), DropIncarnation},
		{"dead", reference(typeDead, &refAccusation{2, "vr3", "vr2"}), dropNone},
		{"leave", reference(typeDead, &refAccusation{2, "vr2", "vr2"}), dropNone},
		{"leave of another", reference(typeDead, &refAccusation{2, "vr3", "vr3"}), DropHearsay},
		{"leave intent", user(serfLeave, &struct {
			LTime uint64
			Node  string
		}{9, "vr2"}), dropNone},
		{"leave intent of another", user(serfLeave, &struct {
			LTime uint64
			Node  string
		}{9, "vr3"}), DropHearsay},
		{"leave intent with prune", user(serfLeave, &struct {
			LTime uint64
			Node  string
			Prune bool
		}{9, "vr2", true}), DropImpersonation},
		{"join intent", user(serfJoin, &struct {
			LTime uint64
			Node  string
		}{9, "vr2"}), dropNone},
		{"join intent far ahead", user(serfJoin, &struct {
			LTime uint64
			Node  string
		}{1 << 60, "vr2"}), DropIncarnation},
		{"user event", user(3, &struct{ Name string }{"deploy"}), DropInternal},
		{"conflict vote", user(6, &struct{ Name string }{"vr3"}), DropInternal},
		{"keys", user(7, &struct{ Key []byte }{[]byte("0123456789012345")}), DropInternal},
		{"relay", user(9, &struct{ DestAddr net.UDPAddr }{}), DropInternal},
		{"query", queryFrom(func(*refQuery) {}), dropNone},
		{"query of keys", queryFrom(func(m *refQuery) { m.Name = "_serf_install-key" }), DropInternal},
		{"query of conflicts", queryFrom(func(m *refQuery) { m.Name = "_serf_conflict" }), DropInternal},
		{"query of reachability", queryFrom(func(m *refQuery) { m.Name = "_serf_ping" }), dropNone},
		{"query answered elsewhere", queryFrom(func(m *refQuery) { m.Addr = at(4) }), DropAddress},
		{"query of a stranger", queryFrom(func(m *refQuery) { m.SourceNode = "vr30" }), DropStranger},
		{"query for ever", queryFrom(func(m *refQuery) { m.Timeout = time.Hour }), DropMalformed},
		{"query of all times", queryFrom(func(m *refQuery) { m.LTime = math.MaxUint64 }), DropIncarnation},
		{"answer", user(serfQueryResponse, &struct {
			LTime uint64
			From  string
		}{9, "vr2"}), dropNone},
		{"answer of another", user(serfQueryResponse, &struct {
			LTime uint64
			From  string
		}{9, "vr3"}), DropImpersonation},
		{"push/pull in a packet", []byte{typePushPull, 0x80}, DropUnknownType},
		{"compressed", []byte{9, 0x80}, DropUnknownType},
		{"encrypted", []byte{10, 1, 2, 3}, DropUnknownType},
		{"label", []byte{244, 1, 'x', 0}, DropUnknownType},
		{"not a map", []byte{typePing, 0x01}, DropMalformed},
		{"cut short", []byte{typePing}, DropMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newTestPolice()
			p.known["vr3"] = record{incarnation: 2}
			p.ask(question{7, 2}, true)
			clean, d := p.message(start, p.source(2), speaker{2, "vr2"}, test.b)
			if d != test.want {
				t.Fatalf("%v, want %v", d, test.want)
			}
			if (d == dropNone) != (clean != nil) {
				t.Fatalf("%x with %v", clean, d)
			}
		})
	}
}

// What passes is what memberlist reads, with the meaning it had, a death but for a suspicion.
func TestPoliceKeepsMeaning(t *testing.T) {
	p := newTestPolice()
	p.known["vr3"] = record{incarnation: 2}
	in := refAlive{Incarnation: 3, Node: "vr3", Addr: at(3), Port: Port, Meta: bytes.Repeat([]byte{7}, 300), Vsn: vsn}
	clean, _ := p.packet(start, 2, reference(typeAlive, &in))
	var out refAlive
	decode(t, clean, &out)
	if clean[0] != typeAlive || out.Node != in.Node || !bytes.Equal(out.Meta, in.Meta) || !bytes.Equal(out.Addr, in.Addr) ||
		out.Incarnation != 3 || out.Port != Port || !bytes.Equal(out.Vsn, vsn) {
		t.Errorf("%+v became %+v", in, out)
	}
	clean, _ = p.packet(start, 2, reference(typeDead, &refAccusation{3, "vr3", "vr5"}))
	var sus refAccusation
	decode(t, clean, &sus)
	if clean[0] != typeSuspect || sus != (refAccusation{3, "vr3", "vr5"}) {
		t.Errorf("a death became %d %+v", clean[0], sus)
	}
	qin := refQuery{LTime: 5, ID: 6, Addr: at(3), Port: Port, SourceNode: "vr3", Filters: [][]byte{{0, 0x90}}, Flags: 1,
		RelayFactor: 200, Timeout: time.Second, Name: "uptime", Payload: []byte("x")}
	clean, _ = p.packet(start, 2, append([]byte{typeUser}, reference(serfQuery, &qin)...))
	var qout refQuery
	decode(t, clean[1:], &qout)
	if qout.RelayFactor != 0 || qout.Name != "uptime" || qout.Timeout != time.Second || len(qout.Filters) != 1 || qout.Flags != 1 {
		t.Errorf("%+v became %+v", qin, qout)
	}
	// A copy of the query costs nothing.
	if again, _ := p.packet(start, 4, append([]byte{typeUser}, reference(serfQuery, &qin)...)); again != nil || p.drops[DropRepeated] != 1 {
		t.Error("the same query passed twice")
	}
}

func TestPoliceAcksComeFromTheAsked(t *testing.T) {
	p := newTestPolice()
	payload := []byte("coordinate and root")
	ackFrom := func(id tables.RouterID) *refAck {
		clean, _ := p.packet(start, id, reference(typeAck, &refAck{7, payload}))
		if clean == nil {
			return nil
		}
		var a refAck
		decode(t, clean, &a)
		return &a
	}
	p.sent(start, 3, reference(typePing, &refPing{7, "vr3", at(1), Port, "vr1"}))
	p.sent(start, 4, reference(typeIndirectPing, &refIndirect{7, at(3), Port, "vr3", true, at(1), Port, "vr1"}))
	if ackFrom(2) != nil {
		t.Error("ack of a third VR passed")
	}
	if a := ackFrom(4); a == nil || len(a.Payload) != 0 {
		t.Errorf("helper's ack: %v, want it without payload", a)
	}
	if a := ackFrom(3); a == nil || !bytes.Equal(a.Payload, payload) {
		t.Errorf("target's ack: %v", a)
	}
	if ackFrom(3) != nil {
		t.Error("second ack passed")
	}
}

// Nobody walks a victim's incarnation to the end in small steps.
func TestPoliceRaiseBudget(t *testing.T) {
	p := newTestPolice()
	p.known["vr3"] = record{incarnation: 1}
	now, inc := start, uint32(1)
	for range 100_000 {
		now = now.Add(time.Second / accuseRate)
		if clean, _ := p.packet(now, 2, reference(typeSuspect, &refAccusation{inc + jumpMax, "vr3", "vr2"})); clean != nil {
			inc += jumpMax
		}
	}
	passed := now.Sub(start).Seconds()
	if limit := uint32(raiseBurst + raiseRate*passed + jumpMax); inc > limit {
		t.Errorf("in %.0f s one VR raised another to %d, more than %d", passed, inc, limit)
	}
}

func TestPoliceForgetsTheGone(t *testing.T) {
	p := newTestPolice()
	heard := func(now time.Time, inc uint32) bool {
		clean, _ := p.packet(now, 2, reference(typeAlive, &refAlive{inc, "vr3", at(3), Port, nil, vsn}))
		return clean != nil
	}
	if !heard(start, 5) || heard(start, 5000) {
		t.Fatal("jump")
	}
	p.gone("vr3", start)
	if heard(start.Add(forgetAfter), 5000) {
		t.Error("forgotten too soon")
	}
	if !heard(start.Add(forgetAfter+time.Second), 5000) {
		t.Error("not forgotten")
	}
}

func TestPoliceNamesFewAccusers(t *testing.T) {
	p := newTestPolice()
	p.known["vr3"] = record{incarnation: 1}
	pass := 0
	for id := tables.RouterID(4); id <= 9; id++ {
		if clean, _ := p.packet(start, 2, reference(typeSuspect, &refAccusation{1, "vr3", id.String()})); clean != nil {
			pass++
		}
	}
	if pass != fromsMax {
		t.Errorf("one VR named %d accusers", pass)
	}
}
