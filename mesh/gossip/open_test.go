package gossip

import (
	"net"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// passThrough is no policing at all: what an attack needs to succeed.
type passThrough struct{}

func (passThrough) packet(_ time.Time, _ tables.RouterID, b []byte) ([]byte, [][]byte) {
	return append([]byte(nil), b...), nil
}
func (passThrough) sent(time.Time, tables.RouterID, []byte)                  {}
func (passThrough) admit(time.Time, tables.RouterID) bool                    { return true }
func (passThrough) wrap(c net.Conn, p tables.RouterID, _ direction) net.Conn { return openConn{c, p} }
func (passThrough) binding(string, []byte, uint16) bool                      { return true }
func (passThrough) gone(string, time.Time)                                   {}
func (passThrough) incarnation() uint32                                      { return 0 }

// openConn only gives memberlist an address that it can log.
type openConn struct {
	net.Conn
	peer tables.RouterID
}

func (c openConn) RemoteAddr() net.Addr { return udpAddr(c.peer) }

func (n *node) accept(from tables.RouterID, c net.Conn) { n.Accept(from, c) }
