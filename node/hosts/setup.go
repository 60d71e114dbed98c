package hosts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Setup is what one unmodified machine on the LAN of a virtual router needs to be in the ViNe
// space: an alias address, and one static route for each prefix of the space (dissertation,
// Section 3.4). NewSetup makes one; its fields may be changed before use.
type Setup struct {
	// Address is the host's ViNe address with the length of its router's block, so that hosts of
	// one block reach each other directly; with /32 or /128 they go through the router.
	Address netip.Prefix

	// Gateway is the router's address on the LAN.
	Gateway netip.Addr

	// Space holds the prefixes of the ViNe space of Address's family.
	Space []netip.Prefix

	// Interface is the host's LAN interface. If it is empty, it is the one that the host reaches
	// the gateway by, so it must be given if that is reached only through Address.
	Interface string
}

// NewSetup returns what a host needs. Of space it takes the prefixes of addr's family; addr must
// lie in one of them. gateway may be a link-local address with a zone, which names the interface.
func NewSetup(addr netip.Prefix, gateway netip.Addr, space ...netip.Prefix) (Setup, error) {
	h := Setup{Address: addr, Gateway: gateway.WithZone(""), Interface: gateway.Zone()}
	for _, s := range space {
		if s.Addr().Is4() == addr.Addr().Is4() {
			h.Space = append(h.Space, s.Masked())
		}
	}
	switch {
	case !addr.IsValid() || !gateway.IsValid():
		return Setup{}, fmt.Errorf("set up host: address %v and gateway %v are both needed", addr, gateway)
	case gateway.Is4() != addr.Addr().Is4():
		return Setup{}, fmt.Errorf("set up host %v: gateway %v is of another address family", addr, gateway)
	case gateway.IsLinkLocalUnicast() && h.Interface == "":
		return Setup{}, fmt.Errorf("set up host %v: gateway %v is link-local: name the interface (%v%%eth0)", addr, gateway, gateway)
	case gateway == addr.Addr():
		return Setup{}, fmt.Errorf("set up host %v: the host cannot be its own gateway", addr)
	case !slices.ContainsFunc(h.Space, func(s netip.Prefix) bool { return s.Contains(addr.Addr()) }):
		return Setup{}, fmt.Errorf("set up host %v: the address is outside the ViNe space %v", addr, space)
	}
	return h, nil
}

// Commands returns the shell commands that set a Linux host up, to be run there as root, in order.
// Running them again does no harm. They last until the host restarts.
func (h Setup) Commands() []string {
	extra := " brd +"
	if h.Address.Addr().Is6() {
		extra = " nodad" // an address still under duplicate detection cannot be a route's source
	}
	commands, dev := h.interfaceCommand()
	commands = append(commands, fmt.Sprintf("ip address replace %v dev %s%s", h.Address, dev, extra))
	for _, s := range h.Space {
		commands = append(commands, fmt.Sprintf("ip route replace %v via %v dev %s src %v", s, h.Gateway, dev, h.Address.Addr()))
	}
	return commands
}

// RemoveCommands returns the shell commands that undo Commands.
func (h Setup) RemoveCommands() []string {
	commands, dev := h.interfaceCommand()
	for _, s := range h.Space {
		commands = append(commands, fmt.Sprintf("ip route del %v via %v dev %s", s, h.Gateway, dev))
	}
	return append(commands, fmt.Sprintf("ip address del %v dev %s", h.Address, dev))
}

// interfaceCommand returns the command that finds the interface, if it takes one, and the word that
// stands for the interface in the commands after it.
func (h Setup) interfaceCommand() (commands []string, dev string) {
	if h.Interface != "" {
		return nil, quote(h.Interface)
	}
	return []string{fmt.Sprintf(`dev=$(ip -o route get %v | sed -n 's/.* dev \([^ ]*\).*/\1/p')`, h.Gateway)}, `"$dev"`
}

// quote makes a shell word of an interface name, which may hold anything but blanks and slashes.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@:", r)
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
