package control

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// Queues says which queue-VRs a VR uses, if it is limited, or whom it serves as one.
type Queues struct {
	Kind       string     `json:"kind"`        // of this VR: "regular" or "limited"
	Wanted     int        `json:"wanted"`      // how many queue-VRs a limited VR is attached to, if there are so many
	Attached   []Attached `json:"attached"`    // in order of preference; empty on a regular VR
	Candidates []QueueVR  `json:"candidates"`  // every elected queue-VR, and others that this VR uses or that drain
	Serves     bool       `json:"serves"`      // this VR relays for limited ones
	Why        string     `json:"why"`         // why it does not; empty if it does
	Elected    bool       `json:"elected"`     // this VR is one of those that serve the federation
	Full       bool       `json:"full"`        // it takes no more
	Draining   bool       `json:"draining"`    // it takes no more and asks those that are here to leave
	Clients    []Served   `json:"clients"`     // limited VRs attached to this one
	ClientsMax int        `json:"clients_max"` // how many it takes
}

// Attached is one queue-VR that a limited VR is attached to, and why. All figures are its own measurements.
type Attached struct {
	Peer          string          `json:"peer"`
	Router        tables.RouterID `json:"router"`
	Site          string          `json:"site"`
	Since         time.Time       `json:"since"`
	Accepted      bool            `json:"accepted"`        // it said that it serves us
	Mode          string          `json:"mode"`            // "channel", "udp-poll" or "tcp-poll"
	RTT           float64         `json:"rtt_ms"`          // to the queue-VR itself; 0: not measured
	Score         int64           `json:"score_bits"`      // bits per second through it to the peers; 0: unknown
	Reason        string          `json:"reason"`          // why it was chosen
	RunnerUp      string          `json:"runner_up"`       // the best of the others; empty: none was measured
	RunnerUpScore int64           `json:"runner_up_score"` // bits per second
}

// A QueueVR is a VR that may relay, as this VR knows it.
type QueueVR struct {
	Peer      string          `json:"peer"`
	Router    tables.RouterID `json:"router"`
	Site      string          `json:"site"`
	Elected   bool            `json:"elected"`
	Shortlist int             `json:"shortlist"`  // place in this limited VR's short list, from 1; 0: not in it
	Use       string          `json:"use"`        // "attached", "trial" or empty
	Refused   bool            `json:"refused"`    // it has refused to serve us lately
	Full      bool            `json:"full"`       // it says so
	Draining  bool            `json:"draining"`   // it says so
	RTT       float64         `json:"rtt_ms"`     // 0: not measured
	Score     int64           `json:"score_bits"` // measured by us, bits per second; 0: unknown
}

// A Served is a limited VR that this VR serves.
type Served struct {
	Peer      string          `json:"peer"`
	Router    tables.RouterID `json:"router"`
	Site      string          `json:"site"`
	Since     time.Time       `json:"since"`
	Mode      string          `json:"mode"`       // "channel" or "poll"
	Transport string          `json:"transport"`  // "udp", "tcp" or "tls"
	From      uint64          `json:"from_bytes"` // relayed for it, in both directions, since the start
	To        uint64          `json:"to_bytes"`
	Refused   uint64          `json:"refused_packets"` // that it may not have relayed
	Dropped   uint64          `json:"dropped_packets"` // for which there was no link or no room
}

// Paths are the paths between this VR and another, as this VR knows them.
type Paths struct {
	Ends   []End  `json:"ends"`   // two, as they were asked for
	State  string `json:"state"`  // of the link; "none" without one
	Leads  string `json:"leads"`  // name of the VR that chooses the path; the other follows
	Reason string `json:"reason"` // of the last choice, if this VR leads; else empty
	Paths  []Path `json:"paths"`  // the one in use first
}

// An End is one of the two VRs of Paths.
type End struct {
	Peer   string          `json:"peer"`
	Router tables.RouterID `json:"router"`
	Site   string          `json:"site"`
	Kind   string          `json:"kind"`
	Self   bool            `json:"self"`
	NAT    string          `json:"nat"` // mapping/filtering in the words of RFC 4787; of the other VR a hint
	Queues []string        `json:"queues"`
}

// A Path is one way to the other VR.
type Path struct {
	Kind      string          `json:"kind"`      // "direct", "punched", "relayed" or "stream"
	Via       string          `json:"via"`       // the relay; empty if there is none
	Transport string          `json:"transport"` // of the first hop: "udp", "tcp" or "tls"
	Endpoint  *netip.AddrPort `json:"endpoint"`  // of the first hop, null if it is not known
	Proxy     string          `json:"proxy"`     // of a stream connection; empty: none
	InUse     bool            `json:"in_use"`
	Asked     bool            `json:"asked"`         // it was asked and has not answered yet
	Validated bool            `json:"validated"`     // an answer has come over it lately
	Heard     float64         `json:"heard_seconds"` // since the last one; -1: never
	RTT       float64         `json:"rtt_ms"`        // 0: not measured
	Loss      float64         `json:"loss"`
	Rate      int64           `json:"rate_bits"` // these four as in Link
	RateKind  string          `json:"rate_kind"`
	RateBy    string          `json:"rate_by"`
	RateAge   float64         `json:"rate_age_seconds"`
	Used      int64           `json:"used_bits"`
	RunnerUp  bool            `json:"runner_up"`  // the best of the others at the last choice
	Score     int64           `json:"score_bits"` // at the last choice: bits per second that a transfer is expected to get; 0: not kept, or no rate is known
}

// A Drain says how far a VR is emptied of those it serves.
type Drain struct {
	Draining bool       `json:"draining"`
	Since    *time.Time `json:"since"`           // null unless draining
	Serves   bool       `json:"serves"`          // this VR relays for others, or would
	Why      string     `json:"why"`             // why it does not; empty if it does
	Clients  []string   `json:"clients"`         // limited VRs that are attached still
	Relayed  uint64     `json:"relayed_packets"` // data packets relayed since the start
	Quiet    float64    `json:"quiet_seconds"`   // since data was seen to be relayed last; 0 unless draining
}
