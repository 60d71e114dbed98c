// Package node is the running virtual router: it puts the pure parts together and owns every
// goroutine.
//
// Decisions are made elsewhere. The control loop (loop.go) is one goroutine that owns all control
// state: it feeds datagrams, results and the passing of time to the states of packages transport,
// mesh, tables and policy, does what they say, and publishes immutable values for others to read.
// Lanes (lane.go) move packets: one goroutine per capture device and one for the underlay socket, which
// read a snapshot and never wait for the control loop. The clerk (clerk.go) checks signatures
// and writes to disk. docs/architecture.md has the table of goroutines.
//
// New starts nothing, Run blocks until its context ends, and what Options gave is closed then.
// Join and Found make a directory that New accepts.
//
// Only the command line and tests import this package.
package node
