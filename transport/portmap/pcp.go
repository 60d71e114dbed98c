package portmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// The Port Control Protocol, version 2 (RFC 6887). All numbers are big-endian.
const (
	pcpVersion = 2
	// serverPort is that of PCP and NAT-PMP servers (RFC 6887 section 19.1).
	serverPort = 5351
	// announcePort is where clients hear a server's announcements, sent to 224.0.0.1 (RFC 6887 section 14.1.3).
	announcePort = 5350

	pcpHeaderSize = 24
	pcpMapSize    = 36
	pcpBytesMax   = 1100 // RFC 6887 section 7

	pcpAnnounce = 0
	pcpMap      = 1
	pcpAnswered = 0x80 // R bit, beside the opcode
)

// Result codes of PCP (RFC 6887 section 7.4) that change what we do.
const (
	pcpSuccess            = 0
	pcpUnsupportedVersion = 1
)

var pcpResults = []string{
	"success", "unsupported version", "not authorized", "malformed request", "unsupported opcode",
	"unsupported option", "malformed option", "network failure", "no resources", "unsupported protocol",
	"user exceeded quota", "cannot provide external", "address mismatch", "excessive remote peers",
}

// A nonce ties the answers of a PCP server to the client that made a mapping (RFC 6887 section 11.1).
type nonce [12]byte

// A pcpMapping is what a MAP request and its answer say (RFC 6887 figures 9 and 10):
//
//	0: nonce 12 | 12: protocol 1 | 13: zero 3 | 16: internal port 2 | 18: external port 2 | 20: external address 16
type pcpMapping struct {
	nonce    nonce
	port     Port
	external netip.AddrPort // in requests a suggestion
}

// appendPCPHeader appends the header of a request (RFC 6887 figure 2):
//
//	0: version 1 | 1: opcode 1 | 2: zero 2 | 4: lifetime 4, seconds | 8: the client's address 16
func appendPCPHeader(b []byte, op byte, lifetime uint32, client netip.Addr) []byte {
	b = append(b, pcpVersion, op, 0, 0)
	b = binary.BigEndian.AppendUint32(b, lifetime)
	return appendAddr16(b, client)
}

// appendPCPMap appends a MAP request; a lifetime of 0 removes the mapping.
func appendPCPMap(b []byte, lifetime uint32, client netip.Addr, m pcpMapping) []byte {
	return m.append(appendPCPHeader(b, pcpMap, lifetime, client))
}

func (m pcpMapping) append(b []byte) []byte {
	b = append(b, m.nonce[:]...)
	b = append(b, byte(m.port.Protocol), 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, m.port.Port)
	b = binary.BigEndian.AppendUint16(b, m.external.Port())
	return appendAddr16(b, m.external.Addr())
}

func parsePCPMapping(b []byte) pcpMapping {
	return pcpMapping{
		nonce:    nonce(b[:12]),
		port:     Port{Protocol(b[12]), binary.BigEndian.Uint16(b[16:])},
		external: netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[20:36])).Unmap(), binary.BigEndian.Uint16(b[18:])),
	}
}

// appendAddr16 appends an address in 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 6887 section 5).
func appendAddr16(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		a = netip.IPv6Unspecified()
	}
	v := a.As16()
	return append(b, v[:]...)
}

// A pcpAnswer is the answer of a PCP server (RFC 6887 figure 3):
//
//	0: version 1 | 1: R bit and opcode 1 | 2: zero 1 | 3: result 1 | 4: lifetime 4 | 8: epoch 4 | 12: zero 12
//
// followed, if the opcode is MAP, by a pcpMapping, and by options, of which we know none.
type pcpAnswer struct {
	op       byte
	result   uint8
	lifetime uint32 // seconds; of an error, how long it will be one
	epoch    uint32 // seconds since the server lost its mappings
	mapping  pcpMapping
	options  []byte // borrowed from what was parsed
}

var (
	errSize     = errors.New("wrong size")
	errNoAnswer = errors.New("not an answer")
	errOpcode   = errors.New("unknown opcode")
)

// errVersion is a server that does not speak PCP version 2. Servers of NAT-PMP answer with version 0 (RFC 6886 section
// 3.5, RFC 6887 section 9).
type errVersion struct{ version byte }

func (e errVersion) Error() string { return fmt.Sprintf("the server speaks version %d", e.version) }

// parsePCPAnswer parses a whole datagram. Bytes that must be zero are not looked at (RFC 6887 section 7). It fails
// with an errVersion if the server speaks another version.
func parsePCPAnswer(b []byte) (a pcpAnswer, err error) {
	if len(b) < 4 {
		return a, errSize
	}
	if b[1]&pcpAnswered == 0 {
		return a, errNoAnswer
	}
	if b[0] != pcpVersion {
		return a, errVersion{b[0]}
	}
	if len(b) < pcpHeaderSize || len(b) > pcpBytesMax || len(b)%4 != 0 {
		return a, errSize
	}
	a.op, a.result = b[1]&^pcpAnswered, b[3]
	a.lifetime, a.epoch = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	rest := b[pcpHeaderSize:]
	switch a.op {
	case pcpAnnounce:
	case pcpMap:
		if len(rest) < pcpMapSize {
			return a, errSize
		}
		a.mapping, rest = parsePCPMapping(rest), rest[pcpMapSize:]
	default:
		return a, errOpcode
	}
	a.options = rest
	return a, nil
}

// A resultError is a server's refusal.
type resultError struct {
	by   string
	code int
}

func (e resultError) Error() string {
	names := pcpResults
	if e.by == ByNATPMP {
		names = natpmpResults
	}
	if e.by != ByUPnP && e.code < len(names) {
		return e.by + ": " + names[e.code]
	}
	return fmt.Sprintf("%s: error %d", e.by, e.code)
}
