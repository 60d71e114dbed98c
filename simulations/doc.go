// Package simulations holds the scenarios that come with vine, and runs scenarios by their engines.
//
// Its rooms: scenario reads the files, sim is the model engine, real the production code in virtual time, result what a run leaves.
package simulations
