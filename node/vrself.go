package node

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/tables"
)

func (n *Node) dialledBack(from tables.RouterID, at netip.AddrPort, packet []byte) {}

func (l *loop) unanswered(now time.Time, router tables.RouterID) {}
