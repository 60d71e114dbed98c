package vr

import (
	"net/netip"
	"testing"
	"time"
)

// TestUnseen: a VR that nobody sees by UDP is limited if there is anybody who could, as one that only streams leave; it
// is what it was if it was reached before.
func TestUnseen(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:8463")
	for _, c := range []struct {
		name   string
		config Config
		want   Kind
	}{
		{"alone", Config{Router: 1}, Regular},
		{"others", Config{Router: 1, Others: true}, Limited},
		{"reached before", Config{Router: 1, Others: true, Proven: []netip.AddrPort{at}}, Regular},
	} {
		c.config.Random = func([]byte) {}
		s := New(c.config)
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		s.Handle(now, Local{Endpoints: []netip.AddrPort{at}})
		s.Handle(now, Linked{Router: 2, Site: "two"}) // over a stream connection: nobody sees us
		if v := s.Verdict(); v.Kind != c.want || v.Confirmed {
			t.Errorf("%s: %+v, want %v, unconfirmed", c.name, v, c.want)
		}
	}
}
