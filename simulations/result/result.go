package result

import "time"

// A Run is what one scenario gave with one seed.
type Run struct {
	Scenario string `json:"scenario"`
	Hash     string `json:"hash"` // of the scenario, see scenario.Scenario
	Engine   string `json:"engine"`
	Seed     uint64 `json:"seed"`
	Version  string `json:"version"` // of the program
	VRs      int    `json:"vrs"`
	// Virtual is how far the run came; less than asked if it was interrupted or an invariant broke.
	Virtual time.Duration `json:"virtual_ns"`
	// Trace is a hash over every event, hex. Two runs of one seed with the same hash were the same.
	Trace  string `json:"trace"`
	Events uint64 `json:"events"`
	// Whole is false when the run ended early.
	Whole  bool    `json:"whole"`
	Broken *Broken `json:"broken,omitempty"`

	Series        []Series         `json:"series"`
	Distributions []Distribution   `json:"distributions"`
	Counts        map[string]int64 `json:"counts"`

	// Cost is left out of what is compared between machines.
	Cost Cost `json:"cost"`
}

// A Series is one quantity over virtual time. Values[i] was taken at (i+1)*Every after the warm-up.
type Series struct {
	Name   string        `json:"name"`
	Unit   string        `json:"unit"` // "", "ns", "bytes", "ppm"
	Every  time.Duration `json:"every_ns"`
	Values []int64       `json:"values"`
}

// A Distribution is every value of one quantity, ascending, or quantiles of it.
type Distribution struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Count  int64   `json:"count"`  // how many values there were
	Values []int64 `json:"values"` // at most ValuesMax, evenly spaced by rank, with the least and the most
}

// ValuesMax bounds the values that a Distribution keeps.
const ValuesMax = 2001

// Broken says which invariant did not hold.
type Broken struct {
	Invariant string        `json:"invariant"`
	At        time.Duration `json:"at_ns"` // since the warm-up's end
	Detail    string        `json:"detail"`
	Last      []string      `json:"last"` // the last events, oldest first
}

// Cost is what the run took on the machine.
type Cost struct {
	Wall   time.Duration `json:"wall_ns"`
	CPU    time.Duration `json:"cpu_ns"`
	Memory int64         `json:"memory_bytes"` // the most that was resident
}

// Progress tells how far a run is. Engines call it seldom, from their own goroutine.
type Progress func(virtual time.Duration, events uint64)

// The quantities, alike in both engines.
const (
	// Series.
	Up           = "up"            // VRs that run
	ViewRight    = "view_right"    // ppm of the (VR, member) pairs, both up or long down, that a VR sees rightly
	Reachable    = "reachable"     // ppm of the sampled host pairs that should reach each other and do
	ControlRate  = "control_rate"  // bytes a second and VR, sent, gossip and links without data
	QueueLoadMax = "queue_load"    // clients of the fullest queue-VR
	QueueLoadFew = "queue_load_p5" // clients of the emptiest twentieth
	Direct       = "path_direct"   // links by the kind of their path
	Punched      = "path_punched"
	Relayed      = "path_relayed"
	// Distributions.
	DetectFirst = "detect_first" // ns from a crash to the first member that holds it for dead
	DetectAll   = "detect_all"   // ns to each member's view of it
	FalseDead   = "false_dead"   // ns that a live VR was held for dead by some member
	Converge    = "converge"     // ns from signing to installed, per VR that needs it and was up
	Revoke      = "revoke"       // ns from signing a revocation to its effect, per VR
	RelayGap    = "relay_gap"    // ns that a limited VR that ran was without a live queue-VR
	ControlEach = "control_each" // bytes a second over the whole run, per VR
	MemoryEach  = "memory_each"  // bytes, per VR
	Repair      = "repair"       // ns from a heal to all documents alike, per pair of sides
	// Counts.
	Withdrawn = "withdrawn" // routes withdrawn from healthy VRs
	Switches  = "switches"  // moves of limited VRs from a live queue-VR to another
	Crashes   = "crashes"
	Restarts  = "restarts"
	Leaves    = "leaves"
)
