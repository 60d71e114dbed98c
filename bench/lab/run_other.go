//go:build !linux

package lab

import (
	"context"

	"github.com/vine-mesh/vine/bench"
)

// Peers returns nothing: see ErrUnsupported.
func Peers() (installed, absent []string) { return nil, nil }

// Check returns ErrUnsupported.
func Check([]bench.Stage) error { return ErrUnsupported }

// Run returns ErrUnsupported.
func Run(context.Context, bench.Options, []bench.Stage, map[string]string, func(string)) (bench.Report, error) {
	return bench.Report{}, ErrUnsupported
}
