//go:build !amd64 || purego

package gcm

const elsewhere = "gcm: not on this processor"

func capable(int) bool { return false }

func crypt512(*state, *byte, *byte, *byte, int, *byte, int, *byte, bool) { panic(elsewhere) }
func crypt256(*state, *byte, *byte, *byte, int, *byte, int, *byte, bool) { panic(elsewhere) }
func expand(*state, *byte, *byte)                                        { panic(elsewhere) }
