// Package state keeps a VR's directory on disk: its keys, its boot count and the documents it
// holds, as they came.
//
// Documents are written in bundles. A bundle is one file made by one temporary file, one fsync,
// a rename and an fsync of the directory, so after a crash it is there whole or not at all: the
// documents of one VN version never come back half. A bundle ends in a SHA-256 of what stands
// before it; one that does not match is reported and, once that is noted, set aside with the suffix
// ".bad", since its documents can be had again from any other VR.
//
// High-water marks say which version of each document was the highest, also where the document is
// gone or its bundle is damaged: a VR that loads them refuses to go back, and an authority gives no
// number twice. They are in a file of their own, to which a record is added after each bundle and
// which is rewritten at each start, with each compaction, and after each error. A record ends in a
// SHA-256 too; a torn one is left out, and the documents are their own marks then.
//
// All files are written by package durable.
//
// Only the owner may read the directory. The package has no goroutine; a Dir is used by one
// goroutine at a time. It knows nothing of what documents mean.
package state
