// Package gossip runs hashicorp/serf (and memberlist under it) among the VRs of one
// federation: who seems to be there, a queue for rumours, and a root hash in every ack.
//
// Everything it reports is a hint. Any member can say anything about any other member, so
// nothing heard here may change a route, a key or an address binding, nor close a link
// (docs/architecture.md, "Four planes"). What enters is policed first: every packet and
// every stream is parsed, checked against who sent it, and encoded afresh before memberlist
// sees a byte of it (police.go says the rules). attack_test.go keeps the measured attacks;
// each succeeds when the policing is replaced by a pass-through.
//
// The package owns no socket. Packets leave through Config.Send and enter through Deliver,
// streams leave through Config.Dial and enter through Accept; all four name peers by router
// ID, which the caller has authenticated. The address a member has inside SWIM is derived
// from its router ID (Addr) and never changes; underlay endpoints are not known here.
//
// Constructors start nothing and Run blocks, with one exception: memberlist and serf stop
// some of their goroutines only up to a minute after Run has returned (see Drain).
//
// Only this package imports memberlist and serf.
package gossip
