package mesh

import (
	"encoding/binary"
	"math"

	"github.com/vine-mesh/vine/tables"
)

// MessageBytesMax bounds a reconciliation message. 16 KiB lists some 600 digests, so a joiner
// asks often enough to be stopped, and a message passes any link in a fraction of a second.
const MessageBytesMax = 16 << 10

// A Message is one step of a reconciliation: what the sender holds in some ranges of positions.
// Ranges that it does not mention need nothing more. The encoding is the items one after another:
//
//	kind 1 | gap | width | body
//	kind 1, print: count, fingerprint 16
//	kind 2, list:  n, n entries
//	kind 3, offer: n >= 1, n entries
//	entry: document kind 1, ID length, ID, version, check 16
//
// Numbers without a size are unsigned LEB128 in shortest form. An item covers the positions Lo to
// Hi, both included; Lo is the position after the last item's Hi (0 for the first) plus gap, and
// Hi is Lo plus width. So items are in order and apart, which bounds the work that a message can
// ask for by one pass over the Index.
type Message struct {
	Items []Item
}

// An ItemKind says what an Item tells of its range.
type ItemKind uint8

// The kinds of item.
const (
	ItemPrint ItemKind = 1 // the fingerprint of what the sender holds: "is yours the same?"
	ItemList  ItemKind = 2 // everything that the sender holds: "what have you that I have not?"
	ItemOffer ItemKind = 3 // some of what the sender holds and the receiver lacks; no answer is due
)

// An Item tells of the positions Lo to Hi, both included.
type Item struct {
	Kind    ItemKind
	Lo, Hi  uint64
	Count   uint64      // ItemPrint only: how many digests the sender holds there
	Print   Fingerprint // ItemPrint only
	Entries []Entry     // ItemList and ItemOffer
}

// An Entry is a digest with its hash cut to the first 16 bytes: who wants two documents of one
// version to look the same must find a collision of 128 bits, and a list is a third shorter.
type Entry struct {
	Key     tables.DocKey
	Version uint64
	Check   [16]byte
}

func entryOf(d tables.Digest) Entry {
	return Entry{Key: d.Key, Version: d.Version, Check: [16]byte(d.Hash[:16])}
}

// final reports whether m expects no answer.
func (m *Message) final() bool {
	for i := range m.Items {
		if m.Items[i].Kind != ItemOffer {
			return false
		}
	}
	return true
}

// AppendMessage appends the encoding of m to b. The items must be in order and apart.
func AppendMessage(b []byte, m Message) []byte {
	next := uint64(0)
	for i := range m.Items {
		b = appendItem(b, next, &m.Items[i])
		next = m.Items[i].Hi + 1
	}
	return b
}

func appendItem(b []byte, next uint64, it *Item) []byte {
	b = append(b, byte(it.Kind))
	b = binary.AppendUvarint(b, it.Lo-next)
	b = binary.AppendUvarint(b, it.Hi-it.Lo)
	if it.Kind == ItemPrint {
		b = binary.AppendUvarint(b, it.Count)
		return append(b, it.Print[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(it.Entries)))
	for i := range it.Entries {
		b = appendKey(b, it.Entries[i].Key)
		b = binary.AppendUvarint(b, it.Entries[i].Version)
		b = append(b, it.Entries[i].Check[:]...)
	}
	return b
}

// The longest an item can be without its entries, and an entry without its ID.
const (
	itemBytesMax = 1 + 10 + 10 + 10 + len(Fingerprint{})
	itemListMax  = 1 + 10 + 10 + 3
)

func entryLen(e Entry) int { return keyLen(e.Key) + uvarintLen(e.Version) + len(e.Check) }

// ParseMessage reads one message that fills b. It refuses messages over MessageBytesMax and every
// encoding that AppendMessage would not give.
func ParseMessage(b []byte) (Message, error) {
	var m Message
	if len(b) > MessageBytesMax {
		return m, errMalformed
	}
	r := reader{b: b}
	next, full := uint64(0), false
	for len(r.b) > 0 {
		it := Item{Kind: ItemKind(r.byte())}
		gap, width := r.uvarint(), r.uvarint()
		if full || gap > math.MaxUint64-next || width > math.MaxUint64-next-gap {
			return Message{}, errMalformed
		}
		it.Lo = next + gap
		it.Hi = it.Lo + width
		full = it.Hi == math.MaxUint64
		next = it.Hi + 1
		switch it.Kind {
		case ItemPrint:
			it.Count = r.uvarint()
			copy(it.Print[:], r.bytes(len(it.Print)))
		case ItemList, ItemOffer:
			n := r.uvarint()
			// An entry takes at least 20 bytes; so the allocation is bounded by the message.
			if n > uint64(len(r.b)/20) || it.Kind == ItemOffer && n == 0 {
				return Message{}, errMalformed
			}
			if n > 0 {
				it.Entries = make([]Entry, n)
			}
			for i := range it.Entries {
				e := &it.Entries[i]
				e.Key, e.Version = r.key(), r.uvarint()
				copy(e.Check[:], r.bytes(len(e.Check)))
			}
		default:
			return Message{}, errMalformed
		}
		if r.failed {
			return Message{}, errMalformed
		}
		m.Items = append(m.Items, it)
	}
	return m, nil
}
