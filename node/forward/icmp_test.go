package forward

import (
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// appendFor decides nothing: it asks for the ICMP error kind about b from a VR with both own
// addresses.
func appendFor(t *testing.T, kind ICMPKind, tooBig int, b []byte) ([]byte, bool) {
	t.Helper()
	p, drop := Parse(b)
	if drop != DropNone {
		t.Fatal(drop)
	}
	s := &Snapshot{own4: addr("10.192.0.254"), own6: addr("fd00::fe")}
	return AppendICMP(nil, s, Decision{ICMP: kind, TooBig: tooBig, Packet: p}, b)
}

// gopacket reads each error as what it should be.
func TestAppendICMPAsOthersReadIt(t *testing.T) {
	tests := []struct {
		name   string
		b      []byte
		kind   ICMPKind
		mtu    int
		length int
		typ    uint16 // type << 8 | code
		want   uint32 // of the second word
	}{
		{"fragmentation needed", udp("10.192.0.1", "10.192.1.1", 1500), ICMPTooBig, 1400, 576, 3<<8 | 4, 1400},
		{"fragmentation needed, narrow", udp("10.192.0.1", "10.192.1.1", 1500), ICMPTooBig, 640, 576, 3<<8 | 4, 640},
		{"time exceeded", udp("10.192.0.1", "10.192.1.1", 100), ICMPTimeExceeded, 0, 128, 11 << 8, 0},
		{"packet too big", udp("fd00::1", "fd00::2", 1500), ICMPTooBig, 1400, 1280, 2 << 8, 1400},
		{"packet too big, narrow", udp("fd00::1", "fd00::2", 1500), ICMPTooBig, 700, 1280, 2 << 8, 1280},
		{"hop limit exceeded", udp("fd00::1", "fd00::2", 100), ICMPTimeExceeded, 0, 148, 3 << 8, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, ok := appendFor(t, test.kind, test.mtu, test.b)
			if !ok || len(out) != test.length {
				t.Fatalf("%v, %d bytes; want %d", ok, len(out), test.length)
			}
			first := gopacket.LayerClass(layers.LayerTypeICMPv4)
			decoder := gopacket.Decoder(layers.LayerTypeIPv4)
			header := ipv4HeaderLen
			if test.b[0]>>4 == 6 {
				first, decoder, header = layers.LayerTypeICMPv6, layers.LayerTypeIPv6, ipv6HeaderLen
			}
			layer := gopacket.NewPacket(out, decoder, gopacket.Default).LayerClass(first)
			var typ uint16
			switch layer := layer.(type) {
			case *layers.ICMPv4:
				typ = uint16(layer.TypeCode)
			case *layers.ICMPv6:
				typ = uint16(layer.TypeCode)
			default:
				t.Fatal("gopacket finds no ICMP")
			}
			if word := binary.BigEndian.Uint32(out[header+4:]); typ != test.typ || word != test.want {
				t.Fatalf("type and code %#x, word %d; want %#x, %d", typ, word, test.typ, test.want)
			}
		})
	}
}

func TestAppendICMPOnlyWhereAllowed(t *testing.T) {
	icmp4 := func(typ byte) []byte {
		return ip("10.192.0.1", "10.192.1.1", protoICMPv4, []byte{typ, 0, 0, 0, 0, 0, 0, 0})
	}
	icmp6 := func(typ byte) []byte { return ip("fd00::1", "fd00::2", protoICMPv6, []byte{typ, 0, 0, 0, 0, 0, 0, 0}) }
	four := udp("10.192.0.1", "10.192.1.1", 100)
	tests := []struct {
		name string
		b    []byte
		want bool
	}{
		{"UDP", four, true},
		{"first fragment", withFlags(udp("10.192.0.1", "10.192.1.1", 100), 0x2000), true},
		{"later fragment", withFlags(four, 5), false},
		{"echo", icmp4(8), true},
		{"echo reply", icmp4(0), true},
		{"unreachable", icmp4(3), false},
		{"redirect", icmp4(5), false},
		{"time exceeded", icmp4(11), false},
		{"parameter problem", icmp4(12), false},
		{"ICMP type unknown", icmp4(200), false},
		{"ICMP without type", ip("10.192.0.1", "10.192.1.1", protoICMPv4, nil), false},
		{"IPv4 with ICMPv6's number", ip("10.192.0.1", "10.192.1.1", protoICMPv6, []byte{1}), true},
		{"UDP, IPv6", udp("fd00::1", "fd00::2", 100), true},
		{"echo, IPv6", icmp6(128), true},
		{"unreachable, IPv6", icmp6(1), false},
		{"unknown error, IPv6", icmp6(127), false},
		{"redirect, IPv6", icmp6(137), false},
		{"ICMPv6 without type", ip("fd00::1", "fd00::2", protoICMPv6, nil), false},
		{"error behind options, IPv6", ip("fd00::1", "fd00::2", protoDestOpts, ext(protoICMPv6, 0, 1, 0, 0, 0)), false},
		{"behind too many options, IPv6", ip("fd00::1", "fd00::2", protoDestOpts, manyOptions()), false},
		{"later fragment, IPv6", ip("fd00::1", "fd00::2", protoIPFrag, []byte{17, 0, 0, 16, 0, 0, 0, 0, 1}), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, kind := range []ICMPKind{ICMPTooBig, ICMPTimeExceeded} {
				if _, ok := appendFor(t, kind, 1300, test.b); ok != test.want {
					t.Errorf("kind %d: %v, want %v", kind, ok, test.want)
				}
			}
			if _, ok := appendFor(t, ICMPNone, 0, test.b); ok {
				t.Error("an error that nobody asked for")
			}
			p, _ := Parse(test.b)
			if _, ok := AppendICMP(nil, new(Snapshot), Decision{ICMP: ICMPTimeExceeded, Packet: p}, test.b); ok {
				t.Error("an error from no address")
			}
		})
	}
}

// A packet that is shorter than its Decision says is not answered.
func TestAppendICMPShort(t *testing.T) {
	b := udp("10.192.0.1", "10.192.1.1", 100)
	p, _ := Parse(b)
	s := &Snapshot{own4: addr("10.192.0.254")}
	if _, ok := AppendICMP(nil, s, Decision{ICMP: ICMPTooBig, TooBig: 1300, Packet: p}, b[:99]); ok {
		t.Error("answered 99 of 100 bytes")
	}
}

func manyOptions() []byte {
	var b []byte
	for range extHeadersMax {
		b = append(b, ext(protoDestOpts, 0)...)
	}
	return append(b, ext(protoICMPv6, 0, 1, 0, 0, 0)...)
}
