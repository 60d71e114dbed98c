package portmap

import "time"

// An epoch follows the clock of a PCP or NAT-PMP server, which counts the seconds since the server lost its
// mappings. The zero epoch knows nothing.
type epoch struct {
	known  bool
	server uint32
	at     time.Time
}

// observe takes the clock of an answer that came at now, and reports whether the server has lost its mappings
// since the answer before (RFC 6887 section 8.5): its clock went back by more than a second, or ran at another
// pace than ours by more than 1/16 and two seconds.
func (e *epoch) observe(now time.Time, server uint32) (restarted bool) {
	before := *e
	*e = epoch{true, server, now}
	if !before.known {
		return false
	}
	if int64(server) < int64(before.server)-1 {
		return true
	}
	client := int64(now.Sub(before.at) / time.Second)
	served := int64(server) - int64(before.server)
	return client+2 < served-served/16 || served+2 < client-client/16
}
