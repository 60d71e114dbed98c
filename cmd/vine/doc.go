// Command vine makes, joins, runs and inspects a ViNe federation: a mesh of virtual routers that
// carry isolated virtual networks between sites.
//
// One file is one subcommand; `vine help` lists them. What needs a running VR calls it through its
// control socket (package control); `init`, `sign`, `show`, `invite` and `config` work without one.
//
// Data goes to standard output and talk to standard error. With --json there is exactly one
// JSON document on standard output, for an error too. Exit codes stand in errors.go.
package main
