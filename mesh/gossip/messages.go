package gossip

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// The message types of memberlist (protocol version 2 to 5) that the policing knows.
const (
	typePing         = 0
	typeIndirectPing = 1
	typeAck          = 2
	typeSuspect      = 3
	typeAlive        = 4
	typeDead         = 5
	typePushPull     = 6
	typeCompound     = 7
	typeUser         = 8
	typeNack         = 11
	typeCRC          = 12
	typeError        = 13
)

// The states of a member in a push/pull stream.
const (
	stateAlive   = 0
	stateSuspect = 1
	stateDead    = 2
	stateLeft    = 3
)

// typeRumour is the first byte of our own user messages; serf's are 0 to 9.
const typeRumour = 0xD1

const (
	// nameMax is the longest enrolment name.
	nameMax = 63
	// metaMax is memberlist's MetaMaxSize.
	metaMax = 512
	// ackPayloadMax bounds the payload of an ack: serf's coordinate (about 130 bytes) and
	// the root hash.
	ackPayloadMax = 512
)

// A ping asks Node for an ack; indirect pings ask a third member to do so.
type ping struct {
	seq        uint32
	node       []byte
	target     []byte // indirect only: address of node
	port       uint16 // indirect only
	nack       bool   // indirect only
	sourceAddr []byte
	sourcePort uint16
	sourceNode []byte
}

