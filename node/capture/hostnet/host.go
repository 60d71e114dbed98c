package hostnet

import (
	"net/netip"

	"github.com/vine-mesh/vine/node/hosts"
)

// A Host is a hosts.Setup that this machine can make of itself.
type Host struct{ hosts.Setup }

// HostSetup returns what a host needs: see hosts.NewSetup.
func HostSetup(addr netip.Prefix, gateway netip.Addr, space ...netip.Prefix) (Host, error) {
	s, err := hosts.NewSetup(addr, gateway, space...)
	return Host{s}, err
}
