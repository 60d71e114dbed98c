package serfrpc

import (
	"context"
	"net"
	"time"
)

// A Serf is what the server shows. All methods may be called from many goroutines.
type Serf interface {
	// Name returns our own node name.
	Name() string
	// Members returns all members.
	Members() []Member
	// Stats returns serf's own counters.
	Stats() map[string]string
	// Coordinate returns the network coordinate of a member, if known.
	Coordinate(name string) (Coordinate, bool)
	// Query asks the members. The channel is closed when the query's time is over or ctx
	// ends.
	Query(ctx context.Context, q Query) (<-chan Answer, error)
	// Watch returns events as they happen, until ctx ends. Events that find buffer events
	// waiting are dropped.
	Watch(ctx context.Context, buffer int) (<-chan Event, error)
}

// A Member is one member, as the protocol carries it.
type Member struct {
	Name        string
	Addr        net.IP
	Port        uint16
	Tags        map[string]string
	Status      string // alive, leaving, left, failed
	ProtocolMin uint8
	ProtocolMax uint8
	ProtocolCur uint8
	DelegateMin uint8
	DelegateMax uint8
	DelegateCur uint8
}

// A Coordinate is a network coordinate (Vivaldi). Units are seconds.
type Coordinate struct {
	Vec        []float64
	Error      float64 // no unit
	Adjustment float64
	Height     float64
}

// A Query is a question to the members.
type Query struct {
	Name        string
	Payload     []byte
	FilterNodes []string
	FilterTags  map[string]string // tag: regular expression
	RequestAck  bool
	Timeout     time.Duration // 0: the default for the number of members
}

// An Answer is one member's acknowledgement of a query or answer to it.
type Answer struct {
	Ack     bool
	From    string
	Payload []byte
}

// An Event is something that happened among the members.
type Event struct {
	Type    string   // member-join, member-leave, member-failed, member-update, member-reap, query
	Members []Member // of member events

	// Of queries:
	Time     uint64 // Lamport time
	Name     string
	Payload  []byte
	Deadline time.Time
	Respond  func(payload []byte) error
}

// The errors that stock clients know.
const (
	errHandshake     = "Handshake required"
	errHandshakeDone = "Handshake already performed"
	errVersion       = "Unsupported IPC version"
	errAuth          = "Authentication required"
	errToken         = "Invalid authentication token"
	errCommand       = "Unsupported command"
	errFilter        = "Invalid event filter"
	errStreamExists  = "Stream with given sequence exists"
	errMonitorExists = "Monitor already exists"
	errQueryID       = "No pending queries matching ID"
)

// ipcVersion is the version of the protocol.
const ipcVersion = 1

// The messages. Field names are the wire's.
type (
	requestHeader struct {
		Command string
		Seq     uint64
	}
	responseHeader struct {
		Seq   uint64
		Error string
	}
	handshakeRequest struct{ Version int32 }
	authRequest      struct{ AuthKey string }
	filteredRequest  struct {
		Tags   map[string]string
		Status string
		Name   string
	}
	membersResponse   struct{ Members []Member }
	coordinateRequest struct{ Node string }
	coordinateAnswer  struct {
		Coord Coordinate
		Ok    bool
	}
	monitorRequest struct{ LogLevel string }
	logRecord      struct{ Log string }
	streamRequest  struct{ Type string }
	memberRecord   struct {
		Event   string
		Members []Member
	}
	queryEventRecord struct {
		Event   string
		ID      uint64
		LTime   uint64
		Name    string
		Payload []byte
	}
	stopRequest  struct{ Stop uint64 }
	queryRequest struct {
		FilterNodes []string
		FilterTags  map[string]string
		RequestAck  bool
		RelayFactor uint8
		Timeout     time.Duration
		Name        string
		Payload     []byte
	}
	queryRecord struct {
		Type    string // ack, response, done
		From    string
		Payload []byte
	}
	respondRequest struct {
		ID      uint64
		Payload []byte
	}
	joinResponse struct{ Num int32 }
	keyResponse  struct {
		Messages map[string]string
		Keys     map[string]int
		NumNodes int
		NumErr   int
		NumResp  int
	}
	// ignored takes the body of a request that is refused.
	ignored struct{}
)

// A refusal is what a client hears of a command that would change something.
type refusal struct {
	say  string
	body bool // the request has a body
	// answer is the body that stock clients expect behind the error, if any.
	answer any
}

// refusals are the commands that are not carried out, and what to use instead.
var refusals = map[string]refusal{
	"join":        {"refused: a VR joins a federation with `vine join SEED`; members then find each other", true, &joinResponse{}},
	"leave":       {"refused: end `vine up` by SIGTERM; it takes leave of the others by itself", false, nil},
	"force-leave": {"refused: no member can remove another; an administrator revokes a VR with `vine revoke`", true, nil},
	"event":       {"refused: ViNe carries no user events; operations are requests, see `vine help`", true, nil},
	"tags":        {"refused: the router sets its tags itself; change its configuration and run `vine reload`", true, nil},
	"install-key": {refuseKeys, true, &keyResponse{}},
	"use-key":     {refuseKeys, true, &keyResponse{}},
	"remove-key":  {refuseKeys, true, &keyResponse{}},
	"list-keys":   {refuseKeys, false, &keyResponse{}},
}

const refuseKeys = "refused: there is no shared gossip key; each pair of VRs has keys of its own, see `vine status`"
