package forward

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"pgregory.net/rapid"
)

// The reference forwarder: lists, loops over every address there is, and packets that are
// values and were never bytes. It shares with the package only the types of its input and the
// names of the reasons.

// universe is every address of the small ViNe space that the property tests use.
var universe = func() []netip.Addr {
	var all []netip.Addr
	for i := range byte(64) {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, i}), netip.AddrFrom16([16]byte{0: 0xfd, 15: i}))
	}
	return all
}()

var vnIDs = []tables.VNID{1, 2, 3, 7, 1 << 31}

var smallSpace = []netip.Prefix{prefix("10.0.0.0/27"), prefix("10.0.0.32/28"), prefix("fd00::/122")}

// A plainPacket is a packet before it is bytes.
type plainPacket struct {
	src, dst netip.Addr
	ttl      byte
	length   int
	df       bool
}

func (p plainPacket) bytes() []byte {
	b := udp(p.src.String(), p.dst.String(), p.length)
	if p.src.Is6() {
		b[7] = p.ttl
		return b
	}
	if p.df {
		b = withFlags(b, 0x4000)
	}
	return edit(b, 8, p.ttl)
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// setsOf returns the indices of vn's sets that deliver a.
func setsOf(vn VNInput, a netip.Addr) []int {
	var found []int
	for i, s := range vn.Sets {
		if contains(s.Prefixes, a) {
			found = append(found, i)
		}
	}
	return found
}

// ambiguous reports whether some packet would have two answers.
func ambiguous(in Input) bool {
	for i, vn := range in.VNs {
		for _, a := range universe {
			if len(setsOf(vn, a)) > 1 {
				return true
			}
		}
		for _, other := range in.VNs[:i] {
			if !slices.ContainsFunc(vn.Local, func(h LocalHost) bool { return slices.Contains(other.Local, h) }) {
				continue
			}
			for _, a := range universe {
				s, o := setsOf(vn, a), setsOf(other, a)
				if len(s) > 0 && len(o) > 0 && !slices.Equal(vn.Sets[s[0]].Routers, other.Sets[o[0]].Routers) {
					return true
				}
			}
		}
	}
	return false
}

func memberAt(vn VNInput, a netip.Addr) (attachment int, ok bool) {
	for _, h := range vn.Local {
		if h.Addr == a {
			return h.Attachment, true
		}
	}
	return 0, false
}

// referenceDecide says what becomes of p. Of a delivery set any router may get it: chosen is the one that did.
func referenceDecide(in Input, attachment int, p plainPacket, chosen tables.RouterID) Decision {
	vns := slices.Clone(in.VNs)
	slices.SortFunc(vns, func(a, b VNInput) int { return int(a.ID) - int(b.ID) })
	local := false
	for _, vn := range vns {
		if !slices.Contains(vn.Local, LocalHost{p.src, attachment}) {
			continue
		}
		local = true
		sets := setsOf(vn, p.dst)
		if !contains(in.Space, p.dst) || len(sets) == 0 {
			continue
		}
		routers := vn.Sets[sets[0]].Routers
		d := Decision{VN: vn.ID, Seal: vn.Seal}
		if p.ttl < 2 {
			d.Drop, d.ICMP = DropTTL, ICMPTimeExceeded
			return d
		}
		if slices.Contains(routers, in.Self) {
			at, ok := memberAt(vn, p.dst)
			if !ok {
				d.Drop = DropNotMember
				return d
			}
			d.Local, d.Attachment = true, at
			return d
		}
		d.To, d.PathMTU = routers[0], 1280
		if slices.Contains(routers, chosen) {
			d.To = chosen
		}
		if mtu, ok := in.PathMTU[d.To]; ok {
			d.PathMTU = mtu
		}
		four := p.src.Is4()
		switch {
		case p.length <= d.PathMTU:
		case p.length <= 1280:
			d.Fit = FitSplit
		case four && !p.df:
			d.Fit = FitIPFrag
		case four:
			d.Drop, d.ICMP, d.TooBig = DropTooBig, ICMPTooBig, d.PathMTU
		case d.PathMTU < 1280:
			d.Drop, d.ICMP, d.TooBig = DropTooBig, ICMPTooBig, 1280
		default:
			d.Drop, d.ICMP, d.TooBig = DropTooBig, ICMPTooBig, d.PathMTU
		}
		return d
	}
	switch {
	case !local:
		return Decision{Drop: DropSource}
	case !contains(in.Space, p.dst):
		return Decision{Drop: DropSpace}
	}
	return Decision{Drop: DropNoRoute}
}

func referenceArrived(in Input, from tables.RouterID, id tables.VNID, p plainPacket) (int, Drop) {
	for _, vn := range in.VNs {
		if vn.ID != id {
			continue
		}
		sets := setsOf(vn, p.src)
		at, member := memberAt(vn, p.dst)
		switch {
		case !contains(in.Space, p.src) || !contains(in.Space, p.dst):
			return 0, DropSpace
		case from == in.Self || len(sets) == 0 || !slices.Contains(vn.Sets[sets[0]].Routers, from):
			return 0, DropForeignSource
		case p.ttl == 0:
			return 0, DropTTL
		case !member:
			return 0, DropNotMember
		}
		return at, DropNone
	}
	return 0, DropVN
}

// randomFederation makes what the VRs 1 to 4 have installed: the same GNDTs, their own LNDTs.
// Each VR mostly delivers parts of its own block, so that most of it is accepted.
// What rapid draws leans to small and equal values, with which little gets through: hence rng.
func randomFederation(rng *rand.Rand) map[tables.RouterID]Input {
	const routers = 4
	ids := slices.Clone(vnIDs)
	rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	fed := make(map[tables.RouterID]Input)
	attachments := rng.IntN(2) + 1
	for r := tables.RouterID(1); r <= routers; r++ {
		fed[r] = Input{Self: r, Space: smallSpace, Attachments: make([]Attachment, attachments), PathMTU: map[tables.RouterID]int{
			r%routers + 1: pick(rng, []int{640, 1000, 1280, 1400}),
		}}
	}
	pair := rng.IntN(4) == 0 // VRs 3 and 4 share their blocks
	for _, id := range ids[:rng.IntN(4)+1] {
		seal := pick(rng, []tables.Seal{tables.SealAuth, tables.SealEncrypt})
		var sets []Set
		for r := 1; r <= routers; r++ {
			block := byte(8 * (r - 1))
			if rng.IntN(20) == 0 {
				block = byte(rng.IntN(40))
			}
			s := Set{Routers: []tables.RouterID{tables.RouterID(r)}}
			if pair && r >= 3 {
				s.Routers = []tables.RouterID{3, 4}
				if r == 4 {
					continue
				}
			}
			if rng.IntN(8) > 0 {
				bits := max(0, rng.IntN(8)-4)
				s.Prefixes = []netip.Prefix{
					netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, block}), 29+bits).Masked(),
					netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 15: block}), 125+bits).Masked(),
				}
				sets = append(sets, s)
			}
		}
		for r := tables.RouterID(1); r <= routers; r++ {
			in := fed[r]
			vn := VNInput{ID: id, Seal: seal, Sets: sets}
			for range rng.IntN(5) {
				host := byte(8*(r-1)) + byte(rng.IntN(8))
				at := rng.IntN(attachments)
				for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, host}), netip.AddrFrom16([16]byte{0: 0xfd, 15: host})} {
					if _, twice := memberAt(vn, a); !twice {
						vn.Local = append(vn.Local, LocalHost{a, at})
					}
				}
			}
			in.VNs = append(in.VNs, vn)
			fed[r] = in
		}
	}
	return fed
}

