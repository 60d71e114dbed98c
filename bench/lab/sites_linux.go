package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vine-mesh/vine/bench"
	"github.com/vine-mesh/vine/bench/netns"
)

// A site is a host and its router.
type site struct {
	name         string
	host, router *netns.Namespace
	lan          netip.Prefix // the LAN's; the router has .1, the host .2
	wan          netip.Addr   // the router's
	gateway      netip.Addr   // on the wire: the other router, or what is between
	dir          string       // for the router's files
	process      *netns.Process
}

// hostAddr returns the host's address on its LAN.
func (s *site) hostAddr() netip.Addr { return s.lan.Addr().Next() }

// sites are the two sites of one party, in one topology.
type sites struct {
	place     bench.Place
	near, far *site
	middle    *netns.Namespace // between the routers, nil in Direct
	middleDir string
	// target is the far host, as the near host reaches it.
	target netip.Addr
	mtu    int // of the tunnel, if that is known only once it is open
	opened []*netns.Namespace
}

// The addresses of the wires (RFC 5737).
var (
	nearWAN   = netip.MustParseAddr("198.51.100.1")
	nearMid   = netip.MustParseAddr("198.51.100.2")
	farMid    = netip.MustParseAddr("198.51.100.5")
	farWAN    = netip.MustParseAddr("198.51.100.6")
	directFar = nearMid
)

// build makes the namespaces and wires of two sites, without routers, in dir.
func build(place bench.Place, regime bench.Regime, dir string) (s *sites, err error) {
	s = &sites{place: place}
	defer func() {
		if err != nil {
			s.close()
			s, err = nil, fmt.Errorf("build the sites of %v: %w", place, err)
		}
	}()
	if s.near, err = s.site("near", "192.168.1.1/24", dir); err != nil {
		return s, err
	}
	if s.far, err = s.site("far", "192.168.2.1/24", dir); err != nil {
		return s, err
	}
	s.target = s.far.hostAddr()
	s.near.wan, s.near.gateway = nearWAN, nearMid
	s.far.wan, s.far.gateway = farWAN, farMid
	ends := []end{{s.near.router, "wan0"}, {s.far.router, "wan0"}}
	if place.Topology == bench.Direct || place.Topology == bench.Streamed {
		s.far.wan, s.far.gateway = directFar, nearWAN
		if err := netns.Wire(s.near.router, "wan0", s.far.router, "wan0"); err != nil {
			return s, err
		}
	} else {
		if s.middle, err = s.namespace(); err != nil {
			return s, err
		}
		s.middleDir = filepath.Join(dir, "middle")
		if err := os.Mkdir(s.middleDir, 0o700); err != nil {
			return s, err
		}
		if err := netns.Wire(s.near.router, "wan0", s.middle, "near0"); err != nil {
			return s, err
		}
		if err := netns.Wire(s.far.router, "wan0", s.middle, "far0"); err != nil {
			return s, err
		}
		if err := s.middle.Run(fmt.Sprintf("ip addr add %v/30 dev near0\nip addr add %v/30 dev far0", nearMid, farMid)); err != nil {
			return s, err
		}
		ends = append(ends, end{s.middle, "near0"}, end{s.middle, "far0"})
	}
	for _, at := range []*site{s.near, s.far} {
		if err := at.router.Run(fmt.Sprintf("ip addr add %v/30 dev wan0\nip route add default via %v", at.wan, at.gateway)); err != nil {
			return s, err
		}
		if err := at.router.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
			return s, err
		}
		if regime == bench.NICLAN {
			ends = append(ends, end{at.router, "lan0"}, end{at.host, "eth0"})
		}
	}
	for _, e := range ends {
		if err := e.shape(regime); err != nil {
			return s, err
		}
	}
	switch place.Topology {
	case bench.Lossy:
		return s, s.prepareLoss()
	case bench.Streamed:
		return s, s.noUDP()
	}
	return s, nil
}

// namespace makes a namespace that close closes.
func (s *sites) namespace() (*netns.Namespace, error) {
	ns, err := netns.New()
	if err == nil {
		s.opened = append(s.opened, ns)
	}
	return ns, err
}

