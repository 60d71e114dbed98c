package node_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/vine-mesh/vine/mesh"
	"github.com/vine-mesh/vine/mesh/gossip"
	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// A liar makes up gossip: SWIM's messages, serf's, and our own rumours, some well formed and some
// not.
type liar struct {
	*rand.Rand
	self    tables.RouterID
	victims []*nodetest.Site
}

func pack(first []byte, m map[string]any) []byte {
	var b []byte
	if err := codec.NewEncoderBytes(&b, &codec.MsgpackHandle{}).Encode(m); err != nil {
		panic(err) // maps of plain values encode
	}
	return append(first, b...)
}

func (l *liar) victim() *nodetest.Site { return l.victims[l.IntN(len(l.victims))] }

// someone returns a name to speak of: mostly of an honest VR, sometimes nobody's.
func (l *liar) someone() string {
	if l.IntN(8) == 0 {
		return fmt.Sprintf("nobody-%d", l.IntN(50))
	}
	return l.victim().Name
}

func (l *liar) incarnation() uint32 {
	switch l.IntN(4) {
	case 0:
		return 1<<32 - 1
	case 1:
		return l.Uint32()
	default:
		return uint32(l.IntN(300))
	}
}

func (l *liar) addr() []byte {
	id := tables.RouterID(1 + l.IntN(10))
	a := gossip.Addr(id).As16()
	return a[:]
}

func (l *liar) bytes(n int) []byte {
	b := make([]byte, l.IntN(n))
	for i := range b {
		b[i] = byte(l.Uint32())
	}
	return b
}

// state claims that a member is there, with tags and at an address.
func (l *liar) state(nameField string) map[string]any {
	return map[string]any{
		"Incarnation": l.incarnation(), nameField: l.someone(), "Addr": l.addr(), "Port": uint16(7946 + l.IntN(2)),
		"Meta": append([]byte{255}, l.bytes(100)...), "Vsn": []byte{1, 5, byte(2 + l.IntN(2)), 2, 5, 4}, "State": l.IntN(4),
	}
}

// message is one lie.
func (l *liar) message() []byte {
	from := l.someone()
	accusation := map[string]any{"Incarnation": l.incarnation(), "Node": l.someone(), "From": from}
	switch l.IntN(12) {
	case 0:
		return pack([]byte{3}, accusation) // suspect
	case 1:
		return pack([]byte{5}, accusation) // dead
	case 2: // has left
		accusation["Node"] = from
		return pack([]byte{5}, accusation)
	case 3, 4:
		return pack([]byte{4}, l.state("Node")) // alive
	case 5: // an ack with a root hash that we do not have
		return pack([]byte{2}, map[string]any{"SeqNo": l.Uint32N(2000), "Payload": l.bytes(200)})
	case 6: // serf: leave, join
		return pack([]byte{8, byte(l.IntN(2))}, map[string]any{"LTime": l.Uint64N(1 << 40), "Node": l.someone(), "Prune": l.IntN(2) == 0})
	case 7: // serf: event
		return pack([]byte{8, 3}, map[string]any{"LTime": l.Uint64N(1 << 40), "Name": "deploy", "Payload": l.bytes(200), "CC": false})
	case 8: // serf: query
		return pack([]byte{8, 4}, map[string]any{
			"LTime": l.Uint64N(1 << 40), "ID": l.Uint32(), "Addr": l.addr(), "Port": uint16(7946), "SourceNode": l.someone(),
			"Filters": [][]byte{}, "Flags": 0, "Timeout": int64(time.Second), "Name": "_serf_conflict", "Payload": []byte(l.someone()),
		})
	case 9, 10:
		return append([]byte{8, 0xd1}, l.rumour()...)
	}
	return append([]byte{byte(l.IntN(14))}, l.bytes(300)...)
}

// rumour is the news of a document that nobody has signed.
func (l *liar) rumour() []byte {
	id := l.victim().Joined.Router
	keys := []tables.DocKey{
		tables.LinkRecordKey(id), tables.EnrolmentKey(id), tables.VNKey(1), tables.ManifestKey(1), tables.RootKey(2),
		{Kind: tables.KindRevocation, ID: "00000000000000000000"},
	}
	r := mesh.Rumour{Holder: id, Digest: tables.Digest{Key: keys[l.IntN(len(keys))], Version: l.Uint64N(1 << 34)}}
	if l.IntN(2) == 0 {
		r.Holder = l.self
	}
	copy(r.Digest.Hash[:], l.bytes(33))
	if l.IntN(2) == 0 {
		// A document that is whole, of a signer who may not.
		key := newKey(byte(l.IntN(3)))
		d, err := tables.Sign(tables.Revocation{Version: 1, Identity: tables.PublicOf(newKey(9)), Issued: time.Now().Unix()}, key)
		if l.IntN(2) == 0 {
			d, err = tables.Sign(tables.LinkRecord{
				Version: 1 << 60, Router: id, Link: tables.LinkKey{1}, VRKind: "regular",
				Endpoints: []netip.AddrPort{netip.MustParseAddrPort("198.51.100.1:1")},
			}, key)
		}
		if err != nil {
			panic(err)
		}
		r.Digest, r.Body = d.Digest(), d.Bytes()
	}
	return mesh.AppendRumour(nil, r)
}

