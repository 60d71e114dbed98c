// Package mesh decides what a router tells others about the documents it holds, and whom it asks.
//
// Two ways carry a document to every router. A rumour (Rumours) is fast: it rides on gossip
// packets a fixed number of times and may be lost. Anti-entropy (Index, Reconcile, Exchange,
// View) is certain: two routers compare a 16-byte root, then ranges of it, until each knows
// exactly which documents it lacks, and fetches them. An exchange that breaks off has lost
// nothing: what arrived no longer differs, so the next one goes on from there.
//
// What other members say is only a hint here. A digest never changes a table: the caller fetches
// the document, verifies it (package tables), and only then puts its digest into the Index. Every
// transfer of documents is asked for by its receiver; an unasked document ends the exchange.
//
// The package is pure: it does no I/O, starts no goroutine, takes no lock and reads no clock.
// Callers pass now, randomness comes as an argument, and no type here may be used by two
// goroutines at once. It knows nothing of SWIM; package gossip brings hints in and carries
// rumours out. It does not say which documents are valid or which of two versions wins beyond
// "the higher version is newer": package tables does.
package mesh