// site makes a router and a host with the LAN between them.
func (s *sites) site(name, lan string, dir string) (*site, error) {
	at := &site{name: name, lan: netip.MustParsePrefix(lan), dir: filepath.Join(dir, name)}
	err := os.Mkdir(at.dir, 0o700)
	if err != nil {
		return nil, err
	}
	if at.router, err = s.namespace(); err != nil {
		return nil, err
	}
	if at.host, err = s.namespace(); err != nil {
		return nil, err
	}
	if err := netns.Wire(at.router, "lan0", at.host, "eth0"); err != nil {
		return nil, err
	}
	if err := at.router.Run(fmt.Sprintf("ip addr add %v dev lan0", at.lan)); err != nil {
		return nil, err
	}
	return at, at.host.Run(fmt.Sprintf("ip addr add %v/24 dev eth0\nip route add default via %v", at.hostAddr(), at.lan.Addr()))
}

// An end is an interface of a wire.
type end struct {
	ns    *netns.Namespace
	iface string
}

// The 1 Gb/s wire. tbf counts 1,514 bytes of a full frame, which takes 1,538 on an Ethernet: 1,000 * 1514/1538 = 984.4. The
// bucket holds more than one super-packet, and what a late timer of a virtual machine has to make up for. The queue
// is 2 ms long: no fair share of a line would be had with less, and more would only wait.
const (
	wireRate  = "984400kbit"
	wireBurst = "96kb"
	wireQueue = "256kb"
)

// shape makes what leaves and enters by the interface what the regime says.
func (e end) shape(regime bench.Regime) error {
	if regime == bench.Unlimited {
		return nil
	}
	commands := fmt.Sprintf("ethtool -K %s tso off gso off tx-udp-segmentation off gro on", e.iface)
	if regime == bench.Gigabit {
		commands += fmt.Sprintf("\ntc qdisc replace dev %s root tbf rate %s burst %s limit %s", e.iface, wireRate, wireBurst, wireQueue)
	}
	return e.ns.Run(commands)
}

// prepareLoss makes the middle forward, also what has no tunnel. Its interfaces join nothing (GRO off), so that what is lost later is single
// packets, as they were on the wire.
func (s *sites) prepareLoss() error {
	if err := s.middle.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	commands := "ethtool -K near0 gro off\nethtool -K far0 gro off"
	for _, at := range []*site{s.near, s.far} {
		commands += fmt.Sprintf("\nip route add %v via %v", at.lan.Masked(), at.wan)
	}
	return s.middle.Run(commands)
}

// lose has the middle lose some per cent of what it forwards, either way, each packet for itself.
func (s *sites) lose(percent float64) error {
	const steps = 100_000
	rules := fmt.Sprintf("table inet lose {}\ndelete table inet lose\ntable inet lose {\n"+
		"chain forward { type filter hook forward priority 0; numgen random mod %d < %.0f drop; }\n}\n", steps, percent/100*steps)
	path := filepath.Join(s.middleDir, "lose.nft")
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		return err
	}
	return s.middle.Run("nft -f " + path)
}

// noUDP has no UDP pass between the routers.
func (s *sites) noUDP() error {
	path := filepath.Join(s.near.dir, "noudp.nft")
	rules := "table inet noudp {\nchain in { type filter hook input priority 0; iifname \"wan0\" meta l4proto udp drop; }\n" +
		"chain out { type filter hook output priority 0; oifname \"wan0\" meta l4proto udp drop; }\n}\n"
	if err := os.WriteFile(path, []byte(rules), 0o600); err != nil {
		return err
	}
	return s.near.router.Run("nft -f " + path)
}

// await waits until the far host answers the near one, several times on end: the first packet may have gone a way of its
// own while the routers shook hands.
func (s *sites) await(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	const enough = 3
	for answers := 0; ; {
		p, err := s.near.host.Start("ping", "-n", "-c", "1", "-W", "0.5", s.target.String())
		if err != nil {
			return err
		}
		if p.Wait(ctx) != nil {
			answers = 0
		} else if answers++; answers == enough {
			return nil
		}
		for _, at := range []*site{s.near, s.far} {
			if at.process == nil {
				continue
			}
			select {
			case <-at.process.Done():
				return fmt.Errorf("the router of the %s site has ended: %v\n%s", at.name, at.process.Err(), tail(at.process.Output()))
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the hosts do not reach each other within %v%s", limit, s.said())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// said returns the last that the routers have printed.
func (s *sites) said() (text string) {
	for _, at := range []*site{s.near, s.far} {
		if at.process != nil {
			text += fmt.Sprintf("\n%s router:\n%s", at.name, tail(at.process.Output()))
		}
	}
	return text
}

// close kills the routers and takes the sites down: what they would tidy up goes with the namespaces.
func (s *sites) close() {
	for _, ns := range s.opened {
		ns.Close()
	}
}
