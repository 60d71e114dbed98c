// Package real runs scenarios on the production code: whole VRs, with serf and memberlist, over the in-memory Internet in virtual time.
//
// Virtual time is that of testing/synctest, which only tests can have: a run is a test in a process of its own, a child of the program, which
// is the same program again. The child has one processor; a run takes as much memory as it has VRs, and gives it back when it ends.
package real
