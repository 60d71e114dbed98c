//go:build linux

package netns_test

import "net/netip"

// A status is what these tests read of `vine status --json`.
type status struct {
	Name    string
	Kind    string
	Members int
	Links   int
	VNs     int `json:"vns"`
	Serving bool
	Space   []netip.Prefix

	Endpoints []netip.AddrPort
	Packets   struct {
		Sent, Received, Local int
		Drops                 map[string]int
	}
}

func mustAddr(text string) netip.Addr { return netip.MustParseAddr(text) }
