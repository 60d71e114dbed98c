// Package bench decides what `vine bench` measures, in which order, and what the figures mean.
//
// A Plan is a list of runs: every measure, at every party, in every round, in every regime of the wires. Parties are
// what carries the packets between two sites: ViNe, the kernel alone, other tunnels. Runs of one measure at all
// parties follow each other at once (they are interleaved), so that what the machine does meanwhile meets all of them,
// and parties are compared within one round only.
//
// A run yields a Sample: values, and what else kept the machine busy (Load). A Report is the samples with what one
// must know to judge them; tables, goals and the plot are computed from it.
//
// The package does no I/O, starts no goroutine and reads no clock. What is measured, and how, is package lab's.
package bench
