package transport

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// A Reason says why a link ended. The close frame carries those that a peer can use
// (frame.CloseReason); the numbers here are not wire format.
type Reason uint8

// The reasons.
const (
	ReasonNone     Reason = 0
	ReasonIdle     Reason = 1 // nothing to carry for idleClose
	ReasonDead     Reason = 2 // probes were not answered
	ReasonLeaving  Reason = 3 // the VR stops
	ReasonRevoked  Reason = 4 // the peer is no longer enrolled
	ReasonExpired  Reason = 5 // the keys reached the end of their life without a rekey, or a join its time
	ReasonLimit    Reason = 6 // a bound of limits.go was hit
	ReasonReplaced Reason = 7 // the link key of the peer changed
	ReasonPeer     Reason = 8 // the peer closed without a reason we know
)

// String returns the word that status output shows.
func (r Reason) String() string {
	names := [...]string{"none", "idle", "dead", "leaving", "revoked", "expired", "limit", "replaced", "peer"}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// A LinkStatus describes one link for people.
type LinkStatus struct {
	Router       tables.RouterID
	Conn         Conn
	State        string // a State as text
	Endpoint     netip.AddrPort
	Path         string        // "direct"
	RTT          time.Duration // smoothed; zero before the first measurement
	HandshakeAge time.Duration // since the session in use was made
	Sessions     int           // sessions whose keys still open packets
	Streams      int
	Pinned       bool
	ControlSent  uint64 // control packets of this link
	ControlRecv  uint64 // those that were authentic
	LastRecv     time.Time
	// PeerReport is what the peer last said it received of our data in the session in use.
	PeerReport frame.Report
}

// Counters counts what Links dropped without an answer, by cause.
type Counters struct {
	Malformed    uint64 // did not parse, or a type that is not ours
	UnknownIndex uint64 // named no session
	Unauthentic  uint64 // a MAC or an AEAD did not verify
	Replayed     uint64 // an old first message or an old control counter
	Refused      uint64 // Config.Accept or Joinable said no
	Limited      uint64 // a bound of limits.go was hit
	Handshakes   uint64 // completed, either side
}