// packet is one datagram of lies.
func (l *liar) packet() []byte {
	n := 1 + l.IntN(4)
	if n == 1 {
		return l.message()
	}
	b := []byte{7, byte(n)}
	var parts []byte
	for range n {
		m := l.message()
		b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
		parts = append(parts, m...)
	}
	return append(b, parts...)
}

// exchange is the start of a push/pull stream that claims states.
func (l *liar) exchange() []byte {
	n := 1 + l.IntN(5)
	b := pack([]byte{6}, map[string]any{"Nodes": n, "UserStateLen": 0, "Join": l.IntN(2) == 0})
	for range n {
		b = pack(b, l.state("Name"))
	}
	return b
}

// TestGossipLies: an enrolled VR feeds the others random members, tags, leaves, incarnations and
// rumours for an hour. What the honest VRs decide by, their keys and their links stay as they are,
// byte for byte, and no packet between their hosts is lost.
func TestGossipLies(t *testing.T) {
	inWorld(t, 80, func(t *testing.T, w *nodetest.World) {
		const honest = 5
		all := w.Prepared(honest + 1)
		sites, evil := all[:honest], all[honest]
		var hosts []netip.Addr
		for _, s := range sites {
			hosts = append(hosts, s.NewHost())
		}
		createVN(w, "physics", hosts...)
		var flows []*nodetest.Flow
		for i, s := range sites {
			next := (i + 1) % honest
			if !w.Reaches(s, hosts[i], sites[next], hosts[next], 10*time.Second) {
				t.Fatal("no traffic")
			}
			flows = append(flows, w.NewFlow(s, hosts[i], sites[next], hosts[next]))
		}
		w.Run(time.Minute, time.Second, flows...)
		evil.Kill()
		evil.Plug()
		p := newImpostor(t, evil)
		defer p.close()
		// What gossip says of the liar itself, and does with it, is no matter.
		w.Run(2*time.Minute, time.Second, flows...)
		holdings := func() (list []node.Holding) {
			for i, s := range sites {
				h, err := s.Node.Holding(background)
				if err != nil {
					t.Fatal(err)
				}
				keep(&h, sites[(i+1)%honest].Joined.Router, sites[(i+honest-1)%honest].Joined.Router)
				list = append(list, h)
			}
			return list
		}
		before, start := holdings(), time.Now()
		for i, h := range before {
			if len(h.Links) != 2 || len(h.Takes) != 2 {
				t.Fatalf("%s has links %v, takes %v", sites[i].Name, h.Links, h.Takes)
			}
		}
		l := &liar{rand.New(rand.NewPCG(1, 80)), evil.Joined.Router, sites}
		rounds := scaled(3600/5, 3600)
		for i := range rounds {
			for range 5 {
				p.say(l.victim(), l.packet())
			}
			switch i % 10 {
			case 0:
				p.stream(l.victim(), 1, l.exchange())
			case 5:
				p.stream(l.victim(), 2, l.bytes(2000))
			}
			w.Run(time.Hour/time.Duration(rounds), time.Hour/time.Duration(rounds), flows...)
		}
		w.Settle(time.Second)
		for i, h := range holdings() {
			if !reflect.DeepEqual(h, before[i]) {
				t.Errorf("%s: changed:\n%+v\n%+v", sites[i].Name, before[i], h)
			}
		}
		lost, sent := 0, 0
		for _, f := range flows {
			lost += f.Lost(start)
			sent += f.Sent()
		}
		if lost > 0 {
			t.Errorf("%d of %d packets lost", lost, sent)
		}
		drops := map[string]uint64{}
		for _, s := range sites {
			for reason, n := range s.Node.GossipDrops() {
				drops[reason] += n
			}
			if n := s.Node.GossipNotOpened(); n > 0 {
				t.Errorf("%s could not open %d lies, which then prove nothing", s.Name, n)
			}
			if m := s.Status().Members; m < honest {
				t.Errorf("%s believes %d members to be alive", s.Name, m)
			}
		}
		t.Logf("%d packets of lies, %d of traffic; gossip dropped %v", 5*rounds, sent, drops)
		if len(drops) < 5 {
			t.Error("too little was dropped, so the lies hardly arrived")
		}

		// The comparison can fail: an honest change shows in it.
		w.Must(sites[0], policy.OpVNJoin, policy.VNHostsArgs{VN: "physics", Hosts: []netip.Addr{sites[1].NewHost()}})
		w.Settle(10 * time.Second)
		for i, h := range holdings() {
			if reflect.DeepEqual(h.Tables, before[i].Tables) {
				t.Errorf("%s: an honest change of a VN does not show, so the test proves nothing", sites[i].Name)
			}
		}
	})
}

// keep leaves in h only what concerns routers.
func keep(h *node.Holding, routers ...tables.RouterID) {
	is := map[tables.RouterID]bool{}
	for _, id := range routers {
		is[id] = true
	}
	for id := range h.Links {
		if !is[id] {
			delete(h.Links, id)
			delete(h.Endpoints, id)
			delete(h.Keys, id)
			delete(h.Sends, id)
		}
	}
	for c := range h.Takes {
		if !is[c.Router] {
			delete(h.Takes, c)
		}
	}
}
