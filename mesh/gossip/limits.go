package gossip

import "time"

// The limits of the policing. Rates are per source, which is the authenticated VR that a
// packet or stream came from, not the one it speaks of.
const (
	// incarnationMax is where memberlist's refutation overflows: an accusation at 2^32-1
	// evicts a healthy member for ever (measured). A member raises its incarnation by one
	// each time it is accused, so no honest member gets near half of it.
	incarnationMax = 1 << 31
	// jumpMax bounds how far a message about a third VR may raise what is known of its
	// incarnation. Honest rumours overtake each other by a few.
	jumpMax = 1000
	// introMax bounds the incarnation in a first message about a third VR. It is reached
	// after 30 years of being accused every minute.
	introMax = 1 << 24
	// raiseBurst and raiseRate bound the sum of all raises that one source may cause, so
	// that it cannot walk a victim to incarnationMax in steps of jumpMax: that takes more
	// than eight years. The burst covers a peer that tells of 10,000 members after a
	// partition.
	raiseBurst, raiseRate = 65536, 8

	// messageBurst and messageRate bound the messages of one source. memberlist sends three
	// packets every 200 ms to random members; a burst is a packet full of joins.
	messageBurst, messageRate = 3000, 300
	// accuseBurst and accuseRate bound the accusations of one source, since each makes its
	// victim answer. The burst covers half of 500 members lost at once.
	accuseBurst, accuseRate = 256, 20
	// streamBurst and streamRate bound the streams one source opens: exchanges every few
	// minutes and the fallback of a probe.
	streamBurst, streamRate = 10, 1

	// fromsMax bounds the distinct accusers that one source may name for one victim within
	// fromsLife. memberlist passes on the first accusation and two confirmations.
	fromsMax  = 3
	fromsLife = 30 * time.Second
	// victimsMax bounds the victims for which accusers are remembered, per source.
	victimsMax = 4096

	// forgetAfter is when the incarnation of a member that is gone stops to count. It is
	// longer than memberlist itself remembers (30 s and one round of probes at 100 members);
	// after it, a VR that lost its own count can come back.
	forgetAfter = 2 * time.Minute

	// askedMax bounds the probes whose answers are awaited. A member sends one probe a
	// second and relays a few.
	askedMax = 4096
)

// The protocol versions that this build of memberlist and serf speaks: memberlist 2, serf
// 4. A member that claims a range without them would make every state exchange fail.
const (
	vsnMemberlist = 2
	vsnSerf       = 4
)

// A bucket holds what may still be spent.
type bucket struct {
	left float64
	at   time.Time
}

// take takes n out of a bucket that holds at most burst and gets rate every second.
func (b *bucket) take(now time.Time, n, burst, rate float64) bool {
	if b.at.IsZero() {
		b.left = burst
	} else if d := now.Sub(b.at); d > 0 {
		b.left = min(burst, b.left+d.Seconds()*rate)
	}
	b.at = now
	if b.left < n {
		return false
	}
	b.left -= n
	return true
}
