package forward

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

func mustSnapshot(tb testing.TB, in Input) *Snapshot {
	tb.Helper()
	s, err := NewSnapshot(in)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func set(router tables.RouterID, prefixes ...string) Set {
	s := Set{Routers: []tables.RouterID{router}}
	for _, p := range prefixes {
		s.Prefixes = append(s.Prefixes, prefix(p))
	}
	return s
}

func hosts(attachment int, addrs ...string) []LocalHost {
	var out []LocalHost
	for _, a := range addrs {
		out = append(out, LocalHost{addr(a), attachment})
	}
	return out
}

// figure310 is the example of the dissertation's figure 3-10, in its own addresses: domains A,
// B and C with VRs 1, 2 and 3; VN1 joins hosts of A and B, VN2 hosts of A and C. Every VR has
// every GNDT and the LNDT of its own domain.
func figure310(tb testing.TB, self tables.RouterID) *Snapshot {
	a, b, c := "172.16.0.0/24", "172.16.10.0/24", "172.16.20.0/24"
	local := map[tables.RouterID][2][]LocalHost{
		1: {hosts(0, "172.16.0.10", "172.16.0.11"), hosts(0, "172.16.0.20", "172.16.0.21")},
		2: {hosts(0, "172.16.10.11", "172.16.10.12"), nil},
		3: {nil, hosts(0, "172.16.20.11", "172.16.20.12")},
	}
	return mustSnapshot(tb, Input{
		Self:  self,
		Space: []netip.Prefix{prefix("172.16.0.0/16")},
		VNs: []VNInput{
			{ID: 1, Seal: tables.SealEncrypt, Sets: []Set{set(1, a), set(2, b)}, Local: local[self][0]},
			{ID: 2, Seal: tables.SealAuth, Sets: []Set{set(1, a), set(3, c)}, Local: local[self][1]},
		},
		PathMTU: map[tables.RouterID]int{1: 1400, 2: 1400, 3: 1400},
	})
}

// send takes one packet all the way: decided at the VR it starts from, and, if that forwards
// it, at the VR it goes to. It returns where it was dropped, 0 if nowhere, and why.
func send(vrs map[tables.RouterID]*Snapshot, at tables.RouterID, b []byte) (d Decision, dropper tables.RouterID, drop Drop) {
	d = Decide(vrs[at], 0, b)
	if d.Drop != DropNone {
		return d, at, d.Drop
	}
	if d.Local {
		return d, 0, DropNone
	}
	if _, drop = Arrived(vrs[d.To], at, d.VN, b[:d.Packet.Length]); drop != DropNone {
		return d, d.To, drop
	}
	return d, 0, DropNone
}

func TestFigure310(t *testing.T) {
	vrs := map[tables.RouterID]*Snapshot{1: figure310(t, 1), 2: figure310(t, 2), 3: figure310(t, 3)}
	const a, b, c = 1, 2, 3
	tests := []struct {
		at       tables.RouterID
		src, dst string
		dropper  tables.RouterID
		drop     Drop
		vn       tables.VNID
		to       tables.RouterID
	}{
		{a, "172.16.0.10", "172.16.10.11", 0, DropNone, 1, b}, // the text's own example
		{b, "172.16.10.11", "172.16.0.10", 0, DropNone, 1, a},
		{a, "172.16.0.20", "172.16.20.11", 0, DropNone, 2, c},
		{c, "172.16.20.11", "172.16.0.20", 0, DropNone, 2, a},
		// "If a host in DomainB tries to communicate to a host in DomainC, packets will be dropped by
		// VRs, as there is no matching entry in GNDT-VN1 and GNDT-VN2."
		{b, "172.16.10.11", "172.16.20.11", b, DropNoRoute, 0, 0},
		{c, "172.16.20.11", "172.16.10.11", c, DropNoRoute, 0, 0},
		// A host of A that is in the one VN only does not reach the other.
		{a, "172.16.0.10", "172.16.20.11", a, DropNoRoute, 0, 0},
		{a, "172.16.0.20", "172.16.10.11", a, DropNoRoute, 0, 0},
		// B and C reach A's prefix in their own VN, but not the hosts that are in the other.
		{b, "172.16.10.11", "172.16.0.20", a, DropNotMember, 1, a},
		{c, "172.16.20.11", "172.16.0.10", a, DropNotMember, 2, a},
		// Hosts that are no members, and those of another domain.
		{a, "172.16.0.99", "172.16.10.11", a, DropSource, 0, 0},
		{a, "172.16.10.11", "172.16.0.10", a, DropSource, 0, 0},
		{a, "172.16.0.10", "172.16.10.99", b, DropNotMember, 1, b},
		{a, "172.16.0.10", "192.0.2.1", a, DropSpace, 0, 0},
		// Inside domain A the VR keeps the VNs apart as well.
		{a, "172.16.0.10", "172.16.0.11", 0, DropNone, 1, 0},
		{a, "172.16.0.20", "172.16.0.21", 0, DropNone, 2, 0},
		{a, "172.16.0.10", "172.16.0.20", a, DropNotMember, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.src+" to "+test.dst, func(t *testing.T) {
			d, dropper, drop := send(vrs, test.at, udp(test.src, test.dst, 100))
			if dropper != test.dropper || drop != test.drop || d.VN != test.vn || d.To != test.to {
				t.Errorf("dropped at %v for %v, %v to %v; want at %v for %v, %v to %v",
					dropper, drop, d.VN, d.To, test.dropper, test.drop, test.vn, test.to)
			}
			if drop == DropNone && d.Local != (test.to == 0) {
				t.Errorf("local %v", d.Local)
			}
		})
	}

	// What a VR that does not obey the rules could send.
	forged := []struct {
		name     string
		from     tables.RouterID
		vn       tables.VNID
		src, dst string
		want     Drop
	}{
		{"C relabels into VN1", c, 1, "172.16.20.11", "172.16.0.10", DropForeignSource},
		{"C claims a host of B", c, 1, "172.16.10.11", "172.16.0.10", DropForeignSource},
		{"C claims a host of A", c, 2, "172.16.0.21", "172.16.0.20", DropForeignSource},
		{"B sends in VN2", b, 2, "172.16.10.11", "172.16.0.20", DropForeignSource},
		{"A's own ID comes back", a, 1, "172.16.0.11", "172.16.0.10", DropForeignSource},
		{"B sends to a host of VN2", b, 1, "172.16.10.11", "172.16.0.20", DropNotMember},
		{"B sends in no VN", b, 7, "172.16.10.11", "172.16.0.10", DropVN},
		{"B sends from outside", b, 1, "192.0.2.1", "172.16.0.10", DropSpace},
		{"B sends to outside", b, 1, "172.16.10.11", "192.0.2.1", DropSpace},
		{"B sends rightly", b, 1, "172.16.10.99", "172.16.0.10", DropNone},
	}
	for _, test := range forged {
		t.Run(test.name, func(t *testing.T) {
			if _, drop := Arrived(vrs[a], test.from, test.vn, udp(test.src, test.dst, 100)); drop != test.want {
				t.Errorf("%v, want %v", drop, test.want)
			}
		})
	}
}

// Two VNs use the same addresses. Remote VRs tell them apart by the VN of the packet, so one
// attachment is enough; on the VR that has both hosts, each has its own attachment.
func TestSameSpaceInTwoVNs(t *testing.T) {
	const near, far = 1, 2
	vns := func(one, two []LocalHost) []VNInput {
		sets := []Set{set(near, "10.1.0.0/24", "fd01::/64"), set(far, "10.2.0.0/24", "fd02::/64")}
		return []VNInput{
			{ID: 1, Seal: tables.SealEncrypt, Sets: sets, Local: one},
			{ID: 2, Seal: tables.SealEncrypt, Sets: sets, Local: two},
		}
	}
	space := []netip.Prefix{prefix("10.0.0.0/8"), prefix("fd00::/8")}
	// far: 10.2.0.5 is in VN1, 10.2.0.6 in VN2, on one attachment.
	// near: 10.1.0.5 is two hosts, one in each VN, on attachments 0 and 1.
	remote := mustSnapshot(t, Input{Self: far, Space: space,
		VNs: vns(hosts(0, "10.2.0.5", "fd02::5"), hosts(0, "10.2.0.6", "fd02::6"))})
	local := mustSnapshot(t, Input{Self: near, Space: space,
		Attachments: []Attachment{{VNs: []tables.VNID{1}}, {VNs: []tables.VNID{2}}},
		VNs: vns(append(hosts(0, "10.1.0.5", "fd01::5"), hosts(0, "10.1.0.7")...),
			append(hosts(1, "10.1.0.5", "fd01::5"), hosts(1, "10.1.0.8")...))})

	for _, test := range []struct {
		src, dst   string
		vn         tables.VNID
		attachment int
	}{
		{"10.2.0.5", "10.1.0.5", 1, 0},
		{"10.2.0.6", "10.1.0.5", 2, 1},
		{"fd02::5", "fd01::5", 1, 0},
		{"fd02::6", "fd01::5", 2, 1},
	} {
		there := udp(test.src, test.dst, 100)
		d := Decide(remote, 0, there)
		if d.Drop != DropNone || d.VN != test.vn || d.To != near {
			t.Fatalf("%s to %s: %+v", test.src, test.dst, d)
		}
		if at, drop := Arrived(local, far, d.VN, there); drop != DropNone || at != test.attachment {
			t.Errorf("%s to %s arrives at %d, %v; want attachment %d", test.src, test.dst, at, drop, test.attachment)
		}
		back := udp(test.dst, test.src, 100)
		for attachment := range 2 {
			d := Decide(local, attachment, back)
			if d.Drop != DropNone || d.VN != tables.VNID(attachment+1) || d.To != far {
				t.Fatalf("%s to %s from %d: %+v", test.dst, test.src, attachment, d)
			}
			want := DropNone
			if attachment != test.attachment {
				want = DropNotMember
			}
			if _, drop := Arrived(remote, near, d.VN, back); drop != want {
				t.Errorf("%s to %s from attachment %d: %v, want %v", test.dst, test.src, attachment, drop, want)
			}
		}
	}

	// Between local hosts the attachment decides as well.
	for _, test := range []struct {
		attachment int
		dst        string
		want       Drop
	}{
		{0, "10.1.0.7", DropNone}, {0, "10.1.0.8", DropNotMember},
		{1, "10.1.0.7", DropNotMember}, {1, "10.1.0.8", DropNone},
	} {
		d := Decide(local, test.attachment, udp("10.1.0.5", test.dst, 100))
		if d.Drop != test.want || d.Drop == DropNone && (!d.Local || d.Attachment != test.attachment) {
			t.Errorf("attachment %d to %s: %+v; want %v", test.attachment, test.dst, d, test.want)
		}
	}
}

// A host in two VNs goes out in the lowest whose GNDT has the destination and that policy allows.
func TestHostInTwoVNs(t *testing.T) {
	in := Input{
		Self:  1,
		Space: []netip.Prefix{prefix("10.0.0.0/8")},
		VNs: []VNInput{ // not in order
			{ID: 9, Seal: tables.SealAuth, Sets: []Set{set(1, "10.1.0.0/24"), set(2, "10.2.0.0/24"), set(4, "10.4.0.0/24")}, Local: hosts(0, "10.1.0.5")},
			{ID: 3, Seal: tables.SealEncrypt, Sets: []Set{set(1, "10.1.0.0/24"), set(2, "10.2.0.0/24"), set(3, "10.3.0.0/24")}, Local: hosts(0, "10.1.0.5")},
		},
	}
	check := func(s *Snapshot, dst string, vn tables.VNID, seal tables.Seal, drop Drop) {
		t.Helper()
		if d := Decide(s, 0, udp("10.1.0.5", dst, 60)); d.VN != vn || d.Seal != seal || d.Drop != drop {
			t.Errorf("to %s: %v %v %v; want %v %v %v", dst, d.VN, d.Seal, d.Drop, vn, seal, drop)
		}
	}
	s := mustSnapshot(t, in)
	check(s, "10.2.0.1", 3, tables.SealEncrypt, DropNone)
	check(s, "10.3.0.1", 3, tables.SealEncrypt, DropNone)
	check(s, "10.4.0.1", 9, tables.SealAuth, DropNone)
	check(s, "10.5.0.1", 0, "", DropNoRoute)

	in.Policy = func(vn tables.VNID, p Packet) bool { return vn != 3 }
	s = mustSnapshot(t, in)
	check(s, "10.2.0.1", 9, tables.SealAuth, DropNone)
	check(s, "10.3.0.1", 0, "", DropPolicy)
	if _, drop := Arrived(s, 2, 3, udp("10.2.0.1", "10.1.0.5", 60)); drop != DropPolicy {
		t.Errorf("arrived: %v", drop)
	}
}

// TestKnownMemberChoosesTheVN: two VNs hold one prefix of the other site. A packet for a host that
// is in the second alone must go in the second, though the first would take it.
func TestKnownMemberChoosesTheVN(t *testing.T) {
	in := Input{
		Self: 1, Space: []netip.Prefix{prefix("172.16.0.0/16")},
		VNs: []VNInput{
			{ID: 1, Seal: tables.SealEncrypt, Sets: []Set{set(1, "172.16.0.0/24"), set(2, "172.16.10.0/24")}, Local: hosts(0, "172.16.0.10")},
			{ID: 2, Seal: tables.SealEncrypt, Sets: []Set{set(1, "172.16.0.0/24"), set(2, "172.16.10.0/24")}, Local: hosts(0, "172.16.0.10")},
		},
	}
	decide := func(dst string) tables.VNID {
		return Decide(mustSnapshot(t, in), 0, udp("172.16.0.10", dst, 60)).VN
	}
	if vn := decide("172.16.10.12"); vn != 1 {
		t.Fatalf("without known members the packet goes in %v, want the lowest", vn)
	}
	in.VNs[0].Members = []netip.Addr{addr("172.16.0.10"), addr("172.16.10.11")}
	in.VNs[1].Members = []netip.Addr{addr("172.16.0.10"), addr("172.16.10.12")}
	for dst, want := range map[string]tables.VNID{"172.16.10.11": 1, "172.16.10.12": 2, "172.16.10.13": 1} {
		if vn := decide(dst); vn != want {
			t.Errorf("a packet for %s goes in %v, want %v", dst, vn, want)
		}
	}
}

func TestDecideFit(t *testing.T) {
	s := figure310(t, 1)
	v6 := mustSnapshot(t, Input{Self: 1, Space: []netip.Prefix{prefix("fd00::/8")}, Own: []netip.Addr{addr("fd01::1")},
		VNs:     []VNInput{{ID: 1, Seal: tables.SealAuth, Sets: []Set{set(2, "fd02::/64")}, Local: hosts(0, "fd01::5")}},
		PathMTU: map[tables.RouterID]int{2: 1400}})
	tests := []struct {
		name   string
		six    bool
		df     bool
		length int
		mtu    int // 0: not measured
		drop   Drop
		fit    Fit
		tooBig int
	}{
		{"fits", false, false, 1400, 1400, DropNone, FitWhole, 0},
		{"DF clear", false, false, 1401, 1400, DropNone, FitIPFrag, 0},
		{"DF", false, true, 1401, 1400, DropTooBig, 0, 1400},
		{"IPv6", true, true, 1401, 1400, DropTooBig, 0, 1400},
		{"narrow path", false, true, 1280, 1200, DropNone, FitSplit, 0},
		{"narrow path, DF clear", false, false, 1280, 1200, DropNone, FitSplit, 0},
		{"narrow path, IPv6", true, true, 1280, 1200, DropNone, FitSplit, 0},
		{"narrow path, too big", false, true, 1281, 1200, DropTooBig, 0, 1200},
		{"narrow path, too big, IPv6", true, true, 1281, 1200, DropTooBig, 0, 1280},
		{"narrow path, DF clear, big", false, false, 1281, 1200, DropNone, FitIPFrag, 0},
		{"not measured", false, true, 1280, 0, DropNone, FitWhole, 0},
		{"not measured, big", false, true, 1281, 0, DropTooBig, 0, 1280},
		{"impossibly narrow", false, true, 1500, 3, DropTooBig, 0, 640},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			paths := map[tables.RouterID]int{2: test.mtu}
			if test.mtu == 0 {
				delete(paths, 2)
			}
			s, b := s.WithLinks(paths, nil), udp("172.16.0.10", "172.16.10.11", test.length)
			if test.six {
				s, b = v6.WithLinks(paths, nil), udp("fd01::5", "fd02::5", test.length)
			} else if test.df {
				b = withFlags(b, 0x4000)
			}
			d := Decide(s, 0, append(b, "behind"...))
			want := ICMPNone
			if test.drop == DropTooBig {
				want = ICMPTooBig
			}
			if d.Drop != test.drop || d.Fit != test.fit || d.TooBig != test.tooBig || d.ICMP != want || d.Packet.Length != test.length {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestEveryDrop gives one packet for each reason.
func TestEveryDrop(t *testing.T) {
	s := figure310(t, 1)
	good := udp("172.16.0.10", "172.16.10.11", 100)
	in := udp("172.16.10.11", "172.16.0.10", 100)
	decide := func(b []byte) Drop { return Decide(s, 0, b).Drop }
	arrived := func(from tables.RouterID, vn tables.VNID, b []byte) Drop {
		_, drop := Arrived(s, from, vn, b)
		return drop
	}
	strict := *s
	strict.policy = func(tables.VNID, Packet) bool { return false }
	got := [DropCount]Drop{
		DropNone:          decide(good),
		DropShort:         decide(good[:99]),
		DropVersion:       decide(make([]byte, 100)),
		DropHeader:        decide(edit(good, 0, 0x44)),
		DropChecksum:      decide(append(append(bytes.Clone(good[:10]), good[10]^1), good[11:]...)),
		DropOption:        decide(withOptions(good, 131, 3, 4, 0)),
		DropMapped:        decide(udp("::ffff:172.16.0.10", "fd00::1", 100)),
		DropBadSource:     decide(udp("127.0.0.1", "172.16.10.11", 100)),
		DropBadDest:       decide(udp("172.16.0.10", "224.0.0.5", 100)),
		DropAttachment:    Decide(s, 1, good).Drop,
		DropSource:        decide(udp("172.16.0.99", "172.16.10.11", 100)),
		DropSpace:         decide(udp("172.16.0.10", "192.0.2.1", 100)),
		DropNoRoute:       decide(udp("172.16.0.10", "172.16.99.1", 100)),
		DropPolicy:        Decide(&strict, 0, good).Drop,
		DropTTL:           decide(edit(good, 8, 1)),
		DropNotMember:     decide(udp("172.16.0.10", "172.16.0.99", 100)),
		DropTooBig:        decide(withFlags(udp("172.16.0.10", "172.16.10.11", 1500), 0x4000)),
		DropTrailing:      arrived(2, 1, append(bytes.Clone(in), 0)),
		DropVN:            arrived(2, 5, in),
		DropForeignSource: arrived(3, 1, in),
		DropHeadless:      DropHeadless, // counted where runs are joined
		DropCongestion:    DropCongestion,
	}
	names := make(map[string]bool)
	for want, drop := range got {
		if drop != Drop(want) {
			t.Errorf("got %v, want %v", drop, Drop(want))
		}
		if name := drop.String(); name == "" || names[name] {
			t.Errorf("reason %d is called %q", drop, name)
		} else {
			names[name] = true
		}
	}
	if Drop(DropCount).String() != "invalid" {
		t.Error("a reason that does not exist has a name")
	}
	if arrived(2, 1, edit(in, 8, 0)) != DropTTL || arrived(2, 1, edit(in, 8, 1)) != DropNone {
		t.Error("TTL of what arrives")
	}
	if d := Decide(s, 0, edit(good, 8, 0)); d.Drop != DropTTL || d.ICMP != ICMPTimeExceeded {
		t.Errorf("TTL 0: %+v", d)
	}
	if Decide(s, -1, good).Drop != DropAttachment || Decide(new(Snapshot), 0, good).Drop != DropAttachment {
		t.Error("no attachment")
	}
	if _, drop := Arrived(new(Snapshot), 2, 1, in); drop != DropVN {
		t.Error("the zero Snapshot takes a packet")
	}
}

func TestPacketPathDoesNotAllocate(t *testing.T) {
	s := figure310(t, 1)
	s.own4, s.own6 = addr("172.16.0.1"), addr("fd00::1")
	s.policy = func(vn tables.VNID, p Packet) bool { return p.Proto != 99 }
	out, in := tcpSYN("172.16.0.10", "172.16.10.11", 0x02, 2, 4, 0xff, 0xff), udp("172.16.10.11", "172.16.0.10", 100)
	big := udp("172.16.0.10", "172.16.10.11", 1500)
	frags := make([][]byte, 4)
	for i := range frags {
		frags[i] = make([]byte, 0, 1400)
	}
	buf, icmp := make([]byte, 0, MinMTU), make([]byte, 0, ICMPBytesMax)
	joiner := NewJoiner(4)
	bucket := NewTokenBucket(ICMPRate, ICMPBurst)
	var counter uint64
	var cache Cache
	steps := map[string]func(){
		"Decide":     func() { Decide(s, 0, out) },
		"Cache":      func() { cache.DecideSuper(s, 0, out, 0) },
		"new Cache":  func() { cache.of = nil; cache.DecideSuper(s, 0, out, 0) },
		"Decide bad": func() { Decide(s, 0, out[:30]) },
		"Arrived":    func() { Arrived(s, 2, 1, in) },
		"TTL":        func() { DecrementTTL(in); in[8] = 64 },
		"ClampMSS": func() {
			p, _ := Parse(out)
			ClampMSS(out, p, 1400)
		},
		"ICMP": func() {
			p, _ := Parse(out)
			AppendICMP(icmp, s, Decision{ICMP: ICMPTooBig, TooBig: 1400, Packet: p}, out)
			bucket.Take(time.Time{})
		},
		"IPFrags": func() {
			p, _ := Parse(big)
			for i := range frags {
				frags[i] = frags[i][:0]
			}
			AppendIPFrags(frags, big, p, 1400)
		},
		"Split": func() {
			first, second := Split(in)
			peer := tables.RouterID(counter % 8) // more peers than places
			joiner.Add(buf, Piece{Peer: peer, Counter: counter, Bytes: first})
			joiner.Add(buf, Piece{Peer: peer, Counter: counter + 1, Second: true, Bytes: second})
			counter++
		},
	}
	for name, step := range steps {
		for range 10 {
			step() // what is made once
		}
		if n := testing.AllocsPerRun(200, step); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
