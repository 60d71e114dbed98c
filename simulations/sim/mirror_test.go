package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hashicorp/memberlist"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/tables"
)

// A named is a broadcast of memberlist's queue in these tests.
type named struct {
	name    string
	message []byte
}

func (n *named) Invalidates(o memberlist.Broadcast) bool { return n.name == o.(*named).name }
func (n *named) Message() []byte                         { return n.message }
func (n *named) Name() string                            { return n.name }
func (n *named) Finished()                               {}

// lone returns an engine of n VRs without a scenario's life, for tests of its parts.
func lone(t testing.TB, n int) *Engine {
	t.Helper()
	s := plain(n)
	s.VNs = nil
	e, err := New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestBroadcastsAsMemberlist has memberlist's queue and the model's do the same.
func TestBroadcastsAsMemberlist(t *testing.T) {
	e := lone(t, 300)
	real := &memberlist.TransmitLimitedQueue{NumNodes: func() int { return int(e.vrs[0].members) + 1 }, RetransmitMult: retransmitMult}
	// memberlist counts its messages from zero again whenever the queue is empty for a moment, even if what was in it comes
	// back; two messages may then have one number, and one of them is lost. One that never fits keeps it from doing so.
	real.QueueBroadcast(&named{"too long", make([]byte, 5000)})
	s := source{5}
	taken := 0
	for round := range 3000 {
		for range s.below(6) {
			m := message{kind: messageKind(s.below(3)), subject: int32(s.below(60)), from: 1, number: uint32(round)}
			size := accuseBytes
			if m.kind == sayAlive {
				size = aliveBytes
			}
			b := make([]byte, size)
			binary.BigEndian.PutUint32(b, uint32(m.subject))
			binary.BigEndian.PutUint32(b[4:], m.number)
			real.QueueBroadcast(&named{string(b[:4]), b})
			e.queueBroadcast(0, m)
		}
		limit := int(s.below(3000))
		if s.below(20) == 0 {
			e.vrs[0].members = int32(s.below(300))
		}
		p := e.newPacket(0, 1)
		e.takeBroadcasts(&e.vrs[0], p, limit)
		var got, want [][2]uint32
		for _, m := range e.packets[p].messages {
			got = append(got, [2]uint32{uint32(m.subject), m.number})
		}
		e.dropPacket(p)
		for _, b := range real.GetBroadcasts(compoundPart, limit) {
			want = append(want, [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])})
		}
		taken += len(got)
		if !slices.Equal(got, want) || real.NumQueued() != len(e.vrs[0].broadcasts)+1 {
			t.Fatalf("round %d, %d bytes: the model takes %v and keeps %d, memberlist %v and %d", round, limit, got, len(e.vrs[0].broadcasts), want, real.NumQueued())
		}
	}
	if taken < 5000 {
		t.Errorf("only %d messages were taken", taken)
	}
}

