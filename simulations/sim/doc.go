// Package sim is the model engine of simulations: virtual routers by the thousand in one thread.
//
// An Engine takes events in the order of time, then of planning, and moves its VRs by the state machines of
// production where these are pure and cheap enough, and by a model of them where they are not:
// docs/simulations-model.md has the list. The same scenario and seed give the same run, event by event, on
// every machine: time is integer nanoseconds, what is drawn comes from integer tables, no map is ranged
// over, and no floating point of this package's own decides anything.
//
// What one VR sees of another is kept only where it differs from what all agree on.
//
// The package is pure: it reads no clock and starts no goroutine. An Engine belongs to one goroutine.
package sim
