package hosts

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	noon  = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	addr  = netip.MustParseAddr
	block = netip.MustParsePrefix("10.192.1.0/24")
	plain = Pool{Blocks: []netip.Prefix{block, netip.MustParsePrefix("fd00:192:1::/64")}}
)

func add(t *testing.T, l Ledger, p Pool, a Ask) (Ledger, Host) {
	t.Helper()
	l, h, err := l.Add(noon, p, a)
	if err != nil {
		t.Fatal(err)
	}
	return l, h
}

func TestNextFree(t *testing.T) {
	p := plain
	p.Own = func(a netip.Addr) bool { return a == addr("10.192.1.3") }
	p.Member = func(a netip.Addr) bool { return a == addr("10.192.1.4") }
	l := Ledger{}
	var got []string
	for _, n := range []string{"a", "b", "c"} {
		var h Host
		l, h = add(t, l, p, Ask{Name: n})
		got = append(got, h.Addr.String())
	}
	l, _, err := l.Remove("b")
	if err != nil {
		t.Fatal(err)
	}
	l, h := add(t, l, p, Ask{Name: "d"})
	got = append(got, h.Addr.String())
	_, h = add(t, l, p, Ask{Name: "six", IPv6: true})
	got = append(got, h.Addr.String())
	// .0 is the network, .1 the gateway's, .3 the VR's own, .4 a member already; .5 was given back and rests.
	want := []string{"10.192.1.2", "10.192.1.5", "10.192.1.6", "10.192.1.7", "fd00:192:1::2"}
	if !slices.Equal(got, want) {
		t.Errorf("given %v, want %v", got, want)
	}
}

// A small block is given out whole, and then what has rested longest.
func TestReleasedLast(t *testing.T) {
	p := Pool{Blocks: []netip.Prefix{netip.MustParsePrefix("10.192.1.0/29")}} // .2 to .6
	l := Ledger{}
	for i := range 5 {
		l, _ = add(t, l, p, Ask{Name: fmt.Sprintf("h%d", i)})
	}
	if _, _, err := l.Add(noon, p, Ask{Name: "more"}); err == nil || !strings.Contains(err.Error(), "no address of [10.192.1.0/29] is free") {
		t.Errorf("a sixth host of five: %v", err)
	}
	for _, n := range []string{"h3", "h0", "h4"} {
		l, _, _ = l.Remove(n)
	}
	var got []string
	for _, n := range []string{"x", "y", "z"} {
		var h Host
		l, h = add(t, l, p, Ask{Name: n})
		got = append(got, h.Addr.String())
	}
	if want := []string{"10.192.1.5", "10.192.1.2", "10.192.1.6"}; !slices.Equal(got, want) {
		t.Errorf("given again %v, want %v", got, want)
	}
}

func TestAddRefuses(t *testing.T) {
	mac := MAC("02:00:5e:10:00:01")
	p := plain
	p.Own = func(a netip.Addr) bool { return a == addr("10.192.1.1") }
	l, desk := add(t, Ledger{}, p, Ask{Name: "desk", MAC: mac, Addr: addr("10.192.1.20")})
	if _, again := add(t, l, p, Ask{Name: "desk"}); again != desk {
		t.Errorf("asked again: %+v", again)
	}
	if _, again := add(t, l, p, Ask{Name: "desk", MAC: mac, Addr: desk.Addr}); again != desk {
		t.Errorf("asked again: %+v", again)
	}
	for name, c := range map[string]struct {
		ask  Ask
		want string
	}{
		"no name":       {Ask{}, "use 1 to 63"},
		"bad name":      {Ask{Name: "Desk"}, "use 1 to 63"},
		"long name":     {Ask{Name: strings.Repeat("x", 64)}, "use 1 to 63"},
		"other address": {Ask{Name: "desk", Addr: addr("10.192.1.21")}, "exists already"},
		"other MAC":     {Ask{Name: "desk", MAC: "02:00:5e:10:00:02"}, "exists already"},
		"address given": {Ask{Name: "lamp", Addr: desk.Addr}, "belongs to host desk"},
		"network":       {Ask{Name: "lamp", Addr: addr("10.192.1.0")}, "network or the broadcast"},
		"broadcast":     {Ask{Name: "lamp", Addr: addr("10.192.1.255")}, "network or the broadcast"},
		"anycast":       {Ask{Name: "lamp", Addr: addr("fd00:192:1::")}, "network or the broadcast"},
		"the VR's own":  {Ask{Name: "lamp", Addr: addr("10.192.1.1")}, "of the VR itself"},
		"foreign":       {Ask{Name: "lamp", Addr: addr("10.192.2.1")}, "not in this VR's blocks"},
		"machine known": {Ask{Name: "lamp", MAC: mac}, "is host desk already"},
	} {
		t.Run(name, func(t *testing.T) {
			after, _, err := l.Add(noon, p, c.ask)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if !reflect.DeepEqual(after, l) {
				t.Error("the ledger has changed")
			}
		})
	}
	// The same machine may have an address of the other family.
	add(t, l, p, Ask{Name: "desk-six", MAC: mac, IPv6: true})
	if _, _, err := l.Remove("lamp"); !errors.Is(err, ErrUnknown) {
		t.Errorf("remove nobody: %v", err)
	}
	four := Pool{Blocks: []netip.Prefix{block}}
	if _, _, err := l.Add(noon, four, Ask{Name: "six", IPv6: true}); err == nil || !strings.Contains(err.Error(), "no block of IPv6") {
		t.Errorf("IPv6 without a block: %v", err)
	}
}

