package portmap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// A Protocol is that of a mapped port, by its number in the IP header.
type Protocol uint8

// The protocols that can be mapped.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

// String returns the protocol's name as UPnP writes it.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// A Port is a port of this machine on which somebody listens.
type Port struct {
	Protocol Protocol
	Port     uint16
}

// The protocols by which a mapping is made: values of Mapping.By.
const (
	ByPCP    = "pcp"
	ByNATPMP = "nat-pmp"
	ByUPnP   = "upnp"
)

// A Mapping says that packets to External, says the gateway, arrive at Internal.
type Mapping struct {
	Protocol Protocol
	Internal uint16
	External netip.AddrPort
	By       string    // the protocol that made it: ByPCP, ByNATPMP, ByUPnP
	Until    time.Time // when the gateway forgets it unless it is renewed, which happens long before
	// Public says that External may be reached from the Internet. It is false when the gateway names a private,
	// shared (100.64.0.0/10) or unusable address: it is behind another NAT.
	Public bool
}

// Config says what to map. All but Internal may be left zero.
type Config struct {
	Internal []Port // at least one, at most 8
	// Gateway returns the default gateway and our address towards it; nil stands for DefaultGateway. It is called
	// every few seconds from Run's goroutine and must return at once. An error means that there is no gateway now.
	Gateway func() (gateway, local netip.Addr, err error)
	Log     *slog.Logger // nil: no log
	Rand    io.Reader    // for nonces and ports; nil: crypto/rand
	// Secret makes PCP nonces the same after a restart, so that a VR that crashed gets its own mappings back
	// at once and not when they have lapsed. Empty: nonces are random.
	Secret []byte
}

// portsMax bounds the mappings that we ask of a gateway: home gateways hold few.
const portsMax = 8

// A Portmap keeps ports mapped on the gateway. It does nothing outside Run.
type Portmap struct {
	config   Config
	mappings chan []Mapping // one sender, Run; capacity 1; the newest replaces; never closed
	outside  outside
}

// New returns a Portmap that maps nothing until Run.
func New(c Config) *Portmap {
	if c.Gateway == nil {
		c.Gateway = DefaultGateway
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	c.Internal = slices.Clone(c.Internal)
	return &Portmap{config: c, mappings: make(chan []Mapping, 1), outside: system()}
}

// Mappings gives the mappings whenever they change: the whole list, in the order of Config.Internal without
// those that are not mapped. A list that nobody took is replaced by the newer one. It is never closed; after
// Run has ended the last list is empty.
func (p *Portmap) Mappings() <-chan []Mapping { return p.mappings }

// publish replaces the list that waits to be taken.
func (p *Portmap) publish(list []Mapping) {
	select {
	case <-p.mappings:
	default:
	}
	p.mappings <- list // empty: Run is the only sender
}

// Run keeps the ports mapped until ctx ends, then removes the mappings, for which it takes 1 s at most, and
// returns the reason of ctx. It fails at once if the Config is wrong; a gateway that is missing, mute or hostile
// is no failure. It may run once at a time.
func (p *Portmap) Run(ctx context.Context) error {
	if err := p.config.check(); err != nil {
		return err
	}
	return run(ctx, p)
}

func (c *Config) check() error {
	if len(c.Internal) == 0 {
		return errors.New("portmap: no port to map")
	}
	if len(c.Internal) > portsMax {
		return fmt.Errorf("portmap: %d ports to map, at most %d", len(c.Internal), portsMax)
	}
	for i, port := range c.Internal {
		if port.Port == 0 || port.Protocol != UDP && port.Protocol != TCP {
			return fmt.Errorf("portmap: cannot map port %d of %v", port.Port, port.Protocol)
		}
		if slices.Contains(c.Internal[:i], port) {
			return fmt.Errorf("portmap: port %d of %v is named twice", port.Port, port.Protocol)
		}
	}
	return nil
}

// notPublic are prefixes, beside the private ones, that nobody on the Internet reaches: carrier-grade NATs (RFC 6598),
// "this network", protocol assignments, benchmarks, reserved (RFC 6890).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
}

// public reports whether an external address that a gateway names may be reached from the Internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}
