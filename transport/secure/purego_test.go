//go:build purego

package secure

// pureGo: the standard library and x/crypto do without assembly, and then their ChaCha20-Poly1305 allocates.
const pureGo = true
