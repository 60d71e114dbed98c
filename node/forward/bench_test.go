package forward

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// benchSnapshot is a VR of a federation of 1,000 sites in 10 VNs.
func benchSnapshot(b *testing.B) *Snapshot {
	in := Input{Self: 1, Space: []netip.Prefix{prefix("10.192.0.0/10"), prefix("fd00::/8")}, PathMTU: map[tables.RouterID]int{}}
	for id := tables.VNID(1); id <= 10; id++ {
		vn := VNInput{ID: id, Seal: tables.SealEncrypt}
		for r := range 1000 {
			vn.Sets = append(vn.Sets, Set{Routers: []tables.RouterID{tables.RouterID(r + 1)}, Prefixes: []netip.Prefix{
				netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 192 + byte(r>>8), byte(r), 0}), 24),
				netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 6: byte(r >> 8), 7: byte(r)}), 64),
			}})
			in.PathMTU[tables.RouterID(r+1)] = 1400
		}
		for h := range byte(20) {
			vn.Local = append(vn.Local, LocalHost{Addr: netip.AddrFrom4([4]byte{10, 192, 0, h + 1})},
				LocalHost{Addr: netip.AddrFrom16([16]byte{0: 0xfd, 15: h + 1})})
		}
		in.VNs = append(in.VNs, vn)
	}
	return mustSnapshot(b, in)
}

func BenchmarkDecide(b *testing.B) {
	s := benchSnapshot(b)
	for name, packet := range map[string][]byte{
		"IPv4": udp("10.192.0.5", "10.193.7.9", 1400),
		"IPv6": udp("fd00::5", "fd00:0:0:107::9", 1400),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(packet)))
			for b.Loop() {
				if d := Decide(s, 0, packet); d.Drop != DropNone {
					b.Fatal(d.Drop)
				}
			}
		})
	}
}

func BenchmarkArrived(b *testing.B) {
	s := benchSnapshot(b)
	for name, packet := range map[string][]byte{
		"IPv4": udp("10.193.7.9", "10.192.0.5", 1400),
		"IPv6": udp("fd00:0:0:107::9", "fd00::5", 1400),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(packet)))
			for b.Loop() {
				if _, drop := Arrived(s, 0x108, 1, packet); drop != DropNone {
					b.Fatal(drop)
				}
			}
		})
	}
}
