package node

import (
	"crypto/ed25519"
	"net/netip"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/secure"
)

// TestHelloFits: the enrolment and link record of a VR go with its handshakes, also when the record names as much as it can.
func TestHelloFits(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	at := netip.MustParseAddrPort("[2001:db8:1:2:3:4:5:6]:65535")
	record := tables.LinkRecord{
		Version: 1 << 62, Router: 1 << 31, Link: tables.LinkKey{1}, VRKind: "regular", Serving: true, Draining: true, Joinable: true,
		Capacity: 1 << 62, Software: strings.Repeat("s", 32), Full: true,
	}
	for i := range 8 {
		record.Endpoints = append(record.Endpoints, netip.AddrPortFrom(at.Addr(), uint16(60000+i)))
		record.Queues = append(record.Queues, tables.RouterID(1<<31+i+1))
	}
	for i := range 4 {
		record.Streams = append(record.Streams, tables.StreamEndpoint{Protocol: "tls", Endpoint: netip.AddrPortFrom(at.Addr(), uint16(60000+i))})
	}
	enrolment := tables.Enrolment{
		Version: 1, Router: 1 << 31, Name: "vr-1-example", Site: "example-site", Identity: tables.PublicKey(key.Public().(ed25519.PublicKey)), MayQueue: true, Blocks: []netip.Prefix{
			netip.MustParsePrefix("10.128.255.0/24"), netip.MustParsePrefix("fd00:1:2:3::/64")},
		NotBefore: 1_900_000_000, NotAfter: 1_934_560_000, Invite: tables.PublicKey(key.Public().(ed25519.PublicKey)), Request: tables.Hash{1},
	}
	total := 0
	for _, body := range []tables.Body{enrolment, record} {
		d, err := tables.Sign(body, key)
		if err != nil {
			t.Fatal(err)
		}
		total += len(d.Bytes())
		t.Logf("%T: %d bytes", body, len(d.Bytes()))
	}
	if most := secure.HelloMax - 8; total > most {
		t.Errorf("%d bytes, at most %d fit", total, most)
	}
}
