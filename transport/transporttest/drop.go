package transporttest

import "strconv"

// A Drop says why a packet was not delivered.
type Drop uint8

const (
	_                 Drop = iota // delivered
	DropLoss                      // lost at random on a Path, or by SetLoss
	DropQueue                     // the queue before a line was full
	DropTooBig                    // larger than the MTU of a Path
	DropNoRoute                   // nobody has the destination address, or we have none of its family
	DropPortClosed                // no socket at the destination port
	DropReceiveBuffer             // the receiving socket is not read fast enough
	DropNoMapping                 // a NAT has no mapping for the port, or it has expired
	DropFiltered                  // a NAT has a mapping but filters this sender
	DropHairpin                   // a NAT that does no hairpinning was to send back inside
	DropNATFull                   // a NAT has no port or no memory for a further mapping
	DropFirewall                  // a firewall blocks it
	DropCut                       // the hosts are cut off from each other
	DropPaused                    // a paused host has sent more than is kept for it
	DropIntercepted               // the Intercept function said so
	DropInFlight                  // more packets under way than the Internet holds
	DropClosed                    // the Internet or the receiving socket is closed
	drops
)

var dropNames = [drops]string{
	"delivered", "loss", "queue", "too big", "no route", "port closed", "receive buffer", "no mapping", "filtered",
	"hairpin", "nat full", "firewall", "cut", "paused", "intercepted", "in flight", "closed",
}

// String returns the reason in words.
func (d Drop) String() string {
	if d < drops {
		return dropNames[d]
	}
	return "drop " + strconv.Itoa(int(d))
}

// Counters are totals of one host. Bytes are those of IP packets: payload and 28 bytes of headers for
// IPv4, 48 for IPv6.
type Counters struct {
	PacketsSent, BytesSent         uint64        // sent by the host's sockets, lost ones included
	PacketsReceived, BytesReceived uint64        // put into a socket of the host
	Dropped                        [drops]uint64 // packets this host sent that were not delivered, by Drop
}

// DroppedTotal returns the sum of Dropped.
func (c Counters) DroppedTotal() uint64 {
	var n uint64
	for _, d := range c.Dropped {
		n += d
	}
	return n
}

// add adds d to c.
func (c *Counters) add(d *Counters) {
	c.PacketsSent += d.PacketsSent
	c.BytesSent += d.BytesSent
	c.PacketsReceived += d.PacketsReceived
	c.BytesReceived += d.BytesReceived
	for i := range c.Dropped {
		c.Dropped[i] += d.Dropped[i]
	}
}
