//go:build race

package transporttest

// raceEnabled: sync.Pool throws values away at random under the race detector.
const raceEnabled = true
