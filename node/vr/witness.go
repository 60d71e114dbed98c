package vr

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

const (
	// witnessesMax bounds the links remembered; package transport has at most as many.
	witnessesMax = 1 << 14
	// endpointsMax is how many endpoints a link record may hold.
	endpointsMax = 8
	// translatedMax is how many endpoints on somebody's translator are announced unproven: one of
	// each family, if we are behind such.
	translatedMax = 2
	// localMax and mappedMax bound what the caller tells; more is cut. A machine rarely has more addresses.
	localMax  = 64
	mappedMax = 4
)

// A witness is a linked router and what it says of where we are.
type witness struct {
	site string
	at   netip.AddrPort // its UDP endpoint, zero if the link goes another way
	seen netip.AddrPort // where it sees us, zero if it has not said
}

// A class says what an endpoint of ours is.
type class uint8

const (
	classNone       class = iota // nobody sees us in this family
	classOwn                     // an address of this machine
	classMapped                  // mapped by the gateway for good
	classTranslated              // on a translator; the endpoint is zero if no two sites agree
)

// A sight is what the witnesses of one address family say, put together.
type sight struct {
	endpoint netip.AddrPort // the best believed one
	class    class
	own      []netip.AddrPort // addresses of ours that count as seen
	// translated are the believed endpoints on translators, those with the word of more sites first.
	translated []counted
	mapping    Finding
}

type counted struct {
	at    netip.AddrPort
	sites int
}

// family 0 is IPv4, 1 IPv6.
const families = 2

func family(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 0
	}
	return 1
}

// plausible reports whether a VR can be at an endpoint. The discard prefix 100::/64 names other paths
// (package transport/path).
func plausible(at netip.AddrPort) bool {
	a := at.Addr()
	return at.Port() != 0 && a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && !discard.Contains(a)
}

var discard = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x01}), 64)

// shared is the space of carriers' translators (RFC 6598).
var shared = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10)

// near reports whether an address has a meaning only near its owner.
func near(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || shared.Contains(a)
}

func unmap(at netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()) }

// outside reports whether a witness is of another site. One of our own site says how our LAN sees us.
func (s *Self) outside(w *witness) bool { return s.config.Site == "" || w.site != s.config.Site }

// voices returns the witnesses whose word counts in a family: those of other sites, or, if there
// are none, all.
func (s *Self) voices(fam int) []*witness {
	var near, far []*witness
	for _, w := range s.witnesses {
		switch {
		case !w.seen.IsValid() || family(w.seen.Addr()) != fam:
		case s.outside(w):
			far = append(far, w)
		default:
			near = append(near, w)
		}
	}
	if len(far) > 0 {
		return far
	}
	return near
}

// look puts together what the witnesses of a family say. An address of ours that one sees is believed.
// An endpoint on a translator needs the word of two sites, where we have links with two: one liar
// must not send our peers elsewhere. One that was dialled needs only one, for nobody can have made that up.
func (s *Self) look(fam int) sight {
	voices := s.voices(fam)
	sites := map[string]bool{}
	seen := map[netip.AddrPort]map[string]bool{}
	for _, w := range voices {
		sites[w.site] = true
		if seen[w.seen] == nil {
			seen[w.seen] = map[string]bool{}
		}
		seen[w.seen][w.site] = true
	}
	var v sight
	if len(voices) == 0 {
		return v
	}
	v.class = classTranslated
	most := 0
	for at, by := range seen {
		if slices.Contains(s.local, at) {
			v.own = append(v.own, at)
			if n := len(by); n > most || n == most && at.Compare(v.endpoint) < 0 {
				v.endpoint, v.class, most = at, classOwn, n
			}
		} else if len(by) >= min(2, len(sites)) || at == s.faces[fam].proven() || s.off.sites {
			v.translated = append(v.translated, counted{at, len(by)})
		}
	}
	slices.SortFunc(v.own, netip.AddrPort.Compare)
	slices.SortFunc(v.translated, byWord)
	for _, t := range v.translated {
		if t.sites > most || t.sites == most && t.at == s.faces[fam].proven() {
			v.endpoint, v.class, most = t.at, classTranslated, t.sites
		}
	}
	v.mapping = mappingOf(voices, v, most)
	// A mapping of the gateway that peers see us at is a better endpoint than one that traffic made.
	for _, m := range s.mapped {
		if seen[m] != nil && v.class == classTranslated && family(m.Addr()) == fam {
			v.endpoint, v.class = m, classMapped
			break
		}
	}
	return v
}

