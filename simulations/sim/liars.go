package sim

type lie uint8

const (
	honest lie = iota
	liarSuspects
	liarCapacity
	liarDrops
	liarStale
)

var lies = map[string]lie{"": honest, "suspects": liarSuspects, "capacity": liarCapacity, "drops": liarDrops, "stale": liarStale}

// liar returns what a VR does to others.
func (e *Engine) liar(v int32) lie { return e.groupLies[e.net.groupOf[v]] }

// nat returns what stands between a VR and the Internet.
func (e *Engine) nat(v int32) natKind { return e.groupNATs[e.net.groupOf[v]] }

// lieNow has the liars of a second lie: they accuse a random member, or repeat the oldest version of a random document.
func (e *Engine) lieNow() {
	if !e.anyLiar {
		return
	}
	for i := range e.vrs {
		v := int32(i)
		if !e.vrs[v].joined || e.vrs[v].paused {
			continue
		}
		switch e.liar(v) {
		case liarSuspects:
			s := e.someMember(v, alive)
			if s >= 0 {
				e.queueBroadcast(v, message{kind: saySuspect, subject: s, from: v, number: e.look(v, s).number})
			}
		case liarStale:
			if len(e.docs) > 0 {
				doc := int32(e.rnd.below(int64(len(e.docs))))
				e.repeat(v, doc)
			}
		}
	}
}

// repeat queues a rumour of the first version of a document, which the liar has kept.
func (e *Engine) repeat(v, doc int32) {
	if e.docs[doc].latest > 1 && e.docs[doc].held != nil {
		e.vrs[v].rumours = append(e.vrs[v].rumours[:0], rumour{doc: doc, version: 1, size: rumourHead + min(e.docs[doc].size, inlineMax)})
		e.wakeGossip(v)
	}
}
