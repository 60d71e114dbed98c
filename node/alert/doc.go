// Package alert decides when somebody is told that something is wrong with a VR, and when that it is over: once for each
// change of state, however often the facts are looked at, and not for what passes by itself at once.
//
// The package is pure: the time and the facts come from the caller.
package alert
