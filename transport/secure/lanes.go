package secure

import (
	"iter"
	"sync/atomic"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// The lanes of a session are made when they are first asked for: most peers have fewer than frame.LanesMax, and a window takes
// a KiB. Whoever holds a channel index can have all of a session's made, once.
//
// All methods but begin may be called concurrently. Two that make one lane at once both get what the first has stored: a second
// Sender would use nonces again.
type lanes struct {
	senders   [frame.LanesMax]atomic.Pointer[Sender]
	receivers [frame.LanesMax]atomic.Pointer[Receiver]

	// What begin has noted, once.
	begun      bool
	suite      Suite
	secrets    [2][32]byte
	out        byte
	self, peer tables.RouterID
}

// begin notes what the lanes of a session are made of. It is for the Session's goroutine, and comes before everything else.
func (l *lanes) begin(s *Session) {
	if !l.begun {
		l.begun, l.suite, l.secrets, l.out, l.self, l.peer = true, s.Suite, s.secrets, s.out(), s.self, s.peer
	}
}

func (l *lanes) sender(i uint8) *Sender {
	if s := l.senders[i].Load(); s != nil {
		return s
	}
	aead, iv := l.suite.derive(&l.secrets[l.out], labelLane, i, l.out)
	l.senders[i].CompareAndSwap(nil, &Sender{
		sealer: sealer{aead: aead, iv: iv, limit: l.suite.counterMax(), next: new(atomic.Uint64)},
		ids:    idsOf(l.self, l.peer), lane: i, lanes: l,
	})
	return l.senders[i].Load()
}

func (l *lanes) receiver(i uint8) *Receiver {
	if r := l.receivers[i].Load(); r != nil {
		return r
	}
	aead, iv := l.suite.derive(&l.secrets[l.out^1], labelLane, i, l.out^1)
	l.receivers[i].CompareAndSwap(nil, &Receiver{
		opener: opener{aead: aead, iv: iv, limit: l.suite.counterMax(), seen: newWindow(sessionBlocks)},
		ids:    idsOf(l.peer, l.self), lanes: l,
	})
	return l.receivers[i].Load()
}

// sending gives the Senders that were made.
func (l *lanes) sending() iter.Seq[*Sender] { return made(&l.senders) }

// receiving gives the Receivers that were made.
func (l *lanes) receiving() iter.Seq[*Receiver] { return made(&l.receivers) }

func made[T any](list *[frame.LanesMax]atomic.Pointer[T]) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i := range list {
			if one := list[i].Load(); one != nil && !yield(one) {
				return
			}
		}
	}
}
