package forward

// A Drop says why a packet was discarded. The zero value, DropNone, says that it was not.
// Dropping is not an error: callers count reasons in an array of DropCount counters.
type Drop uint8

// The reasons, in the order in which Decide checks them. DropTrailing, DropVN
// and DropForeignSource are of Arrived alone; DropHeadless and
// DropCongestion are of neither.
const (
	DropNone          Drop = iota
	DropShort              // shorter than its headers or its own total length say
	DropVersion            // neither IPv4 nor IPv6
	DropHeader             // a header field contradicts another
	DropChecksum           // the IPv4 header checksum is wrong
	DropOption             // asks for a source route (RFC 7126, Section 4.3; RFC 5095)
	DropMapped             // an IPv4-mapped address in an IPv6 header
	DropBadSource          // unspecified, loopback, multicast or broadcast source
	DropBadDest            // unspecified, loopback, multicast or broadcast destination
	DropAttachment         // no such attachment
	DropSource             // the source is not in the LNDT of the attachment
	DropSpace              // an address is outside the ViNe space
	DropNoRoute            // no GNDT of the source's VNs holds the destination
	DropPolicy             // packet policy forbids it in each VN that holds the destination
	DropTTL                // the TTL or hop limit does not allow another hop
	DropNotMember          // the destination is no local member of the VN
	DropTooBig             // too big for the path, and must not be fragmented here
	DropTrailing           // a router sent bytes after the packet
	DropVN                 // a router sent it in a VN that is not installed here
	DropForeignSource      // the source is not of the sending router in that VN
	DropHeadless           // of a run that has its headers twice, both were lost
	DropCongestion         // the way was congested, which it has no field to say: RFC 6040, Section 4.2

	dropEnd
)

// DropCount is the number of values of Drop, DropNone included.
const DropCount = int(dropEnd)

var dropText = [DropCount]string{
	DropNone:          "none",
	DropShort:         "short",
	DropVersion:       "version",
	DropHeader:        "header",
	DropChecksum:      "checksum",
	DropOption:        "option",
	DropMapped:        "mapped-address",
	DropBadSource:     "bad-source",
	DropBadDest:       "bad-destination",
	DropAttachment:    "no-attachment",
	DropSource:        "source-not-local",
	DropSpace:         "outside-space",
	DropNoRoute:       "no-route",
	DropPolicy:        "policy",
	DropTTL:           "ttl",
	DropNotMember:     "destination-not-member",
	DropTooBig:        "too-big",
	DropTrailing:      "trailing-bytes",
	DropVN:            "unknown-vn",
	DropForeignSource: "source-not-of-sender",
	DropHeadless:      "headers-lost",
	DropCongestion:    "congestion",
}

// String returns the name under which the reason is counted and shown.
func (d Drop) String() string {
	if int(d) < DropCount {
		return dropText[d]
	}
	return "invalid"
}
