package cost

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestTables makes every table in short and looks at its shape: as many cells as the head says, and numbers that are
// more than nothing.
func TestTables(t *testing.T) {
	for _, r := range Reproductions {
		table, err := r.Table(t.Context(), 100*time.Microsecond)
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		if len(table.Rows) < 3 {
			t.Errorf("%s has %d rows", r.Name, len(table.Rows))
		}
		for _, row := range table.Rows {
			if len(row) != len(table.Head) {
				t.Errorf("%s: %q under %q", r.Name, row, table.Head)
			}
			for _, c := range row[1:] {
				if v, err := strconv.ParseFloat(c, 64); err == nil && v <= 0 {
					t.Errorf("%s: %q", r.Name, row)
				}
			}
		}
	}
}

// TestCompressionRatios: text is compressed, random bytes are not.
func TestCompressionRatios(t *testing.T) {
	table, err := compression(t.Context(), 100*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table.Rows {
		if strings.HasPrefix(row[0], "binary") {
			continue // a program's first bytes may be anything
		}
		ratio, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		if gains := ratio > 1.2; gains != !strings.HasPrefix(row[0], "as in an image") {
			t.Errorf("%q", row)
		}
	}
}

func TestPerCallEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := perCall(ctx, time.Millisecond, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	calls := 0
	if ns, err := perCall(t.Context(), time.Millisecond, func() { calls++ }); err != nil || ns <= 0 || calls < repeats {
		t.Errorf("%v ns, %v, %d calls", ns, err, calls)
	}
}
