package gossip

// A Drop says why the policing did not let a message through.
type Drop uint8

// The reasons. Their texts are the names of counters.
const (
	dropNone          Drop = iota
	DropStranger           // from, or about, a VR that is not enrolled
	DropMalformed          // not an encoding that a member makes
	DropUnknownType        // a message that members do not use
	DropRate               // the source sends too much
	DropIncarnation        // the incarnation is too high, or of an unknown member
	DropImpersonation      // speaks for another VR
	DropAddress            // an address that is not the member's
	DropVersion            // protocol versions that do not include ours
	DropUnasked            // an answer without a question
	DropInternal           // an internal query, key message, relayed message or user event
	DropRepeated           // a query that was seen before
	DropHearsay            // a join or leave, passed on for another
	DropQueue              // memberlist does not keep up
	DropUnroutable         // what we sent to nobody's address
	dropCount
)

var dropTexts = [dropCount]string{"none", "stranger", "malformed", "unknown-type", "rate", "incarnation",
	"impersonation", "address", "version", "unasked", "internal", "repeated", "hearsay", "queue", "unroutable"}

// String returns the counter's name.
func (d Drop) String() string {
	if d < dropCount {
		return dropTexts[d]
	}
	return "unknown"
}