// Whatever is asked, in any order: no two hosts share a name, an address or, within a family, a MAC; nobody gets an address
// that is not for hosts; an address that rests is given only when none is fresh; nothing that was kept changes under its
// holder; and what is written is read back.
func TestLedgerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(26, 31).Draw(t, "bits")
		b := netip.PrefixFrom(addr("10.192.1.0"), bits)
		own, member := addr("10.192.1.1"), addr("10.192.1.5")
		p := Pool{
			Blocks: []netip.Prefix{b},
			Own:    func(a netip.Addr) bool { return a == own }, Member: func(a netip.Addr) bool { return a == member },
		}
		l := Ledger{}
		had := map[netip.Addr]bool{}
		rested := []netip.Addr{}
		held := map[string]Host{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before, text := l, l.Encode()
			name := fmt.Sprintf("h%d", rapid.IntRange(0, 40).Draw(t, "host"))
			if rapid.Bool().Draw(t, "remove") && len(held) > 3 {
				after, h, err := l.Remove(name)
				if _, there := held[name]; there != (err == nil) {
					t.Fatalf("remove %s: %v, held %v", name, err, there)
				}
				if err == nil {
					delete(held, name)
					rested = append(rested, h.Addr)
				}
				l = after
			} else {
				a := Ask{Name: name}
				if rapid.Bool().Draw(t, "mac") {
					a.MAC = MAC(fmt.Sprintf("02:00:00:00:00:%02x", rapid.IntRange(0, 20).Draw(t, "m")))
				}
				if rapid.IntRange(0, 3).Draw(t, "explicit") == 0 {
					a.Addr = netip.AddrFrom4([4]byte{10, 192, 1, byte(rapid.IntRange(0, 70).Draw(t, "a"))})
				}
				after, h, err := l.Add(noon, p, a)
				if err == nil {
					if old, there := held[name]; there && old != h {
						t.Fatalf("%s was %+v and is %+v", name, old, h)
					} else if !there {
						fresh := !a.Addr.IsValid()
						if fresh && slices.Contains(rested, h.Addr) {
							// A member's address and the gateway's are given only to who asks for them.
							first := slices.IndexFunc(rested, func(a netip.Addr) bool { return a != member && a != gateway(b) })
							if h.Addr != rested[first] {
								t.Fatalf("%v given again before %v, which has rested longer", h.Addr, rested[first])
							}
							for x := b.Addr(); b.Contains(x); x = x.Next() {
								if !had[x] && x != own && x != member && x != gateway(b) && !special(b, x) {
									t.Fatalf("%v given again while nobody ever had %v", h.Addr, x)
								}
							}
						}
						if h.Addr == own || special(b, h.Addr) || !b.Contains(h.Addr) || fresh && (h.Addr == member || h.Addr == gateway(b)) {
							t.Fatalf("%v given to a host", h.Addr)
						}
						rested = slices.DeleteFunc(rested, func(r netip.Addr) bool { return r == h.Addr })
						held[name], had[h.Addr] = h, true
					}
				}
				l = after
			}
			if before.Encode() != text {
				t.Fatal("an operation changed the ledger that it was given")
			}
			if len(l.Hosts) != len(held) {
				t.Fatalf("%d hosts, want %d", len(l.Hosts), len(held))
			}
			macs := map[MAC]bool{}
			for _, h := range l.Hosts {
				if held[h.Name] != h || h.MAC != "" && macs[h.MAC] {
					t.Fatalf("%+v, want %+v", h, held[h.Name])
				}
				macs[h.MAC] = true
			}
			back, err := Parse(l.Encode())
			if err != nil || back.Encode() != l.Encode() {
				t.Fatalf("read back: %v\n%s", err, l.Encode())
			}
		}
	})
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":         {"hosts", "invalid"},
		"torn":             {`{"format":1,"hosts":[{"name":"a"`, "unexpected EOF"},
		"more":             {`{"format":1} {}`, "something follows"},
		"other format":     {`{"format":2}`, "format 2"},
		"unknown field":    {`{"format":1,"colour":"blue"}`, "colour"},
		"name":             {`{"format":1,"hosts":[{"name":"A","addr":"10.192.1.2"}]}`, "malformed"},
		"no address":       {`{"format":1,"hosts":[{"name":"a","addr":""}]}`, "malformed"},
		"MAC":              {`{"format":1,"hosts":[{"name":"a","addr":"10.192.1.2","mac":"x"}]}`, "malformed"},
		"twice":            {`{"format":1,"hosts":[{"name":"a","addr":"10.192.1.2"},{"name":"a","addr":"10.192.1.3"}]}`, "there twice"},
		"one address":      {`{"format":1,"hosts":[{"name":"a","addr":"10.192.1.2"},{"name":"b","addr":"10.192.1.2"}]}`, "given twice"},
		"released, given":  {`{"format":1,"hosts":[{"name":"a","addr":"10.192.1.2"}],"released":["10.192.1.2"]}`, "is released"},
		"request's state":  {`{"format":1,"requests":[{"id":1,"mac":"02:00:00:00:00:01","name":"a","vn":"b","state":"odd"}],"last_id":1}`, "malformed"},
		"request's number": {`{"format":1,"requests":[{"id":2,"mac":"02:00:00:00:00:01","name":"a","vn":"b","state":"waiting"}],"last_id":1}`, "not given"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if l, err := Parse(""); err != nil || len(l.Hosts) != 0 {
		t.Errorf("empty: %+v %v", l, err)
	}
}

