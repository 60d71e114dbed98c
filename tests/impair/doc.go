// Package impair makes a good network bad, for tests: it carries packets between two interfaces and
// delays, reorders, repeats, loses and slows them on the way.
//
// A Line is one direction and decides: it is pure, so the same settings, seed and packets give the same
// fate. A Cable is two lines between two Ports, at work; OpenPort makes a Port of an interface. A Switch is a
// whole wide-area network: a line from every site to every other. All may be changed at work (Set). The
// kernel's own netem would do, but not every kernel has it.
//
// Only tests may import the package.
package impair
