package vr

import (
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// A Token names one dial-back: random, so that only who was told of it can have it sent to us.
type Token [8]byte

// An Event is something that happened to the VR.
type Event interface{ event() }

// Local says at which endpoints of the machine's interfaces the socket can be reached, best first. It
// is told at the start and whenever they change.
type Local struct{ Endpoints []netip.AddrPort }

// Linked says that there is a link with an enrolled router, or that its endpoint has moved. At is its UDP
// endpoint, or the zero AddrPort while the link goes another way (relayed, stream). As long as
// the link is there, At counts as contacted.
type Linked struct {
	Router tables.RouterID
	Site   string
	At     netip.AddrPort
}

// Unlinked ends a link, and with it what that router said.
type Unlinked struct{ Router tables.RouterID }

// Observed is what a linked router says of where it sees us. It must speak of UDP: what a peer sees of
// a stream connection or through a relay is not told. A stranger's word is ignored.
type Observed struct {
	By       tables.RouterID
	Endpoint netip.AddrPort
}

// Contacted says that we send to an endpoint of our own accord: a dial, a challenge to a new endpoint, a
// gossip datagram. An answer to somebody whom we had not sent to need not be told: if what
// it answers came in, the way was open. Telling it again refreshes it; once in ContactEvery is enough.
type Contacted struct{ At netip.AddrPort }

// Reached says that a conversation has begun with a datagram that came in from an endpoint: a link
// handshake that turned out authentic, or a join hello whose cookie came back. It is told before any
// Contacted with that endpoint. If we had not sent there, it proves as much as a dial-back.
// By is who it was, 0 for a newcomer.
type Reached struct {
	From netip.AddrPort
	By   tables.RouterID
}

// Dialled is the answer to AskDialBack: whom the via has asked to dial, 0 for nobody.
type Dialled struct {
	By     tables.RouterID
	Token  Token
	Helper tables.RouterID
}

// DialArrived says that a datagram with a token came to our socket, sealed by a router with the key
// that only it and we have. From is its source, as the socket saw it.
type DialArrived struct {
	Token  Token
	From   netip.AddrPort
	Helper tables.RouterID
}

// Declared is what the operator says, in place of what he said before. A kind other than Auto is final,
// and no dial-back is asked for. Endpoints are announced as they are; with kind Auto they make
// the VR regular.
type Declared struct {
	Kind      Kind
	Endpoints []netip.AddrPort
}

// Mapped says which external endpoints the gateway has mapped to ours (UPnP-IGD, NAT-PMP, PCP), in
// place of those before. One that peers see us at is tested first; none is believed untested, since a
// gateway may be behind another translator.
type Mapped struct{ Endpoints []netip.AddrPort }

// Joined says that the federation has got another VR: whoever had nobody to ask may have now.
type Joined struct{}

// Draining says that the operator empties this VR, or has ended that.
type Draining struct{ Draining bool }

func (Local) event()       {}
func (Linked) event()      {}
func (Unlinked) event()    {}
func (Observed) event()    {}
func (Contacted) event()   {}
func (Reached) event()     {}
func (Dialled) event()     {}
func (DialArrived) event() {}
func (Declared) event()    {}
func (Mapped) event()      {}
func (Joined) event()      {}
func (Draining) event()    {}

// An Action is what the caller must do.
type Action interface{ action() }

// AskDialBack sends a request for a dial-back over the link with Via. Helper is who shall dial, 0 if the
// via may choose.
type AskDialBack struct {
	Via    tables.RouterID
	Token  Token
	Helper tables.RouterID
}

// Changed says that the verdict is another one.
type Changed struct{ Verdict Verdict }

func (AskDialBack) action() {}
func (Changed) action()     {}
