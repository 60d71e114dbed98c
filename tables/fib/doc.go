// Package fib defines the compiled lookup from an address to the entry with the longest
// matching prefix.
//
// A Table is built once by a Builder and never changes, so any number of goroutines may look
// up in it without a lock; a changed table is a new Table. IPv4 and IPv6 are separate spaces:
// an IPv4-mapped IPv6 address (RFC 4291, Section 2.5.5.2) is neither and finds nothing, so that
// one host cannot appear under two names. TestLookupAgainstList compares it with a plain list.
//
// The package does not know what an entry means (package forward does), does no I/O and reads
// no clock. It is the only importer of the bart module.
package fib
