package transporttest

import (
	"net/netip"
	"slices"
	"time"
)

// A Firewall stands between a host or NAT box and the network it is attached to. The zero Firewall
// lets everything pass.
type Firewall struct {
	// BlockUDP drops every packet in both directions.
	BlockUDP bool
	// BlockInbound drops packets from outside unless they answer: the same two endpoints were used by
	// a packet from inside within Timeout.
	BlockInbound bool
	// Open lists local ports that BlockInbound leaves open.
	Open []uint16
	// Timeout is how long an answer is let in after the last packet from inside. Zero means 2 minutes.
	Timeout time.Duration
}

// flowsMax bounds what a firewall remembers. When it is full, new flows are not answered.
const flowsMax = 1 << 16

type flow struct{ local, remote netip.AddrPort }

// A wall is a Firewall in use.
type wall struct {
	Firewall
	flows   map[flow]time.Duration // until when answers are let in
	sweepAt int
}

func newWall(f Firewall) wall {
	f.Open = slices.Clone(f.Open)
	if f.Timeout == 0 {
		f.Timeout = natTimeoutDefault
	}
	return wall{Firewall: f, flows: make(map[flow]time.Duration), sweepAt: 256}
}

// out reports whether a packet may leave, and remembers it.
func (w *wall) out(now time.Duration, local, remote netip.AddrPort) bool {
	if w.BlockUDP {
		return false
	}
	if !w.BlockInbound {
		return true
	}
	if len(w.flows) >= w.sweepAt {
		for f, until := range w.flows {
			if now >= until {
				delete(w.flows, f)
			}
		}
		w.sweepAt = max(256, 2*len(w.flows))
	}
	f := flow{local, remote}
	if _, known := w.flows[f]; known || len(w.flows) < flowsMax {
		w.flows[f] = now + w.Timeout
	}
	return true
}

// in reports whether a packet may enter.
func (w *wall) in(now time.Duration, local, remote netip.AddrPort) bool {
	if w.BlockUDP {
		return false
	}
	if !w.BlockInbound || slices.Contains(w.Open, local.Port()) {
		return true
	}
	until, known := w.flows[flow{local, remote}]
	return known && now < until
}
