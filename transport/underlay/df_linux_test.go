package underlay

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDF looks at what leaves: every IPv4 packet has DF, from an IPv4 socket and from one for both families, datagrams alone and several as
// one message. Probes of the path MTU prove nothing otherwise.
func TestDF(t *testing.T) {
	for _, bind := range []string{"127.0.0.1:0", "[::]:0"} {
		for _, offload := range []bool{false, true} {
			inNamespace(t, []string{"ip link set lo up mtu 1500"}, func() {
				// Network order of ETH_P_IP.
				wire, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(binary.NativeEndian.Uint16([]byte{0x08, 0x00})))
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Close(wire)
				s, err := ListenUDP(netip.MustParseAddrPort(bind))
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				if offload {
					if _, err := s.Offload(); err != nil {
						t.Error(err)
					}
				}
				to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.LocalAddr().Port())
				var dgs []Datagram
				for _, n := range []int{1, 500, 1028, 1028, 1028, 1472, 1472, 1473} {
					dgs = append(dgs, Datagram{Buf: make([]byte, n), N: n, Addr: to})
				}
				if n, err := s.WriteBatch(dgs); n != 7 || err != nil {
					t.Errorf("WriteBatch = %d, %v; want all but the one that is larger than the interface", n, err)
				}
				seen, b := 0, make([]byte, 1<<16)
				for {
					n, _, err := unix.Recvfrom(wire, b, unix.MSG_DONTWAIT)
					if errors.Is(err, unix.EAGAIN) {
						break
					}
					if err != nil {
						t.Error(err)
						return
					}
					if n < 20 || b[9] != unix.IPPROTO_UDP {
						continue
					}
					seen++
					if flags := binary.BigEndian.Uint16(b[6:]); flags != 0x4000 {
						t.Errorf("%s, offload %v: a packet of %d bytes has flags and offset %#04x", bind, offload, n, flags)
					}
				}
				if seen < 4 {
					t.Errorf("%s, offload %v: %d packets seen", bind, offload, seen)
				}
			})
		}
	}
}
