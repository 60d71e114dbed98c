package lease

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/vine-mesh/vine/tables"
)

// A Group names the VRs that arbitrate one lease: those of one federation that share these addresses.
type Group [16]byte

// GroupOf returns the Group of a federation for gateway addresses, in any order.
func GroupOf(federation tables.Hash, addrs []netip.Addr) (g Group) {
	sorted := slices.Clone(addrs)
	slices.SortFunc(sorted, netip.Addr.Compare)
	h := sha256.New()
	h.Write(federation[:])
	for _, a := range sorted {
		b := a.As16()
		h.Write(b[:])
	}
	copy(g[:], h.Sum(nil))
	return g
}

// A Message is what one VR says to the others of its set.
type Message struct {
	Group  Group
	Router tables.RouterID
	// Epoch is greater than in every earlier run of the VR, Count than in every earlier Message of this run.
	Epoch, Count uint64
	Holds        bool   // the VR holds the lease
	Fit          bool   // packets that it takes get out of the site
	Leaves       bool   // it stops: this is its last Message
	Hears        []Peer // whom it hears, at most PeersMax
}

// A Peer is a VR in one of its runs.
type Peer struct {
	Router tables.RouterID
	Epoch  uint64
}

// PeersMax bounds Message.Hears: all others of the largest delivery set.
const PeersMax = tables.SharersMax - 1

// MessageMax is the length of the longest Message in bytes.
const MessageMax = headLen + PeersMax*peerLen + ed25519.SignatureSize

const (
	headLen = 2 + 1 + 1 + 16 + 4 + 8 + 8 + 1
	peerLen = 4 + 8

	flagHolds  = 1
	flagFit    = 2
	flagLeaves = 4
)

// magic begins every message: the protocol and its version.
var magic = []byte{'V', 'G', 1}

// domain keeps a signature of a message from meaning anything else that an identity signs.
const domain = "vine gateway lease v1\x00"

// ErrMessage says that bytes are no Message that counts.
var ErrMessage = errors.New("no message of a VR of the set")

// Append appends m as it travels, signed. sign signs with the identity of m.Router.
func (m Message) Append(b []byte, sign func(message []byte) []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	var flags byte
	for flag, on := range map[byte]bool{flagHolds: m.Holds, flagFit: m.Fit, flagLeaves: m.Leaves} {
		if on {
			flags |= flag
		}
	}
	b = append(b, flags)
	b = append(b, m.Group[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(m.Router))
	b = binary.BigEndian.AppendUint64(b, m.Epoch)
	b = binary.BigEndian.AppendUint64(b, m.Count)
	b = append(b, byte(len(m.Hears)))
	for _, p := range m.Hears {
		b = binary.BigEndian.AppendUint32(b, uint32(p.Router))
		b = binary.BigEndian.AppendUint64(b, p.Epoch)
	}
	return append(b, sign(append([]byte(domain), b[start:]...))...)
}

// Parse returns the Message that b begins with, which may be padded, if it is of the group and signed with the key of its
// router. key returns that, and false for routers that are not of the set. It costs one signature verification at most, and only
// for what names the group and a router of the set.
func Parse(b []byte, group Group, key func(tables.RouterID) (tables.PublicKey, bool)) (Message, error) {
	if len(b) < headLen+ed25519.SignatureSize || !bytes.Equal(b[:len(magic)], magic) {
		return Message{}, ErrMessage
	}
	m := Message{
		Holds: b[3]&flagHolds != 0, Fit: b[3]&flagFit != 0, Leaves: b[3]&flagLeaves != 0, Group: Group(b[4:20]),
		Router: tables.RouterID(binary.BigEndian.Uint32(b[20:])), Epoch: binary.BigEndian.Uint64(b[24:]), Count: binary.BigEndian.Uint64(b[32:]),
	}
	count := int(b[40])
	length := headLen + count*peerLen
	if b[3] > flagHolds|flagFit|flagLeaves || m.Group != group || count > PeersMax || len(b) < length+ed25519.SignatureSize {
		return Message{}, ErrMessage
	}
	for rest := b[headLen:length]; len(rest) > 0; rest = rest[peerLen:] {
		m.Hears = append(m.Hears, Peer{tables.RouterID(binary.BigEndian.Uint32(rest)), binary.BigEndian.Uint64(rest[4:])})
	}
	k, ok := key(m.Router)
	if !ok || !tables.Verify(k, append([]byte(domain), b[:length]...), b[length:length+ed25519.SignatureSize]) {
		return Message{}, ErrMessage
	}
	return m, nil
}
