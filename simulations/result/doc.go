// Package result is what a run of a simulation leaves: one Run for each seed, the same for both
// engines, in integers, so that a run of the model is the same bytes on every machine.
package result
