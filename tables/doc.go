// Package tables defines a router's view of the overlay: the signed documents and the rules for
// keeping them.
//
// A document is an Envelope (DSSE version 1, Ed25519, deterministic CBOR) around one of the
// bodies of body.go. What parses encodes to the same bytes again, so a document has one form and
// one hash; FuzzEnvelope and FuzzBody check it. ParseDocument checks form and signatures and
// needs nothing else. A Store decides whether the signers may sign it and which version to keep:
//
//	bytes -> ParseDocument -> *Document -> Store.Put -> View -> Installer -> Installed -> LNDT, GNDT
//
// Trust starts at the first root, whose body hash is the federation ID. Root keys sign the next
// root; a root names authority keys; those sign enrolments, sites, grants, revocations, heads,
// receipts and VNs; a VN names its home, which signs the next version and the leaves; an
// enrolment names the identity that signs the link record. Expiry, rollback, freeze, mix-and-match,
// fast-forward and endless data are defended against as in the TUF specification; TestTUF has a
// case for each.
//
// Keeping is a pure function of the documents: of two acceptable ones with the same DocKey the
// higher version wins; equal versions with different content are kept as Evidence and change
// nothing. So routers that have the same documents hold the same tables whatever order they
// arrived in; TestOrderDoesNotMatter checks it. An Installer uses a version of a VN whole or not
// at all; TestInstallWhole checks it.
//
// The package does no I/O, starts no goroutine and reads no clock: callers pass now and a source
// of randomness. A Store and an Installer belong to one goroutine each; Documents and Views are
// immutable and shared. It does not decide whom to tell (package mesh), who may do what with a
// grant (package policy) or where packets go (package fib). Every package may import it; it
// imports none of ours. The formats stand in docs/wire.md.
package tables
