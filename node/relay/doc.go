// Package relay is what a queue-VR keeps for those it serves: packets that wait for their turn or
// for a poll.
//
// Queue shares a queue-VR's sending among its clients by bytes, so that none takes what is another's.
// Poll holds what came for clients that fetch it. Both are bounded in bytes, in packets and in
// age, for each client and in total, and both count what they drop, client by client.
//
// The package is pure: callers pass the time. It does not look into a packet, knows no key, sends
// nothing, and no type here may be used by two goroutines at once.
package relay
