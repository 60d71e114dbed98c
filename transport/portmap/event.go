package portmap

import (
	"net/netip"
	"time"
)

// An event is what happened, told to a machine.
type event interface{ isEvent() }

type (
	// located answers lookup: the gateway and our address towards it, or why there is none.
	located struct {
		gateway, local netip.Addr
		err            error
	}
	// datagram came to the socket, or to the group of announcements. The machine does not keep its bytes.
	datagram struct {
		from      netip.AddrPort
		announced bool
		bytes     []byte
	}
	// deaf says that the socket can no longer be read.
	deaf struct{ err error }
	// igdMapped answers mapIGD: what was mapped, even if err is not nil.
	igdMapped struct {
		round   int
		service service
		address netip.Addr
		leases  []igdLease
		err     error
	}
	// igdChecked answers checkIGD. Gone are the ports that the device no longer maps.
	igdChecked struct {
		round   int
		address netip.Addr
		gone    []Port
		err     error
	}
	// igdUnmapped answers unmapIGD.
	igdUnmapped struct{ err error }
	// leave ends everything.
	leave struct{}
)

func (located) isEvent()     {}
func (datagram) isEvent()    {}
func (deaf) isEvent()        {}
func (igdMapped) isEvent()   {}
func (igdChecked) isEvent()  {}
func (igdUnmapped) isEvent() {}
func (leave) isEvent()       {}

// An action is what a machine wants done.
type action interface{ isAction() }

type (
	// lookup asks for the gateway; answered by located.
	lookup struct{}
	// reopen closes the sockets, ends the call that is out, and opens new sockets at an address of ours unless it is invalid.
	reopen struct{ gateway, local netip.Addr }
	// send sends a datagram.
	send struct {
		to    netip.AddrPort
		bytes []byte
	}
	// mapIGD maps ports on a UPnP device: on the service that is known, or else on the first that works of the
	// devices described at the locations.
	mapIGD struct {
		round          int
		gateway, local netip.Addr
		known          *service
		locations      []string
		wants          []igdWant
	}
	// checkIGD asks a UPnP service for its address and whether the leases are still there.
	checkIGD struct {
		round          int
		gateway, local netip.Addr
		service        service
		leases         []igdLease
	}
	// unmapIGD removes leases.
	unmapIGD struct {
		gateway, local netip.Addr
		service        service
		leases         []igdLease
	}
	// tell publishes the mappings, which have changed.
	tell struct{ list []Mapping }
	// note is for the log: something that came was not taken, or a gateway refused.
	note struct{ err error }
)

func (lookup) isAction()   {}
func (reopen) isAction()   {}
func (send) isAction()     {}
func (mapIGD) isAction()   {}
func (checkIGD) isAction() {}
func (unmapIGD) isAction() {}
func (tell) isAction()     {}
func (note) isAction()     {}

// An igdWant is a port to map and the external ports to try, in this order.
type igdWant struct {
	port     Port
	external []uint16
}

// An igdLease is a port that a UPnP device maps.
type igdLease struct {
	port     Port
	external uint16
	lifetime time.Duration
}
