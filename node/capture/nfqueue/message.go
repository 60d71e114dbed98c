//go:build linux

package nfqueue

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The messages of linux/netfilter/nfnetlink_queue.h. What is in a message is in the order of the network, the headers of
// netlink are in that of the machine.
const (
	msgPacket       = unix.NFNL_SUBSYS_QUEUE << 8
	msgConfig       = unix.NFNL_SUBSYS_QUEUE<<8 | 2
	msgVerdictBatch = unix.NFNL_SUBSYS_QUEUE<<8 | 3

	headerLen = unix.SizeofNlMsghdr + 4 // and nfgenmsg: family 1, version 1, queue 2

	attrPacket  = 1 // id 4, protocol 2, hook 1
	attrVerdict = 2 // verdict 4, id 4
	attrIndev   = 5
	attrHWAddr  = 9 // length 2, padding 2, address 8
	attrPayload = 10
	attrCapLen  = 13 // there only if the payload was cut
	attrInfo    = 14

	infoNoChecksum = 1
	infoGSO        = 2

	configCommand  = 1 // command 1, padding 1, family 2
	configParams   = 2 // range 4, mode 1
	configLength   = 3
	configMask     = 4
	configFlags    = 5
	commandBind    = 1
	copyPacket     = 2
	copyBytes      = 0xffff // the kernel makes it what fits an attribute
	flagGSO        = 1 << 2
	verdictDropped = 0
)

// A message is a packet in a queue.
type message struct {
	queue   uint16
	id      uint32
	index   int     // of the interface
	mac     [6]byte // where it came from; zeroes: not known
	info    uint32
	cut     bool
	payload []byte // a view
}

// parseMessage takes the first message from b. ok is false for a message that is no packet, and rest is nil where b holds no
// further one.
func parseMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	length := int(binary.NativeEndian.Uint32(b))
	if length < unix.SizeofNlMsghdr || length > len(b) {
		return m, nil, false
	}
	if next := (length + 3) &^ 3; next < len(b) {
		rest = b[next:]
	}
	if binary.NativeEndian.Uint16(b[4:]) != msgPacket || length < headerLen {
		return m, rest, false
	}
	m.queue = binary.BigEndian.Uint16(b[unix.SizeofNlMsghdr+2:])
	for b = b[headerLen:length]; len(b) >= unix.SizeofNlAttr; {
		size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if size < unix.SizeofNlAttr || size > len(b) {
			return m, rest, false
		}
		switch value := b[unix.SizeofNlAttr:size]; {
		case kind == attrPacket && len(value) >= 4:
			m.id, ok = binary.BigEndian.Uint32(value), true
		case kind == attrIndev && len(value) >= 4:
			m.index = int(binary.BigEndian.Uint32(value))
		case kind == attrHWAddr && len(value) >= 10 && binary.BigEndian.Uint16(value) == 6:
			m.mac = [6]byte(value[4:])
		case kind == attrInfo && len(value) >= 4:
			m.info = binary.BigEndian.Uint32(value)
		case kind == attrCapLen:
			m.cut = true
		case kind == attrPayload:
			m.payload = value
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return m, rest, ok
}

// verdictLen is the length of a verdict.
const verdictLen = headerLen + unix.SizeofNlAttr + 8

// putVerdict writes the message that drops all packets of a queue up to the one with the id.
func putVerdict(b *[verdictLen]byte, queue uint16, id uint32) {
	*b = [verdictLen]byte{}
	binary.NativeEndian.PutUint32(b[0:], verdictLen)
	binary.NativeEndian.PutUint16(b[4:], msgVerdictBatch)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.BigEndian.PutUint16(b[unix.SizeofNlMsghdr+2:], queue)
	binary.NativeEndian.PutUint16(b[headerLen:], verdictLen-headerLen)
	binary.NativeEndian.PutUint16(b[headerLen+2:], attrVerdict)
	binary.BigEndian.PutUint32(b[headerLen+4:], verdictDropped)
	binary.BigEndian.PutUint32(b[headerLen+8:], id)
}
