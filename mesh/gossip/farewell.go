package gossip

import (
	"sync"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// farewellMax bounds to how many members a leaving VR says good-bye by itself, at about 100
// bytes each. The others find that it does not answer.
const farewellMax = 2048

// farewellGap separates the intent to leave from the leave, so that serf sees them in order
// and reports a leave, not a failure.
const farewellGap = 100 * time.Millisecond

// A farewell holds the two messages with which a member leaves. memberlist sends them to a
// few members and counts on those to pass them on; but every VR believes them only from the
// leaving VR itself. So they are copied when they are first sent, and then sent to all.
type farewell struct {
	name string

	mu     sync.Mutex // guards what follows
	intent []byte
	leave  []byte
}

// watch looks for the two messages in a packet that memberlist sends.
func (f *farewell) watch(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = splitPacket(b, func(m []byte) {
		switch {
		case m[0] == typeDead && f.leave == nil:
			if a, err := parseAccusation(m[1:]); err == nil && string(a.node) == f.name && string(a.from) == f.name {
				f.leave = append([]byte(nil), m...)
			}
		case m[0] == typeUser && len(m) > 2 && m[1] == serfLeave && f.intent == nil:
			if i, err := parseIntent(m[2:]); err == nil && string(i.node) == f.name {
				f.intent = append([]byte(nil), m...)
			}
		}
	})
}

// say sends the good-bye to the given members. It takes farewellGap.
func (f *farewell) say(to []tables.RouterID, send func(tables.RouterID, []byte)) {
	f.mu.Lock()
	intent, leave := f.intent, f.leave
	f.mu.Unlock()
	to = to[:min(len(to), farewellMax)]
	for i, m := range [][]byte{intent, leave} {
		if m == nil {
			continue
		}
		if i > 0 {
			time.Sleep(farewellGap)
		}
		for _, id := range to {
			send(id, m)
		}
	}
}
