package netstack

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/vine-mesh/vine/node/capture"
)

// A link is the network card of one host: it puts what the stack sends into the LAN's queue and
// hands what the router wrote to the stack. It has no goroutine and no link-layer header.
type link struct {
	mtu   uint32
	queue *capture.Queue
	stack atomic.Pointer[dispatcher]
}

// A dispatcher boxes the interface so that it can be swapped atomically.
type dispatcher struct{ stack.NetworkDispatcher }

var _ stack.LinkEndpoint = (*link)(nil)

// deliver hands a copy of the IP packet p to the host. The stack answers pings in this very call;
// that cannot block, because WritePackets does not.
func (l *link) deliver(p []byte) {
	d := l.stack.Load()
	if d == nil {
		return // the host is going away
	}
	protocol := ipv4.ProtocolNumber
	if p[0]>>4 == 6 {
		protocol = ipv6.ProtocolNumber
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p)})
	d.DeliverNetworkPacket(protocol, pkt)
	pkt.DecRef()
}

// WritePackets implements stack.LinkWriter. A packet that finds the queue full counts as sent, as
// on any wire.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		view := pkt.ToView()
		l.queue.Put(view.AsSlice())
		view.Release()
	}
	return pkts.Len(), nil
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.stack.Store(nil)
		return
	}
	l.stack.Store(&dispatcher{d})
}

// The rest of stack.LinkEndpoint: a card without addresses, headers, offloads or goroutines.

func (l *link) IsAttached() bool                           { return l.stack.Load() != nil }
func (l *link) MTU() uint32                                { return l.mtu }
func (*link) SetMTU(uint32)                                {}
func (*link) MaxHeaderLength() uint16                      { return 0 }
func (*link) LinkAddress() tcpip.LinkAddress               { return "" }
func (*link) SetLinkAddress(tcpip.LinkAddress)             {}
func (*link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityNone }
func (*link) Wait()                                        {}
func (*link) Close()                                       {}
func (*link) SetOnCloseAction(func())                      {}
func (*link) ARPHardwareType() header.ARPHardwareType      { return header.ARPHardwareNone }
func (*link) AddHeader(*stack.PacketBuffer)                {}
func (*link) ParseHeader(*stack.PacketBuffer) bool         { return true }
