package mesh

import (
	"math"

	"github.com/vine-mesh/vine/tables"
)

const (
	// fanOut is into how many parts a differing range is cut. With 16, a set of 100,000 is three
	// cuts deep, and one level of prints for one difference is half a kilobyte.
	fanOut = 16
	// leafCount is the number of digests up to which a range is listed rather than cut: a list
	// of 24 costs about as many bytes as the prints of one more level, and saves its round trip.
	leafCount = 24
	// roundsMax bounds how many messages one side takes in one reconciliation. An empty joiner
	// needs 180 for 100,000 documents. A peer that never comes to an end is cut off there.
	roundsMax = 4096
)

// A Reconcile is one side of a comparison of two Indexes, by cutting the space of positions into
// ranges until the differences are found. It finds differences; it moves no documents.
//
// The two sides take turns: the initiator sends Start, then each message is answered by Handle of
// the other side until one side says done. A range is compared by fingerprint. If they differ, a
// side with at most 24 digests in it lists them, otherwise it is cut into 16 parts of equal width.
// Who receives a list knows what it needs, and offers what the other needs.
//
// A message that would grow past MessageBytesMax ends with the fingerprint of all that is left
// instead, to be cut again in the next round. So no state is kept between messages: the Index may
// change at any time, and a broken reconciliation loses nothing.
type Reconcile struct {
	index  *Index
	rounds int
}

// NewReconcile returns a side that speaks for index.
func NewReconcile(index *Index) *Reconcile { return &Reconcile{index: index} }

// Start returns the initiator's first message: the fingerprint of everything, under 64 bytes.
func (r *Reconcile) Start() Message {
	return Message{Items: []Item{r.print(0, math.MaxUint64)}}
}

// Handle takes the peer's message and returns the reply, nil if there is none to give, and what
// the message shows: need are the keys of which the peer has a higher version or we have none, and
// give those that the reply offers because the peer so lacks ours. A key whose two versions are
// equal and whose hashes differ is needed by both: each side should see the other's document, as
// evidence against its signer.
//
// done says that this side expects no further message; a reply, if there is one, is only
// information. need may name a key again that an earlier message named. A peer may list keys that
// do not exist. Handle takes at most 4,096 messages; then it is done whatever the peer sends, and
// what is still different is left to the next reconciliation.
func (r *Reconcile) Handle(m Message) (reply *Message, need, give []tables.DocKey, done bool) {
	r.rounds++
	if len(m.Items) == 0 || r.rounds > roundsMax {
		return nil, nil, nil, true
	}
	b := builder{index: r.index, end: m.Items[len(m.Items)-1].Hi}
	for i := range m.Items {
		it := &m.Items[i]
		switch it.Kind {
		case ItemPrint:
			b.answerPrint(it)
		case ItemList:
			need = append(need, b.answerList(it)...)
		case ItemOffer:
			need = append(need, compareEntries(r.index, it)...)
		}
	}
	if len(b.message.Items) == 0 {
		return nil, need, nil, true
	}
	for _, it := range b.message.Items {
		if it.Kind == ItemOffer {
			for _, e := range it.Entries {
				give = append(give, e.Key)
			}
		}
	}
	return &b.message, need, give, b.message.final()
}

func (r *Reconcile) print(lo, hi uint64) Item {
	t := r.index.sum(lo, hi)
	return Item{Kind: ItemPrint, Lo: lo, Hi: hi, Count: t.count, Print: t.fingerprint()}
}

// compareEntries returns the keys that the peer's entries show we need.
func compareEntries(x *Index, it *Item) (need []tables.DocKey) {
	for i := range it.Entries {
		e := &it.Entries[i]
		if !e.Key.Kind.Valid() {
			continue // from a newer program; we could not read the document
		}
		d, found := x.Get(e.Key)
		if !found || e.Version > d.Version || e.Version == d.Version && entryOf(d) != *e {
			need = append(need, e.Key)
		}
	}
	return need
}

// A builder makes one reply. Items are added in order of position. Once one does not fit, the rest
// of the space up to end is closed with one print, and later additions do nothing.
type builder struct {
	index   *Index
	end     uint64 // the last position that the peer's message speaks of
	message Message
	size    int
	closed  bool
}

// room is what may still be added so that a closing print fits behind it.
func (b *builder) room() int { return MessageBytesMax - b.size - itemBytesMax }