// TestRumoursAsMesh has mesh.Rumours and the model's queue do the same.
func TestRumoursAsMesh(t *testing.T) {
	e := lone(t, 300)
	real := mesh.NewRumours(1)
	s := source{6}
	for i := range 40 {
		size := int32(100 + s.below(900))
		if i%4 == 0 {
			size = 5000 // announced only
		}
		e.addDocument(linkRecord, int32(i), size)
	}
	latest := map[int32]uint32{}
	taken := 0
	for round := range 3000 {
		for range s.below(4) {
			doc := int32(s.below(40))
			latest[doc] += uint32(s.below(2))
			if latest[doc] == 0 {
				latest[doc] = 1
			}
			d := tables.Digest{Key: e.docs[doc].key, Version: uint64(latest[doc])}
			real.Add(d, make([]byte, e.docs[doc].size))
			e.queueRumour(0, doc, latest[doc])
			// The real length is that of the encoding; take it over, so that what is compared is the order.
			for i := range e.vrs[0].rumours {
				u := &e.vrs[0].rumours[i]
				r := mesh.Rumour{Digest: tables.Digest{Key: e.docs[u.doc].key, Version: uint64(u.version)}, Holder: 1}
				if e.inline(u.doc) {
					r.Body = make([]byte, e.docs[u.doc].size)
				}
				u.size = int32(len(mesh.AppendRumour(nil, r)))
			}
		}
		limit := int(s.below(4000))
		if s.below(20) == 0 {
			e.vrs[0].members = int32(s.below(300))
		}
		p := e.newPacket(0, 1)
		e.takeRumours(&e.vrs[0], p, limit)
		var got, want [][2]uint32
		for _, m := range e.packets[p].messages {
			got = append(got, [2]uint32{uint32(m.subject), m.number})
		}
		e.dropPacket(p)
		if limit > compoundPart+userHead { // what memberlist asks before it calls
			for _, b := range real.Take(int(e.vrs[0].members)+1, limit, compoundPart+userHead) {
				u, err := mesh.ParseRumour(b)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, [2]uint32{binary.BigEndian.Uint32([]byte(u.Digest.Key.ID)), uint32(u.Digest.Version)})
			}
		}
		taken += len(got)
		if !slices.Equal(got, want) || real.Len() != len(e.vrs[0].rumours) {
			t.Fatalf("round %d, %d bytes: the model takes %v and keeps %d, mesh %v and %d", round, limit, got, len(e.vrs[0].rumours), want, real.Len())
		}
	}
	if taken < 5000 {
		t.Errorf("only %d rumours were taken", taken)
	}
}

// TestReconcileBytes compares what the model counts for a comparison of two indexes with what mesh.Reconcile says.
func TestReconcileBytes(t *testing.T) {
	for _, all := range []int{300, 3000, 30_000} {
		for _, differ := range []int{1, 10, 100} {
			var a, b mesh.Index
			for i := range all {
				d := tables.Digest{Key: tables.DocKey{Kind: tables.KindLinkRecord, ID: string(binary.BigEndian.AppendUint32(nil, uint32(i)))}, Version: 1}
				a.Put(d)
				if i < differ {
					d.Version = 2
				}
				b.Put(d)
			}
			bytes, turns := 0, 0
			ra, rb := mesh.NewReconcile(&a), mesh.NewReconcile(&b)
			m := ra.Start()
			next := &m
			for side := rb; next != nil; {
				bytes += len(mesh.AppendMessage(nil, *next))
				turns++
				next, _, _, _ = side.Handle(*next)
				if side == rb {
					side = ra
				} else {
					side = rb
				}
			}
			e := &Engine{vrs: make([]vr, all/3)}
			got := reconcileBytes(differ, e.levels(), all)
			t.Logf("%d of %d differ: mesh %d bytes in %d messages, the model %d bytes, %d round trips", differ, all, bytes, turns, got, reconcileTurns(e.levels()))
			if got > 2*bytes || bytes > 2*got {
				t.Errorf("%d of %d differ: the model counts %d bytes, mesh %d", differ, all, got, bytes)
			}
			if model := 2 * reconcileTurns(e.levels()); differ <= 10 && (turns > model+1 || model > turns+1) {
				t.Errorf("%d of %d differ: the model takes %d messages, mesh %d", differ, all, model, turns)
			}
		}
	}
}

// TestPortable: what a View draws is the same whether its machine has 32 bits or 64.
func TestPortable(t *testing.T) {
	wide, narrow := rand.New(portable{&source{9}}), portable{&source{9}}
	for i := range 20_000 {
		n := 1 + i%128
		x := narrow.Uint64()
		// As uint32n of math/rand/v2 on 32 bits: the upper half of the bits, or the lowest for a power of two.
		want := int(uint64(uint32(x>>32)) * uint64(n) >> 32)
		if n&(n-1) == 0 {
			want = int(x) & (n - 1)
		}
		if got := wide.IntN(n); got != want {
			t.Fatalf("draw %d below %d: %d on 64 bits, %d on 32", i, n, got, want)
		}
	}
}
