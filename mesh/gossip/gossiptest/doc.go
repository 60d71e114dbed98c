// Package gossiptest is an in-memory network for tests of gossip: a switch that carries
// packets and streams between VRs, with delay, loss, cuts and deaths.
//
// It works inside and outside of a testing/synctest bubble. Packets are delivered by one
// goroutine in the order of (time, sequence), so equal delays never reorder. Sending never
// waits; what finds the queue full, a cut or a dead port is dropped and counted.
//
// Only tests import it.
package gossiptest
