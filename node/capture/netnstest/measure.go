//go:build linux

package netnstest

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// A Measured is what UDP from an inside port met on its way to the outside.
type Measured struct {
	Passes             bool // something went out, and its answer came back
	Mapping, Filtering Behavior
	// Seen is the source that the outside saw: at the first address's first and second port, then at
	// the second address's.
	Seen [4]netip.AddrPort
}

// measureWait is how long a packet may take that does arrive; the paths are microseconds long.
const measureWait = 300 * time.Millisecond

// MeasureUDP measures what is between a fresh port of a namespace (0: any) and the outside, by plain sockets:
// two outside addresses, of namespaces that hold them, with two ports each. It is right only if the inside
// port has sent nothing to these addresses for two minutes.
func MeasureUDP(t testing.TB, inside *Namespace, port uint16, outside [2]*Namespace, at [2]netip.Addr) (m Measured) {
	t.Helper()
	var far [4]*net.UDPConn
	for i := range far {
		far[i] = ListenUDP(t, outside[i/2], netip.AddrPortFrom(at[i/2], 0))
	}
	any := netip.IPv4Unspecified()
	if at[0].Is6() {
		any = netip.IPv6Unspecified()
	}
	c := ListenUDP(t, inside, netip.AddrPortFrom(any, port))

	// What the first endpoint that was sent to sees, and whether it may answer.
	if m.Seen[0] = seen(c, far[0]); !m.Seen[0].IsValid() {
		return m
	}
	arrived := map[string]bool{}
	for i, name := range []string{"asked", "other port", "other address"} {
		if _, err := far[i].WriteToUDPAddrPort([]byte(name), m.Seen[0]); err != nil {
			t.Fatal(err)
		}
	}
	b := make([]byte, 64)
	_ = c.SetReadDeadline(time.Now().Add(measureWait))
	for {
		n, err := c.Read(b)
		if err != nil {
			break
		}
		arrived[string(b[:n])] = true
	}
	if m.Passes = arrived["asked"]; !m.Passes {
		return m
	}
	switch {
	case arrived["other address"] && arrived["other port"]:
		m.Filtering = EndpointIndependent
	case arrived["other address"]:
		t.Errorf("another address's packet came in, and another port's did not: RFC 4787 has no word for it")
	case arrived["other port"]:
		m.Filtering = AddressDependent
	default:
		m.Filtering = AddressAndPortDependent
	}

	for i := 1; i < len(far); i++ {
		if m.Seen[i] = seen(c, far[i]); !m.Seen[i].IsValid() {
			t.Errorf("a packet to %v is lost, though one to %v was not", far[i].LocalAddr(), far[0].LocalAddr())
		}
	}
	switch {
	case m.Seen[0] != m.Seen[1]:
		m.Mapping = AddressAndPortDependent
	case m.Seen[0] != m.Seen[2]:
		m.Mapping = AddressDependent
	}
	return m
}

// ListenUDP opens a socket in a namespace, and closes it when the test ends.
func ListenUDP(t testing.TB, ns *Namespace, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// seen sends a datagram and returns where the receiver says it came from; nowhere if it did not come,
// or could not even be sent for want of a route.
func seen(c, to *net.UDPConn) netip.AddrPort {
	if _, err := c.WriteToUDPAddrPort([]byte("hello"), to.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		return netip.AddrPort{}
	}
	_ = to.SetReadDeadline(time.Now().Add(measureWait))
	_, from, err := to.ReadFromUDPAddrPort(make([]byte, 64))
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}
