// Package netns makes network namespaces and runs programs in them, so that a benchmark or a test can be root and
// change routes, rules and sysctls without touching the machine.
//
// A namespace has no name. It lives as long as somebody holds it open: Close lets go of it, and so does the end of
// this process, whatever end that is; the kernel then removes its interfaces. Threads that entered a namespace are
// never given back to the runtime: they end with their goroutine. Programs are killed with the thread that started
// them, so they too end with this process.
//
// Linux only, as root. Tests use it through package netnstest.
package netns
