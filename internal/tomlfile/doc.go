// Package tomlfile reads TOML files strictly: a key that nobody reads is refused, with its line and the nearest right key, and all
// such problems at once. What a file may hold is a struct, whose tags are also the documentation: toml is the name of a key, doc
// its meaning, def its default as TOML text.
package tomlfile
