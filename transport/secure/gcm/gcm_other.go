//go:build !amd64 || purego

package gcm

func capable() bool { return false }

func crypt(*state, *byte, *byte, *byte, int, *byte, int, *byte, bool) {
	panic("gcm: not on this processor")
}
func expand(*state, *byte, *byte) { panic("gcm: not on this processor") }