func byWord(a, b counted) int { return cmp.Or(b.sites-a.sites, a.at.Compare(b.at)) }

// mappingOf compares where different peers see us: "the NAT reuses the port mapping for subsequent
// packets sent from the same internal IP address and port to any external IP address and port" (RFC
// 4787, Section 4.1), or for the same address only, or for the same address and port only.
func mappingOf(voices []*witness, v sight, most int) Finding {
	if v.class == classOwn {
		return Finding{EndpointIndependent, most >= 2}
	}
	type view struct{ from, seen netip.AddrPort }
	var views []view
	addrs, endpoints := map[netip.Addr]bool{}, map[netip.AddrPort]map[string]bool{}
	for _, w := range voices {
		if !w.at.IsValid() {
			continue // not seen from an address that we know
		}
		views = append(views, view{w.at, w.seen})
		addrs[w.at.Addr()] = true
		if endpoints[w.seen] == nil {
			endpoints[w.seen] = map[string]bool{}
		}
		endpoints[w.seen][w.site] = true
	}
	if v.endpoint.IsValid() && len(addrs) >= 2 {
		against := map[string]bool{}
		for at, by := range endpoints {
			if at != v.endpoint {
				for site := range by {
					against[site] = true
				}
			}
		}
		if len(against) == 0 || len(against) == 1 && most >= 2 {
			return Finding{EndpointIndependent, most >= 2}
		}
	}
	if len(endpoints) < 2 {
		return Finding{}
	}
	// Peers at one address tell whether the port matters; without such we take the usual kind.
	found := Finding{AddressAndPortDependent, false}
	slices.SortFunc(views, func(a, b view) int { return cmp.Or(a.from.Compare(b.from), a.seen.Compare(b.seen)) })
	for i := 1; i < len(views); i++ {
		if a, b := views[i-1], views[i]; a.from.Addr() == b.from.Addr() && a.from.Port() != b.from.Port() {
			if a.seen != b.seen {
				found.Behaviour = AddressAndPortDependent
				break
			}
			found.Behaviour = AddressDependent
		}
	}
	// One liar can make two sites differ, not three each from each.
	found.Confirmed = !v.endpoint.IsValid() && len(endpoints) >= 3 && sitesOf(endpoints) >= 3
	return found
}

func sitesOf(endpoints map[netip.AddrPort]map[string]bool) int {
	all := map[string]bool{}
	for _, by := range endpoints {
		for site := range by {
			all[site] = true
		}
	}
	return len(all)
}

// endpoints returns where others may try to reach us: what is proven, what peers see, what we have.
func (s *Self) endpoints() []netip.AddrPort {
	var list []netip.AddrPort
	add := func(at netip.AddrPort) {
		if at.IsValid() && !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	for i := range s.faces {
		if f := &s.faces[i]; f.result == open && len(s.voices(i)) > 0 {
			add(f.sight.endpoint)
		}
	}
	var own []netip.AddrPort
	var translated []counted
	for i := range s.faces {
		own = append(own, s.faces[i].sight.own...)
		translated = append(translated, s.faces[i].sight.translated...)
	}
	slices.SortFunc(own, netip.AddrPort.Compare)
	slices.SortFunc(translated, byWord)
	for _, at := range own {
		add(at)
	}
	for _, t := range translated[:min(len(translated), translatedMax)] {
		add(t.at)
	}
	for _, at := range s.local {
		add(at)
	}
	return list[:min(len(list), endpointsMax)]
}

// linkedAt returns how much of an endpoint we hold open by links.
func (s *Self) linkedAt(from netip.AddrPort) reach {
	found := reachNone
	for _, w := range s.witnesses {
		switch {
		case w.at == from:
			return reachPort
		case w.at.IsValid() && w.at.Addr() == from.Addr():
			found = reachAddress
		}
	}
	return found
}

// site returns the site of a linked router.
func (s *Self) site(id tables.RouterID) (string, bool) {
	w := s.witnesses[id]
	if w == nil {
		return "", false
	}
	return w.site, true
}
