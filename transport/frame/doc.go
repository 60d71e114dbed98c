// Package frame defines every byte that routers put on the underlay: datagram types, their
// headers, and the control frames inside a control datagram.
//
// Every codec is a pair: Append adds exactly the bytes that Parse reads, and whatever parses
// re-encodes to the same bytes. Integers are big-endian. Parsed values alias the input: copy what
// must outlive the buffer. Errors are package variables, so hostile input allocates nothing.
//
// The package knows lengths and layouts only. It proves nothing: who sent a datagram is the
// business of package secure, which is the reader of most of these layouts.
// docs/wire.md is the normative text; the vectors in testdata are the ones it cites.
//
// The package does no I/O, starts no goroutine and reads no clock. Any package may import it.
package frame