func TestRequests(t *testing.T) {
	mac, other := MAC("02:00:5e:10:00:01"), MAC("02:00:5e:10:00:02")
	seen := addr("192.168.1.20")
	file := func(l Ledger, now time.Time, mac MAC, name, vn string) (Ledger, Request) {
		t.Helper()
		l, r, err := l.File(now, mac, seen, name, vn)
		if err != nil {
			t.Fatal(err)
		}
		return l, r
	}
	l, first := file(Ledger{}, noon, mac, "", "blue")
	if first.Name != "host-02005e100001" || first.State != Waiting || first.ID != 1 {
		t.Errorf("%+v", first)
	}
	if l, again := file(l, noon, mac, "", "blue"); again != first || len(l.Requests) != 1 {
		t.Errorf("filed twice: %+v", l.Requests)
	}
	l, _, desk, err := l.Approve(noon, plain, 1, "desk", netip.Addr{})
	if err != nil || desk.Addr != addr("10.192.1.2") || desk.MAC != mac || l.Requests[0].State != Approved {
		t.Fatalf("%+v %+v %v", desk, l.Requests, err)
	}
	if after, _, again, err := l.Approve(noon, plain, 1, "", netip.Addr{}); err != nil || again != desk || len(after.Hosts) != 1 {
		t.Errorf("approved twice: %+v %v", again, err)
	}
	if _, _, _, err := l.Approve(noon, plain, 1, "", addr("10.192.1.9")); err == nil || !strings.Contains(err.Error(), "is host desk already") {
		t.Errorf("approved with another address: %v", err)
	}
	l, second := file(l, noon, mac, "", "red")
	if second.Name != "desk" || second.ID != 2 {
		t.Errorf("%+v", second)
	}
	// Another machine cannot have the name.
	if _, _, err := l.File(noon, other, seen, "desk", "blue"); err == nil || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("a name of another: %v", err)
	}
	l, third := file(l, noon, other, "lamp", "blue")
	if after, _, _, err := l.Approve(noon, plain, third.ID, "desk", netip.Addr{}); err == nil || !reflect.DeepEqual(after, l) {
		t.Errorf("approved under a name of another: %v", err)
	}
	l, _, err = l.Deny(noon, second.ID, "not you")
	if err != nil {
		t.Fatal(err)
	}
	if _, r := file(l, noon.Add(time.Minute), mac, "", "red"); r.State != Denied || r.Reason != "not you" {
		t.Errorf("asked again soon after a denial: %+v", r)
	}
	if _, r := file(l, noon.Add(2*time.Hour), mac, "", "red"); r.State != Waiting || r.ID != 4 {
		t.Errorf("asked again later: %+v", r)
	}
	nobody := func(netip.Addr, string) bool { return false }
	inBlue := func(a netip.Addr, vn string) bool { return a == desk.Addr && vn == "blue" }
	for _, c := range []struct {
		now    time.Time
		member func(netip.Addr, string) bool
		left   int
	}{
		{noon, nobody, 3},
		{noon, inBlue, 2},
		{noon.Add(8 * 24 * time.Hour), nobody, 2},
		{noon.Add(31 * 24 * time.Hour), nobody, 0},
	} {
		after, dropped := l.Prune(c.now, c.member)
		if len(after.Requests) != c.left || dropped != (c.left < 3) {
			t.Errorf("left at %v: %+v, want %d", c.now, after.Requests, c.left)
		}
	}
	for _, id := range []uint64{0, 9} {
		if _, _, err := l.Deny(noon, id, ""); !errors.Is(err, ErrUnknown) {
			t.Errorf("deny %d: %v", id, err)
		}
		if _, _, _, err := l.Approve(noon, plain, id, "", netip.Addr{}); !errors.Is(err, ErrUnknown) {
			t.Errorf("approve %d: %v", id, err)
		}
	}
	if _, _, err := l.File(noon, mac, seen, "", "Blue"); err == nil {
		t.Error("a VN with a bad name")
	}
	if _, _, err := l.File(noon, "02:00:5e:10:00:09", seen, "x y", "blue"); err == nil {
		t.Error("a host with a bad name")
	}
	if _, _, err := l.Deny(noon, first.ID, strings.Repeat("x", 257)); err == nil {
		t.Error("an endless reason")
	}
}

