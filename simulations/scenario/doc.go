// Package scenario reads the files that say what is simulated.
//
// A scenario file is TOML. It names groups of VRs, the network between them, what churns, what
// happens when, the traffic, and what is recorded. Parse refuses whatever cannot be, naming the
// line and the reason, before anything runs. A Scenario holds integers only: both engines of a
// simulation decide by it, and the model must decide alike on every machine.
//
// The package is pure: Parse takes the text, and a function that gives it the files it names.
package scenario
