// Package vine holds nothing but the tests of the project's shape: which package may import which,
// which are pure (arch_test.go). The program is cmd/vine; docs/architecture.md is the way in.
package vine
