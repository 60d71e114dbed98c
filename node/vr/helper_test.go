package vr

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// roomOf returns the room of router 1, of site home, at an endpoint.
func roomOf(own string, links ...Candidate) Room {
	return Room{
		Self: 1, Site: "home", Endpoints: []netip.AddrPort{netip.MustParseAddrPort(own)}, Links: links,
		InSpace:  netip.MustParsePrefix("10.99.0.0/16").Contains,
		Enrolled: func(id tables.RouterID) bool { return id < 100 },
	}
}

func candidate(id tables.RouterID, site, at string) Candidate {
	return Candidate{id, site, netip.MustParseAddrPort(at)}
}

// TestChoice: the via has somebody dial whose datagrams take the way of a stranger's.
func TestChoice(t *testing.T) {
	asker := candidate(2, "east", "203.0.113.7:40000")
	for _, c := range []struct {
		name  string
		links []Candidate
		named tables.RouterID
		want  tables.RouterID
	}{
		{"nobody else", nil, 0, 0},
		{"a third site before ours", []Candidate{candidate(3, "home", "198.51.100.3:1"), candidate(4, "west", "198.51.100.4:1")}, 0, 4},
		{"ours before the asker's", []Candidate{candidate(3, "home", "198.51.100.3:1"), candidate(4, "east", "198.51.100.4:1")}, 0, 3},
		{"the asker's before nobody", []Candidate{candidate(4, "east", "198.51.100.4:1")}, 0, 4},
		{"another address before ours", []Candidate{candidate(3, "west", "198.51.100.1:2"), candidate(4, "east", "198.51.100.4:1")}, 0, 4},
		{"not from behind the asker's translator", []Candidate{candidate(3, "east", "203.0.113.7:40001")}, 0, 0},
		{"not by the other family", []Candidate{candidate(3, "west", "[2001:db8::3]:1")}, 0, 0},
		{"nobody revoked", []Candidate{candidate(100, "west", "198.51.100.3:1")}, 0, 0},
		{"the named one", []Candidate{candidate(3, "east", "198.51.100.3:1"), candidate(4, "west", "198.51.100.4:1")}, 3, 3},
		{"the named one is not here", []Candidate{candidate(4, "west", "198.51.100.4:1")}, 3, 0},
		{"not the asker himself", nil, 2, 0},
		{"not over loopback", []Candidate{candidate(3, "west", "127.0.0.1:1")}, 0, 0},
	} {
		var h Helper
		helper, r, refusal := h.Ask(epoch, roomOf("198.51.100.1:8463", append(c.links, asker)...), 2, Token{7}, c.named, seeded(1))
		if helper != c.want || (refusal == Served) != (c.want != 0) {
			t.Errorf("%s: %v, %v; want %v", c.name, helper, refusal, c.want)
		}
		if helper != 0 && (r != Request{Token{7}, 2, asker.At}) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	// The demo: all on one machine.
	var h Helper
	room := roomOf("127.0.0.1:1001", candidate(2, "b", "127.0.0.1:1002"), candidate(3, "c", "127.0.0.1:1003"))
	if helper, _, refusal := h.Ask(epoch, room, 2, Token{7}, 0, seeded(1)); helper != 3 {
		t.Errorf("on one machine: %v, %v", helper, refusal)
	}
}

// TestTargets: where no helper sends anything, whoever asks.
func TestTargets(t *testing.T) {
	links := []Candidate{candidate(2, "east", "203.0.113.7:40000"), candidate(100, "old", "203.0.113.8:1")}
	public, demo := roomOf("198.51.100.1:8463", links...), roomOf("127.0.0.1:1001", links...)
	for _, c := range []struct {
		name string
		room Room
		via  tables.RouterID
		to   tables.RouterID
		at   string
		want Refusal
	}{
		{"as it should be", public, 2, 3, "203.0.113.9:1000", Served},
		{"private, as in a company", public, 2, 3, "10.1.2.3:1000", Served},
		{"by nobody we have a link with", public, 4, 3, "203.0.113.9:1000", NotLinked},
		{"by one who is revoked", public, 100, 3, "203.0.113.9:1000", NotEnrolled},
		{"for nobody", public, 2, 101, "203.0.113.9:1000", NotEnrolled},
		{"for the via itself", public, 2, 2, "203.0.113.9:1000", NotEnrolled},
		{"for us", public, 2, 1, "203.0.113.9:1000", NotEnrolled},
		{"in the ViNe space", public, 2, 3, "10.99.7.7:1000", BadTarget},
		{"in the ViNe space, in disguise", public, 2, 3, "[::ffff:10.99.7.7]:1000", BadTarget},
		{"multicast", public, 2, 3, "224.0.0.251:5353", BadTarget},
		{"broadcast", public, 2, 3, "255.255.255.255:67", BadTarget},
		{"unspecified", public, 2, 3, "0.0.0.0:1000", BadTarget},
		{"link-local", public, 2, 3, "169.254.169.254:80", BadTarget},
		{"no port", public, 2, 3, "203.0.113.9:0", BadTarget},
		{"a name of a path", public, 2, 3, "[100::5]:2", BadTarget},
		{"ourselves", public, 2, 3, "198.51.100.1:8463", BadTarget},
		{"our machine", public, 2, 3, "127.0.0.1:53", BadTarget},
		{"our machine, where all are on it", demo, 2, 3, "127.0.0.1:1003", Served},
	} {
		r := Request{Token{7}, c.to, netip.MustParseAddrPort(c.at)}
		var h Helper
		if got := h.Dial(epoch, c.room, c.via, r); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if h.lax = true; c.want == BadTarget && h.Dial(epoch, c.room, c.via, r) != Served {
			t.Errorf("%s: it is not the check of targets that refuses it", c.name)
		}
	}
}

// TestHelperIsNoWeapon: members that conspire cannot have us send much to a victim, nor much in all.
func TestHelperIsNoWeapon(t *testing.T) {
	var links []Candidate
	for i := range 50 {
		links = append(links, Candidate{tables.RouterID(2 + i), "east", netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 1)})
	}
	room := roomOf("198.51.100.1:8463", links...)
	// sent returns how much goes out in a minute when each of 50 vias asks ten times a second.
	sent := func(h *Helper, target func(i int) netip.AddrPort) (n int) {
		for tick := range 600 {
			now := epoch.Add(time.Duration(tick) * 100 * time.Millisecond)
			for i := range links {
				if h.Dial(now, room, links[i].Router, Request{Token{}, 99, target(tick*len(links) + i)}) == Served {
					n++
				}
			}
		}
		return n
	}
	victim := func(i int) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1+i)) }
	all := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, byte(i >> 16), byte(i >> 8), byte(i)}), 53)
	}
	var h Helper
	if n := sent(&h, victim); n > targetBurst+60/5 || n < 12 {
		t.Errorf("%d datagrams to one address in a minute", n)
	}
	h = Helper{}
	if n := sent(&h, all); n > allBurst+60*16 || n < 60*10 {
		t.Errorf("%d datagrams in a minute", n)
	}
	if n := len(h.targets.full); n > bucketsMax {
		t.Errorf("%d targets are remembered", n)
	}
	if n := sent(&Helper{lax: true}, victim); n != 600*len(links) {
		t.Errorf("without the limits %d: the attack is none", n)
	}
	// An asker may ask three times at once, and then once a second.
	n := 0
	for tick := range 100 {
		if _, _, r := h.Ask(epoch.Add(time.Duration(tick)*100*time.Millisecond), room, 2, Token{}, 0, seeded(1)); r == Served {
			n++
		}
	}
	if n < 10 || n > 10+askerBurst {
		t.Errorf("%d requests served in ten seconds", n)
	}
}
