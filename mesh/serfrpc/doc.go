// Package serfrpc serves the RPC protocol of the stock serf command, so that operators can
// read a running VR with the tool they know: members, info, rtt, query, reachability,
// monitor.
//
// The protocol (serf's docs, "RPC Protocol") is MessagePack over TCP: a request header
// {Command, Seq}, for most commands a body, and a response header {Seq, Error} and body with
// the same Seq. Streams (monitor, stream, query) answer more than once.
//
// Whoever reaches the port may read, and ask queries at a limited rate. Nothing can be
// changed: join, leave, force-leave, event, tags and keys are answered with a sentence that
// names the vine command to use instead. A token may be required. The server listens where
// its caller says, and refuses a listener that is not on a loopback address unless there is
// a token. Clients, frames, streams and queues are bounded, and every write has a deadline.
//
// The package knows serf only through the interface Serf.
package serfrpc
