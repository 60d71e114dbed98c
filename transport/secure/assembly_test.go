//go:build !purego

package secure

const pureGo = false