func TestRequestsAreBounded(t *testing.T) {
	l := Ledger{}
	file := func(mac MAC, vn string) (err error) {
		l, _, err = l.File(noon, mac, addr("192.168.1.20"), "", vn)
		return err
	}
	for i := range requestsPerMAC {
		if err := file("02:00:00:00:00:01", fmt.Sprintf("vn%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file("02:00:00:00:00:01", "more"); err == nil || !strings.Contains(err.Error(), "4 requests already") {
		t.Errorf("a fifth of one machine: %v", err)
	}
	for i := len(l.Requests); i < requestsMax; i++ {
		if err := file(MAC(fmt.Sprintf("02:00:00:00:%02x:02", i)), "vn"); err != nil {
			t.Fatal(err)
		}
	}
	if err := file("02:ff:00:00:00:01", "vn"); err == nil || !strings.Contains(err.Error(), "256 requests wait") {
		t.Errorf("one more than fit: %v", err)
	}
	l, _, _ = l.Deny(noon, 9, "")
	if err := file("02:ff:00:00:00:01", "vn"); err != nil || len(l.Requests) != requestsMax {
		t.Errorf("after a denial: %v, %d requests", err, len(l.Requests))
	}
	if err := file("02:ff:00:00:00:02", "vn"); err == nil {
		t.Error("one denial made room for two")
	}
	if n := len(l.Encode()); n > 128<<10 {
		t.Errorf("the ledger has %d bytes", n)
	}
}

func TestParseMAC(t *testing.T) {
	for text, want := range map[string]MAC{
		"02:00:5e:10:00:01": "02:00:5e:10:00:01", "02-00-5E-10-00-01": "02:00:5e:10:00:01", "02005E100001": "02:00:5e:10:00:01",
		"": "", "02:00:5e:10:00": "", "02:00:5e:10:00:0g": "", "02:00:5e-10:00:01": "", "01:00:5e:00:00:01": "", "ff:ff:ff:ff:ff:ff": "",
		"00:00:00:00:00:00": "", "02.00.5e.10.00.01": "", "02:00:5e:10:00:01:02": "",
	} {
		got, err := ParseMAC(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", text, got, err, want)
		}
	}
}
