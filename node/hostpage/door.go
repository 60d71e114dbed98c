package hostpage

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vine-mesh/vine/node/hosts"
)

const (
	// connectionsMax bounds the connections of all machines to one interface's socket, connectionsPerMAC those of one. What
	// is beyond them is closed unread, so that one machine that holds connections open does not keep the others out.
	connectionsMax    = 32
	connectionsPerMAC = 4
	// visitsBurst connections may come at once to an interface's socket, and then one in visitsEvery: each has the kernel's
	// table of neighbours read, and perhaps the rosters of the site.
	visitsBurst = 64
	visitsEvery = 10 * time.Millisecond
)

// A door is a listener that lets in machines of one LAN only.
type door struct {
	net.Listener
	iface     string
	neighbour func(iface string, addr netip.Addr) (hosts.MAC, error)
	addresses func(iface string) []netip.Addr // of the VR on that interface

	bucket bucket

	mu    sync.Mutex // guards what follows
	open  int
	byMAC map[hosts.MAC]int
}

// A visit is a connection of a machine that is known by its MAC.
type visit struct {
	net.Conn
	door        *door
	mac         hosts.MAC
	from, local netip.Addr
	once        sync.Once
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if v, ok := d.admit(c); ok {
			return v, nil
		}
		c.Close()
	}
}

func (d *door) admit(c net.Conn) (*visit, bool) {
	v := &visit{Conn: c, door: d, from: addrOf(c.RemoteAddr()), local: addrOf(c.LocalAddr())}
	d.mu.Lock()
	full := d.open >= connectionsMax
	d.mu.Unlock()
	if full || !d.bucket.take(time.Now()) || !d.here(v.local) {
		return nil, false
	}
	var err error
	if v.mac, err = d.neighbour(d.iface, v.from); err != nil || v.mac == "" {
		return nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byMAC[v.mac] >= connectionsPerMAC {
		return nil, false
	}
	d.open++
	d.byMAC[v.mac]++
	return v, true
}

// here reports whether addr is one of the VR's on the interface: with Linux a packet to any other address of the machine
// would do as well.
func (d *door) here(addr netip.Addr) bool {
	for _, a := range d.addresses(d.iface) {
		if a == addr {
			return true
		}
	}
	return false
}

// Close implements net.Conn.
func (v *visit) Close() error {
	v.once.Do(func() {
		v.door.mu.Lock()
		defer v.door.mu.Unlock()
		v.door.open--
		if v.door.byMAC[v.mac]--; v.door.byMAC[v.mac] <= 0 {
			delete(v.door.byMAC, v.mac)
		}
	})
	return v.Conn.Close()
}

// addrOf returns the plain address of one end of a connection.
func addrOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(t.IP)
	return addr.Unmap().WithZone("")
}

// interfaceAddresses returns the addresses of an interface of this machine.
func interfaceAddresses(name string) []netip.Addr {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, p.Addr().Unmap().WithZone(""))
		}
	}
	return list
}
