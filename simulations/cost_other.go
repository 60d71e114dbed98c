//go:build !linux

package simulations

import "time"

// What a run takes is told on Linux only.
func processorTime() time.Duration { return 0 }
func mostMemory() int64            { return 0 }
