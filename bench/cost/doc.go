// Package cost measures in this process what single steps of a router cost: looking up an address, cryptography,
// compression. Its tables stand for figures 4-6 and 4-8 to 4-10 of the dissertation.
//
// A step is repeated until the clock is fine enough, several times; the least counts, for whatever else the machine does
// only adds.
package cost
