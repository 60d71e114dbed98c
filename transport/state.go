package transport

import "fmt"

// A State is where the link with one router stands.
//
//	          Dial, Pin                response, or the peer's session confirmed
//	+------+ -----------> +---------+ ------------------------------+
//	| idle |              | dialling|                               |
//	+------+ <----------- +---------+ <--------------------+        v
//	  |  ^     no interest                down, interest   |     +----+
//	  |  |                                                 +---- | up | <-------------+
//	  |  +---------------------------------------------- down --- +----+  authentic    |
//	  |                                                 |  ^       |      packet       |
//	  +----------- the peer's session confirmed --------|--+       | probe unanswered  |
//	                                                    |          v                   |
//	                                                    +------ +---------+ -----------+
//	                          (also: down, interest)            | suspect |
//	                                                            +---------+
//
// A rekey is no state of its own: the link stays up while its next handshake runs.
type State uint8

// The states of a link.
const (
	StateIdle     State = iota // no session, none wanted
	StateDialling              // our first message is repeated
	StateUp                    // the peer was heard within the probe interval
	StateSuspect               // a probe, or data, is unanswered
)

// String returns the word that status output shows.
func (s State) String() string {
	switch s {
	case StateIdle:
		return "idle"
	case StateDialling:
		return "dialling"
	case StateUp:
		return "up"
	case StateSuspect:
		return "suspect"
	}
	return "unknown"
}

// transition moves a link to another state. It is the only place that does.
func (k *link) transition(to State) {
	legal := false
	switch k.state {
	case StateIdle:
		legal = to == StateDialling || to == StateUp
	case StateDialling:
		legal = to == StateIdle || to == StateUp
	case StateUp:
		legal = to == StateSuspect || to == StateDialling || to == StateIdle
	case StateSuspect:
		legal = to == StateUp || to == StateDialling || to == StateIdle
	}
	if !legal {
		panic(fmt.Sprintf("transport: internal error: link goes from %v to %v", k.state, to))
	}
	k.state = to
}
