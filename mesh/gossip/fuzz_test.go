package gossip

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// FuzzPolicePacket: whatever comes in, only well-formed messages of known types go out, and
// what goes out passes again.
func FuzzPolicePacket(f *testing.F) {
	p := reference(typePing, &refPing{1, "vr1", at(2), Port, "vr2"})
	a := reference(typeAlive, &refAlive{3, "vr3", at(3), Port, []byte("m"), vsn})
	d := reference(typeDead, &refAccusation{1, "vr3", "vr2"})
	f.Add(p)
	f.Add(a)
	f.Add(joinPacket([][]byte{p, a, d, {typeUser, typeRumour, 1, 2, 3}}))
	f.Add(append([]byte{typeUser}, reference(serfQuery, &refQuery{LTime: 5, Addr: at(2), Port: Port, SourceNode: "vr2", Name: "x"})...))
	f.Add([]byte{typeCRC, 0, 0, 0, 0, typePing})
	f.Add([]byte{typeCompound, 255})
	f.Add([]byte{typeCompound, 1, 0, 2, typeCompound, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		police := newTestPolice()
		police.known["vr3"] = record{incarnation: 1}
		clean, _ := police.packet(start, 2, b)
		if clean == nil {
			return
		}
		n := 0
		if err := splitPacket(clean, func(m []byte) {
			n++
			switch m[0] {
			case typePing, typeIndirectPing, typeAck, typeSuspect, typeAlive, typeDead, typeUser, typeNack:
			default:
				t.Errorf("type %d goes out", m[0])
			}
		}); err != nil {
			t.Fatalf("%x goes out: %v", clean, err)
		}
		again := newTestPolice()
		again.known = police.known
		twice, _ := again.packet(start, 2, clean)
		if !bytes.Equal(twice, clean) {
			t.Errorf("%x goes out, and then %x", clean, twice)
		}
		for _, r := range police.known {
			if r.incarnation >= incarnationMax {
				t.Errorf("incarnation %d is known", r.incarnation)
			}
		}
	})
}

// FuzzPoliceStream: no stream makes the policing wait for more than it claims or let an
// unknown type out.
func FuzzPoliceStream(f *testing.F) {
	f.Add(exchangeBytes([]refState{{"vr2", at(2), Port, nil, 1, 0, vsn}, {"vr3", at(3), Port, nil, 1, 3, vsn}},
		reference(serfPushPull, &refPushPull{LTime: 5, StatusLTimes: map[string]uint64{"vr2": 1}, LeftMembers: []string{"vr3"}})), false)
	f.Add(reference(typePing, &refPing{1, "vr1", at(2), Port, "vr2"}), false)
	f.Add(reference(typeAck, &refAck{1, nil}), true)
	f.Add(reference(typeError, &struct{ Error string }{"no"}), true)
	f.Fuzz(func(t *testing.T, b []byte, out bool) {
		p := newTestPolice()
		clean, err := p.stream(start, tables.RouterID(2), direction(out), bufio.NewReaderSize(bytes.NewReader(b), streamValueMax))
		if err != nil {
			return
		}
		switch clean[0] {
		case typePing, typeAck, typeError, typePushPull:
		default:
			t.Errorf("type %d goes out", clean[0])
		}
		again, err := newTestPolice().stream(start, tables.RouterID(2), direction(out), bufio.NewReaderSize(bytes.NewReader(clean), streamValueMax))
		if err != nil {
			t.Errorf("%x does not pass again: %v", clean, err)
		}
		if !bytes.Equal(again, clean) && clean[0] != typePushPull {
			t.Errorf("%x goes out, and then %x", clean, again)
		}
	})
}
