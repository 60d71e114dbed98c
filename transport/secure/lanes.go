package secure

import (
	"iter"
	"sync"
	"sync/atomic"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// The lanes of a session are made when they are first asked for: most peers have fewer than frame.LanesMax, and a window takes
// a KiB. Whoever holds a channel index can have all of a session's made, once.
//
// All methods may be called concurrently.
type lanes struct {
	senders   [frame.LanesMax]atomic.Pointer[Sender]
	receivers [frame.LanesMax]atomic.Pointer[Receiver]

	mu         sync.Mutex // held while one is made: two Senders of one lane would use each nonce twice
	begun      bool
	suite      Suite
	secrets    [2][32]byte
	out        byte
	self, peer tables.RouterID
}

// begin notes what the lanes of a session are made of.
func (l *lanes) begin(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		l.begun, l.suite, l.secrets, l.out, l.self, l.peer = true, s.Suite, s.secrets, s.out(), s.self, s.peer
	}
}

func (l *lanes) sender(i uint8) *Sender {
	if s := l.senders[i].Load(); s != nil {
		return s
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.senders[i].Load()
	if s == nil {
		aead, iv := l.suite.derive(&l.secrets[l.out], labelLane, i, l.out)
		s = &Sender{
			sealer: sealer{aead: aead, iv: iv, limit: l.suite.counterMax(), next: new(atomic.Uint64)},
			ids:    idsOf(l.self, l.peer), lane: i, lanes: l,
		}
		l.senders[i].Store(s)
	}
	return s
}

func (l *lanes) receiver(i uint8) *Receiver {
	if r := l.receivers[i].Load(); r != nil {
		return r
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.receivers[i].Load()
	if r == nil {
		aead, iv := l.suite.derive(&l.secrets[l.out^1], labelLane, i, l.out^1)
		r = &Receiver{
			opener: opener{aead: aead, iv: iv, limit: l.suite.counterMax(), seen: newWindow(sessionBlocks)},
			ids:    idsOf(l.peer, l.self), lanes: l,
		}
		l.receivers[i].Store(r)
	}
	return r
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
