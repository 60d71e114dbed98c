package transport

import (
	"container/heap"
	"encoding/binary"
	"io"
	"net/netip"
	"time"
)

// begin and end frame every exported method that changes something. In between, deadlines of
// touched links are not in order.
func (l *Links) begin(now time.Time) { l.now = now }

func (l *Links) end() []Action {
	for len(l.touched) > 0 {
		k := l.touched[0]
		l.touched = l.touched[1:]
		k.touched = false
		if k.conn != nil {
			k.conn.session.tell(l.now, k.conn)
			k.conn.flush(l.now)
		}
		l.advanceDial(l.now, k)
		l.schedule(&k.timed, l.dueLink(l.now, k))
	}
	for len(l.touchedJ) > 0 {
		j := l.touchedJ[0]
		l.touchedJ = l.touchedJ[1:]
		j.touched = false
		if j.conn.closed {
			continue
		}
		l.advanceJoin(l.now, j) // the finish goes before what only it lets the member read
		if j.conn.session != nil {
			j.conn.flush(l.now)
		}
		if !j.conn.closed {
			l.schedule(&j.timed, l.dueJoin(l.now, j))
		}
	}
	actions := l.actions
	l.actions, l.touched, l.touchedJ = nil, nil, nil
	return actions
}

func (l *Links) emit(a Action) { l.actions = append(l.actions, a) }

func (l *Links) send(to netip.AddrPort, datagram []byte) { l.emit(Send{To: to, Datagram: datagram}) }

// own makes an index ours that datagrams name.
func (l *Links) own(index uint32, o owner) {
	l.index[index] = o
	l.emit(Listening{Index: index, On: true})
}

// disown forgets such an index.
func (l *Links) disown(index uint32) {
	if _, have := l.index[index]; have {
		delete(l.index, index)
		l.emit(Listening{Index: index})
	}
}

func (l *Links) touch(k *link) {
	if !k.touched {
		k.touched = true
		l.touched = append(l.touched, k)
	}
}

func (l *Links) touchJoin(j *join) {
	if !j.touched {
		j.touched = true
		l.touchedJ = append(l.touchedJ, j)
	}
}

func (l *Links) touchConn(c *conn) {
	if k := l.links[c.router]; c.router != 0 && k != nil {
		l.touch(k)
	} else if j := l.joins[c.id]; j != nil {
		l.touchJoin(j)
	}
}

// use notes that a stream of a link is used: it is not idle.
func (l *Links) use(now time.Time, c *conn) {
	if k := l.links[c.router]; c.router != 0 && k != nil {
		k.used, k.interest = now, now.Add(dialInterest)
	}
}

func (l *Links) schedule(t *timed, due time.Time) {
	switch {
	case due.IsZero():
		l.unschedule(t)
		t.due = due
	case t.at < 0:
		t.due = due
		heap.Push(&l.heap, t)
	default:
		t.due = due
		heap.Fix(&l.heap, t.at)
	}
}

func (l *Links) unschedule(t *timed) {
	if t.at >= 0 {
		heap.Remove(&l.heap, t.at)
	}
}

// random fills b from Config.Rand.
func (l *Links) random(b []byte) {
	if _, err := io.ReadFull(l.cfg.Rand, b); err != nil {
		panic("transport: internal error: no randomness: " + err.Error())
	}
}

func (l *Links) random64() uint64 {
	var b [8]byte
	l.random(b[:])
	return binary.BigEndian.Uint64(b[:])
}

// between returns a random duration in [low, high).
func (l *Links) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(l.random64()%uint64(high-low))
}
