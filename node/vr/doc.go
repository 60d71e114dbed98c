// Package vr is what a VR knows of itself: is it regular or limited, at which endpoints can others
// reach it, how does the address translator before it behave, does it drain.
//
// There is no outside service. Peers say where they see us (event Observed), and on our request one of
// them, the via, has a third VR, the helper, send one datagram to that place from a socket that we
// have never sent to (action AskDialBack). An arrival is physical evidence and decides at once; silence
// is only evidence if no single liar can have caused it. The words for translators are those of RFC
// 4787, the idea of probing filters from another address that of RFC 5780, Section 4.4. The choices
// are explained in docs/adr/0018-knowing-oneself.md.
//
// Two machines, both pure (callers pass the time, Config has the randomness):
//
//   - Self asks: events in, the Verdict and requests out (self.go, round.go).
//   - Helper serves the requests of others, as via and as helper, within limits (helper.go).
//
// The package sends nothing, knows no key and believes no document; package node feeds it and does
// what it says. It does not elect queue-VRs and measures no path (packages mesh, transport/path).
package vr