// randomPacket makes a packet of the small space.
func randomPacket(rng *rand.Rand, fed map[tables.RouterID]Input) plainPacket {
	p := plainPacket{
		src: pick(rng, universe),
		ttl: pick(rng, []byte{64, 64, 64, 64, 0, 1, 2, 255}),
		df:  rng.IntN(2) == 0,
	}
	p.dst = pick(rng, universe)
	// Three of four are from one member of a VN to another, or little would get far.
	if rng.IntN(4) > 0 {
		i := rng.IntN(len(fed[1].VNs))
		members := []netip.Addr{p.src}
		for r := tables.RouterID(1); r <= 4; r++ {
			for _, h := range fed[r].VNs[i].Local {
				members = append(members, h.Addr)
			}
		}
		p.src = pick(rng, members)
		for range 4 {
			if p.dst = pick(rng, members); p.dst.Is4() == p.src.Is4() && p.dst != p.src {
				break
			}
		}
	}
	for p.dst.Is4() != p.src.Is4() {
		p.dst = pick(rng, universe) // of two families there is no packet
	}
	if p.src.Is6() {
		p.df = true
	}
	p.length = pick(rng, []int{60, 640, 641, 1000, 1280, 1281, 1400, 1401, 1500})
	return p
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// TestAgainstReference makes federations and packets at random and holds NewSnapshot, Decide and Arrived
// against the reference. Along the way nothing may cross from one VN into another, whether the
// sending VR obeys or not.
func TestAgainstReference(t *testing.T) {
	accepted, refused, delivered, local, crossed := 0, 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		fed := randomFederation(rng)
		vrs := make(map[tables.RouterID]*Snapshot)
		for r := tables.RouterID(1); r <= 4; r++ {
			s, err := NewSnapshot(fed[r])
			if (err != nil) != ambiguous(fed[r]) {
				t.Fatalf("NewSnapshot: %v; ambiguous %v", err, ambiguous(fed[r]))
			}
			if err != nil {
				refused++
				return
			}
			vrs[r] = s
		}
		accepted++
		for range 100 {
			p := randomPacket(rng, fed)
			b := p.bytes()
			before := bytes.Clone(b)
			at := tables.RouterID(rng.IntN(4) + 1)
			if rng.IntN(8) > 0 {
				if last := p.src.AsSlice(); last[len(last)-1] < 32 {
					at = tables.RouterID(last[len(last)-1]/8 + 1)
				}
			}
			attachment := rng.IntN(vrs[at].Attachments())
			got := Decide(vrs[at], attachment, b)
			want := referenceDecide(fed[at], attachment, p, got.To)
			parsed := got.Packet
			got.Packet = Packet{}
			if got != want {
				t.Fatalf("%+v at %v: %+v; want %+v", p, at, got, want)
			}
			if parsed.Src != p.src || parsed.Dst != p.dst || parsed.Length != p.length || parsed.TTL != p.ttl || parsed.DF != p.df {
				t.Fatalf("%+v parsed as %+v", p, parsed)
			}
			if got.Drop == DropNone && got.Local {
				local++
				if !shareVN(fed, at, p.src, at, p.dst, got.VN) {
					crossed++
				}
			}

			// Then the packet arrives where it was sent, or anywhere, in any VN, as a VR that does
			// not obey might send it.
			from, to, vn := at, got.To, got.VN
			honest := got.Drop == DropNone && !got.Local
			if !honest || rng.IntN(2) == 0 {
				honest = false
				from = tables.RouterID(rng.IntN(4) + 1)
				to = tables.RouterID(rng.IntN(4) + 1)
				vn = pick(rng, vnIDs)
			}
			gotAt, gotDrop := Arrived(vrs[to], from, vn, b)
			wantAt, wantDrop := referenceArrived(fed[to], from, vn, p)
			if gotAt != wantAt || gotDrop != wantDrop {
				t.Fatalf("%+v from %v to %v in %v: %d, %v; want %d, %v", p, from, to, vn, gotAt, gotDrop, wantAt, wantDrop)
			}
			if gotDrop == DropNone {
				delivered++
				if honest && !shareVN(fed, from, p.src, to, p.dst, vn) {
					crossed++
				}
				// A VR that does not obey may make up hosts of its own prefixes, and no others.
				if _, member := memberAt(byID(fed[to], vn), p.dst); !member {
					crossed++
				}
			}
			if !bytes.Equal(b, before) {
				t.Fatal("the packet was changed")
			}
		}
	})
	t.Logf("%d federations accepted, %d refused as ambiguous; delivered %d times to another VR and %d times locally, crossed %d",
		accepted, refused, delivered, local, crossed)
	if crossed != 0 {
		t.Errorf("%d packets crossed from one VN into another", crossed)
	}
	if accepted < 20 || refused == 0 || delivered < 50 || local < 50 {
		t.Error("the cases made show too little")
	}
}

func byID(in Input, id tables.VNID) VNInput {
	i := slices.IndexFunc(in.VNs, func(vn VNInput) bool { return vn.ID == id })
	return in.VNs[i]
}

// shareVN reports whether src behind VR from and dst behind VR to are both members of the VN.
func shareVN(fed map[tables.RouterID]Input, from tables.RouterID, src netip.Addr, to tables.RouterID, dst netip.Addr, vn tables.VNID) bool {
	_, a := memberAt(byID(fed[from], vn), src)
	_, b := memberAt(byID(fed[to], vn), dst)
	return a && b
}

// The reference must see what the package is asked to drop: a packet made of plain values has
// the header fields that the test says.
func TestPlainPacketBytes(t *testing.T) {
	b := plainPacket{addr("10.0.0.1"), addr("10.0.0.2"), 7, 100, true}.bytes()
	if b[8] != 7 || binary.BigEndian.Uint16(b[2:]) != 100 || b[6] != 0x40 || slowChecksum(b[:20]) != 0 {
		t.Fatalf("%x", b[:20])
	}
}
