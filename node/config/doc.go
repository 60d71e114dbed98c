// Package config turns the TOML file of a VR into a checked Config.
//
// Every parameter stands once, as a field of the unexported raw structs: its key, its default
// and its meaning are the field's tags, and `vine config default` prints them. Unknown keys fail
// with the line and the nearest right key; all problems are reported at once; a Config is
// immutable. Reading a file again gives a new Config, and a wrong file gives none, so a running
// VR keeps the one it has.
//
// docs/config.md maps the dissertation's parameters (table 3-3, figure A-2) to these keys.
// Only package node and the command line read a Config; the layers below take values.
package config
