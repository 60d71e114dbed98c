// Package policy decides what may be done in a federation and turns what is asked for into the
// documents that do it.
//
// An operation arrives as a tables.Request. An Authority's Decide says whether the asking user may
// (the matrix in rights.go) and, if so, which bodies to sign: it is a pure function of the store,
// the request and the time. Whoever holds the authority key signs them (package node); everybody
// else only verifies (package tables). So a rule that is wrong here can refuse too much or sign
// too much, but it can never make a VR accept what the authority has not signed.
//
// Three more rules hold wherever documents are made here: router IDs, VN IDs and names are never
// used twice; a fragment or roster that has not changed is not signed again; and no packet of any
// host ever has two ways, neither inside a VN nor between two VNs that share a host. The random
// operations of random_test.go look for a sequence that breaks one.
//
// The package does no I/O, starts no goroutine and reads no clock: callers pass now and randomness.
package policy
