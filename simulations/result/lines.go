package result

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Append appends a run as one line of JSON.
func Append(b []byte, r *Run) ([]byte, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return b, fmt.Errorf("encode the run of seed %d: %w", r.Seed, err)
	}
	return append(append(b, line...), '\n'), nil
}

// lineMax bounds a line: a run has some dozen series and distributions.
const lineMax = 64 << 20

// Read reads runs, one a line. Empty lines are skipped. The error names the line.
func Read(r io.Reader) (runs []Run, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, lineMax)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var run Run
		if err := json.Unmarshal(lines.Bytes(), &run); err != nil {
			return runs, fmt.Errorf("line %d: %w", n, err)
		}
		if run.Scenario == "" || run.Engine == "" {
			return runs, fmt.Errorf("line %d: this is no run of a simulation", n)
		}
		runs = append(runs, run)
	}
	if err := lines.Err(); err != nil {
		return runs, fmt.Errorf("read runs: %w", err)
	}
	return runs, nil
}

// Same reports whether two runs gave the same, whatever they cost.
func Same(a, b *Run) bool {
	x, y := *a, *b
	x.Cost, y.Cost = Cost{}, Cost{}
	one, err1 := json.Marshal(&x)
	two, err2 := json.Marshal(&y)
	return err1 == nil && err2 == nil && bytes.Equal(one, two)
}