func (b *builder) answerPrint(it *Item) {
	if b.closed {
		return
	}
	own := b.index.sum(it.Lo, it.Hi)
	switch {
	case own.count == it.Count && own.fingerprint() == it.Print:
	case own.count <= leafCount || it.Lo == it.Hi:
		b.list(ItemList, it.Lo, it.Hi, b.entries(it.Lo, it.Hi, every))
	case it.Count == 0:
		b.list(ItemOffer, it.Lo, it.Hi, b.entries(it.Lo, it.Hi, every))
	case it.Count <= leafCount:
		// The peer has few here: our print makes it list them.
		if b.room() < itemBytesMax {
			b.close(it.Lo)
			return
		}
		b.add(Item{Kind: ItemPrint, Lo: it.Lo, Hi: it.Hi, Count: own.count, Print: own.fingerprint()})
	default:
		b.cut(it.Lo, it.Hi)
	}
}

// answerList offers what the peer lacks of ours, and returns what we need of its. Of a list behind
// the point where the reply was closed, what we need is still worth knowing; what the peer needs
// will be compared again.
func (b *builder) answerList(it *Item) (need []tables.DocKey) {
	need = compareEntries(b.index, it)
	if b.closed {
		return need
	}
	theirs := make(map[tables.DocKey]*Entry, len(it.Entries))
	for i := range it.Entries {
		theirs[it.Entries[i].Key] = &it.Entries[i]
	}
	offer := b.entries(it.Lo, it.Hi, func(d tables.Digest) bool {
		e := theirs[d.Key]
		return e == nil || e.Version < d.Version || e.Version == d.Version && entryOf(d) != *e
	})
	if len(offer) > 0 {
		b.list(ItemOffer, it.Lo, it.Hi, offer)
	}
	return need
}

// cut adds one item for each of up to 16 parts of the range, which all have the same width but
// the last. A part with at most one digest is listed at once, as that costs no more than a print.
func (b *builder) cut(lo, hi uint64) {
	step := (hi-lo)/fanOut + 1
	for {
		last := hi-lo < step
		partHi := hi
		if !last {
			partHi = lo + step - 1
		}
		t := b.index.sum(lo, partHi)
		if t.count <= 1 {
			b.list(ItemList, lo, partHi, b.entries(lo, partHi, every))
		} else if b.room() >= itemBytesMax {
			b.add(Item{Kind: ItemPrint, Lo: lo, Hi: partHi, Count: t.count, Print: t.fingerprint()})
		} else {
			b.close(lo)
		}
		if last || b.closed {
			return
		}
		lo = partHi + 1
	}
}

// entries returns what we hold from lo to hi and the peer may want, but not much more than one
// message can carry.
func (b *builder) entries(lo, hi uint64, want func(tables.Digest) bool) []Entry {
	var list []Entry
	size := 0
	for e := range b.index.within(lo, hi) {
		if !want(e.digest) {
			continue
		}
		list = append(list, entryOf(e.digest))
		if size += entryLen(list[len(list)-1]); size > MessageBytesMax {
			break
		}
	}
	return list
}

func every(tables.Digest) bool { return true }

// list adds entries as an item of the given kind for the range. If they do not fit, the item ends
// at the last position that does, and the message is closed behind it.
func (b *builder) list(kind ItemKind, lo, hi uint64, entries []Entry) {
	if b.closed {
		return
	}
	room, n := b.room()-itemListMax, 0
	for n < len(entries) && room >= entryLen(entries[n]) {
		room -= entryLen(entries[n])
		n++
	}
	if n == len(entries) && room >= 0 {
		b.add(Item{Kind: kind, Lo: lo, Hi: hi, Entries: entries})
		return
	}
	// Keys at one position are never torn apart, as a range cannot end between them.
	for n > 0 && Position(entries[n-1].Key) == Position(entries[n].Key) {
		n--
	}
	if n == 0 {
		b.close(lo)
		return
	}
	last := Position(entries[n-1].Key)
	b.add(Item{Kind: kind, Lo: lo, Hi: last, Entries: entries[:n]})
	b.close(last + 1)
}

// close ends the message with the print of everything from lo on. The peer's next message will
// cut it again.
func (b *builder) close(lo uint64) {
	b.closed = true
	t := b.index.sum(lo, b.end)
	b.add(Item{Kind: ItemPrint, Lo: lo, Hi: b.end, Count: t.count, Print: t.fingerprint()})
}

func (b *builder) add(it Item) {
	b.message.Items = append(b.message.Items, it)
	b.size += itemListMax
	if it.Kind == ItemPrint {
		b.size += itemBytesMax - itemListMax
	}
	for i := range it.Entries {
		b.size += entryLen(it.Entries[i])
	}
}