func parsePing(b []byte) (m ping, err error) {
	r := reader{b}
	err = r.fields(func(name string) (bool, error) {
		var err error
		var n uint64
		switch name {
		case "SeqNo":
			n, err = r.uint(math.MaxUint32)
			m.seq = uint32(n)
		case "Node":
			m.node, err = r.raw(nameMax)
		case "Target":
			m.target, err = r.raw(16)
		case "Port":
			n, err = r.uint(math.MaxUint16)
			m.port = uint16(n)
		case "Nack":
			m.nack, err = r.bool()
		case "SourceAddr":
			m.sourceAddr, err = r.raw(16)
		case "SourcePort":
			n, err = r.uint(math.MaxUint16)
			m.sourcePort = uint16(n)
		case "SourceNode":
			m.sourceNode, err = r.raw(nameMax)
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}

func appendPing(b []byte, m ping, indirect bool) []byte {
	if indirect {
		b = appendMap(append(b, typeIndirectPing), 8)
		b = appendRaw(appendRaw(b, "Target"), m.target)
		b = appendUint(appendRaw(b, "Port"), uint64(m.port))
		b = appendBool(appendRaw(b, "Nack"), m.nack)
	} else {
		b = appendMap(append(b, typePing), 5)
	}
	b = appendUint(appendRaw(b, "SeqNo"), uint64(m.seq))
	b = appendRaw(appendRaw(b, "Node"), m.node)
	b = appendRaw(appendRaw(b, "SourceAddr"), m.sourceAddr)
	b = appendUint(appendRaw(b, "SourcePort"), uint64(m.sourcePort))
	return appendRaw(appendRaw(b, "SourceNode"), m.sourceNode)
}

// An ack answers a ping; a nack, which has no payload, says that the ping got no answer.
type ack struct {
	seq     uint32
	payload []byte
}

func parseAck(b []byte) (m ack, err error) {
	r := reader{b}
	m, err = r.ack()
	return m, err
}

func (r *reader) ack() (m ack, err error) {
	err = r.fields(func(name string) (bool, error) {
		var err error
		var n uint64
		switch name {
		case "SeqNo":
			n, err = r.uint(math.MaxUint32)
			m.seq = uint32(n)
		case "Payload":
			m.payload, err = r.raw(ackPayloadMax)
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}

func appendAck(b []byte, m ack) []byte {
	b = appendMap(append(b, typeAck), 2)
	b = appendUint(appendRaw(b, "SeqNo"), uint64(m.seq))
	return appendRaw(appendRaw(b, "Payload"), m.payload)
}

func appendNack(b []byte, seq uint32) []byte {
	b = appendMap(append(b, typeNack), 1)
	return appendUint(appendRaw(b, "SeqNo"), uint64(seq))
}

// An accusation is the content of a suspect and of a dead message. A dead message whose
// node and from are equal is a leave.
type accusation struct {
	incarnation uint32
	node        []byte
	from        []byte
}

func parseAccusation(b []byte) (m accusation, err error) {
	r := reader{b}
	err = r.fields(func(name string) (bool, error) {
		var err error
		var n uint64
		switch name {
		case "Incarnation":
			n, err = r.uint(math.MaxUint32)
			m.incarnation = uint32(n)
		case "Node":
			m.node, err = r.raw(nameMax)
		case "From":
			m.from, err = r.raw(nameMax)
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}

func appendAccusation(b []byte, typ byte, m accusation) []byte {
	b = appendMap(append(b, typ), 3)
	b = appendUint(appendRaw(b, "Incarnation"), uint64(m.incarnation))
	b = appendRaw(appendRaw(b, "Node"), m.node)
	return appendRaw(appendRaw(b, "From"), m.from)
}

// A claim says that a member is there, or in a push/pull stream what state it is in.
type claim struct {
	incarnation uint32
	node        []byte
	addr        []byte
	port        uint16
	meta        []byte
	vsn         []byte
	state       uint8 // push/pull only
}

func parseAlive(b []byte) (m claim, err error) {
	r := reader{b}
	return r.claim("Node")
}

// claim takes an alive message, whose name field is Node, or a push/pull state, whose name
// field is Name.
func (r *reader) claim(nameField string) (m claim, err error) {
	err = r.fields(func(name string) (bool, error) {
		var err error
		var n uint64
		switch name {
		case "Incarnation":
			n, err = r.uint(math.MaxUint32)
			m.incarnation = uint32(n)
		case nameField:
			m.node, err = r.raw(nameMax)
		case "Addr":
			m.addr, err = r.raw(16)
		case "Port":
			n, err = r.uint(math.MaxUint16)
			m.port = uint16(n)
		case "Meta":
			m.meta, err = r.raw(metaMax)
		case "Vsn":
			m.vsn, err = r.raw(6)
		case "State":
			n, err = r.uint(stateLeft)
			m.state = uint8(n)
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}

func appendAlive(b []byte, m claim) []byte {
	b = appendMap(append(b, typeAlive), 6)
	b = appendRaw(appendRaw(b, "Node"), m.node)
	return appendClaim(b, m)
}

func appendState(b []byte, m claim) []byte {
	b = appendMap(b, 7)
	b = appendRaw(appendRaw(b, "Name"), m.node)
	b = appendUint(appendRaw(b, "State"), uint64(m.state))
	return appendClaim(b, m)
}

func appendClaim(b []byte, m claim) []byte {
	b = appendUint(appendRaw(b, "Incarnation"), uint64(m.incarnation))
	b = appendRaw(appendRaw(b, "Addr"), m.addr)
	b = appendUint(appendRaw(b, "Port"), uint64(m.port))
	b = appendRaw(appendRaw(b, "Meta"), m.meta)
	return appendRaw(appendRaw(b, "Vsn"), m.vsn)
}

// splitPacket calls message for each message of a gossip packet, after checking and taking
// off memberlist's checksum. It returns an error for a packet that memberlist does not make.
func splitPacket(b []byte, message func(b []byte)) error {
	if len(b) >= 5 && b[0] == typeCRC {
		if crc32.ChecksumIEEE(b[5:]) != binary.BigEndian.Uint32(b[1:5]) {
			return errEncoding
		}
		b = b[5:]
	}
	if len(b) == 0 {
		return errShort
	}
	if b[0] != typeCompound {
		message(b)
		return nil
	}
	if len(b) < 2 {
		return errShort
	}
	n := int(b[1])
	lengths, parts := b[2:], b[2:]
	if len(parts) < 2*n {
		return errShort
	}
	parts = parts[2*n:]
	for i := range n {
		l := int(binary.BigEndian.Uint16(lengths[2*i:]))
		if l == 0 || l > len(parts) {
			return errShort
		}
		// A compound inside a compound is something that memberlist reads and never writes.
		if parts[0] == typeCompound || parts[0] == typeCRC {
			return errEncoding
		}
		message(parts[:l:l])
		parts = parts[l:]
	}
	return nil
}

// joinPacket makes one packet of messages, nil of none. There are at most 255.
func joinPacket(messages [][]byte) []byte {
	switch len(messages) {
	case 0:
		return nil
	case 1:
		return messages[0]
	}
	size := 2
	for _, m := range messages {
		size += 2 + len(m)
	}
	b := make([]byte, 2, size)
	b[0], b[1] = typeCompound, byte(len(messages))
	for _, m := range messages {
		b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
	}
	for _, m := range messages {
		b = append(b, m...)
	}
	return b
}
