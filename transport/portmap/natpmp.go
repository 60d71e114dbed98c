package portmap

import (
	"encoding/binary"
	"net/netip"
)

// The NAT Port Mapping Protocol (RFC 6886). All numbers are big-endian.
const (
	natpmpVersion = 0

	natpmpAddress = 0 // opcodes; an answer's has natpmpAnswered added
	natpmpMapUDP  = 1
	natpmpMapTCP  = 2

	natpmpAnswered = 128

	natpmpErrorSize   = 8 // what every answer begins with; an error may end there
	natpmpAddressSize = 12
	natpmpMapSize     = 16
)

// natpmpResults are the result codes (RFC 6886 section 3.5).
var natpmpResults = []string{
	"success", "unsupported version", "not authorized", "network failure", "out of resources", "unsupported opcode",
}

// appendNATPMPAddress appends the question for the external address (RFC 6886 section 3.2):
//
//	0: version 1 | 1: opcode 1
func appendNATPMPAddress(b []byte) []byte { return append(b, natpmpVersion, natpmpAddress) }

// appendNATPMPMap appends a mapping request (RFC 6886 section 3.3):
//
//	0: version 1 | 1: opcode 1 | 2: zero 2 | 4: internal port 2 | 6: suggested external port 2 | 8: lifetime 4, seconds
//
// A lifetime and a suggested port of 0 remove the mapping (section 3.4).
func appendNATPMPMap(b []byte, port Port, external uint16, lifetime uint32) []byte {
	b = append(b, natpmpVersion, natpmpOp(port.Protocol), 0, 0)
	b = binary.BigEndian.AppendUint16(b, port.Port)
	b = binary.BigEndian.AppendUint16(b, external)
	return binary.BigEndian.AppendUint32(b, lifetime)
}

func natpmpOp(p Protocol) byte {
	if p == TCP {
		return natpmpMapTCP
	}
	return natpmpMapUDP
}

// A natpmpAnswer is the answer of a NAT-PMP server (RFC 6886 sections 3.2, 3.3 and 3.5):
//
//	0: version 1 | 1: 128 + opcode 1 | 2: result 2 | 4: epoch 4, then one of
//	8: external address 4
//	8: internal port 2 | 10: external port 2 | 12: lifetime 4
//
// An error may end after the epoch.
type natpmpAnswer struct {
	op       byte
	result   uint16
	epoch    uint32 // seconds since the server lost its mappings
	short    bool   // an error without a body
	address  netip.Addr
	port     Port
	external uint16
	lifetime uint32 // seconds
}

// parseNATPMPAnswer parses a whole datagram.
func parseNATPMPAnswer(b []byte) (a natpmpAnswer, err error) {
	if len(b) < natpmpErrorSize {
		return a, errSize
	}
	if b[1] < natpmpAnswered {
		return a, errNoAnswer
	}
	if b[0] != natpmpVersion {
		return a, errVersion{b[0]}
	}
	a.op, a.result, a.epoch = b[1]-natpmpAnswered, binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])
	if a.result != 0 && len(b) == natpmpErrorSize {
		a.short = true
		return a, nil
	}
	body := b[natpmpErrorSize:]
	switch a.op {
	case natpmpAddress:
		if len(b) != natpmpAddressSize {
			return a, errSize
		}
		a.address = netip.AddrFrom4([4]byte(body))
	case natpmpMapUDP, natpmpMapTCP:
		if len(b) != natpmpMapSize {
			return a, errSize
		}
		a.port = Port{UDP, binary.BigEndian.Uint16(body)}
		if a.op == natpmpMapTCP {
			a.port.Protocol = TCP
		}
		a.external, a.lifetime = binary.BigEndian.Uint16(body[2:]), binary.BigEndian.Uint32(body[4:])
	default:
		return a, errOpcode
	}
	return a, nil
}
