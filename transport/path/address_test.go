package path

import (
	"net/netip"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

func TestAddresses(t *testing.T) {
	relayed, streamed := Relay(0xfffffffe, 7), Stream(1<<63|5)
	for _, c := range []struct {
		at   netip.AddrPort
		kind Kind
	}{
		{relayed, Relayed},
		{streamed, Streamed},
		{netip.MustParseAddrPort("192.0.2.1:8463"), Direct},
		{netip.MustParseAddrPort("[2001:db8::1]:2"), Direct},
		{netip.MustParseAddrPort("[100:0:0:1::1]:1"), Direct},
		{netip.AddrPort{}, Direct},
	} {
		if KindOf(c.at) != c.kind || Reserved(c.at.Addr()) != (c.kind != Direct) {
			t.Errorf("%v is %v, reserved %v; want %v", c.at, KindOf(c.at), Reserved(c.at.Addr()), c.kind)
		}
	}
	if q, r := RelayOf(relayed); q != 0xfffffffe || r != 7 {
		t.Errorf("RelayOf = %v, %v", q, r)
	}
	if n, ok := StreamOf(streamed); !ok || n != 1<<63|5 {
		t.Errorf("StreamOf = %v, %v", n, ok)
	}
	if q, r := RelayOf(streamed); q != 0 || r != tables.RouterID(0) {
		t.Errorf("RelayOf a stream = %v, %v", q, r)
	}
	if _, ok := StreamOf(relayed); ok {
		t.Error("a relayed path is a stream")
	}
}
