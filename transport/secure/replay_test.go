package secure

import (
	"math"
	"testing"
)

const windowLen = (sessionBlocks - 1) * blockBits

func TestWindowIsWideEnough(t *testing.T) {
	if windowLen < 8128 {
		t.Errorf("window of %d counters, want at least 8128", windowLen)
	}
}

// TestWindowPoints goes through 34 points, one after the other: first counters, duplicates, disorder
// inside the window, both of its edges before and after jumps, and the end of the number space.
func TestWindowPoints(t *testing.T) {
	const w = windowLen
	const end = math.MaxUint64
	points := []struct {
		counter uint64
		want    bool
	}{
		{0, true}, {1, true}, {1, false}, {9, true}, {8, true}, {7, true}, {7, false}, // disorder at the start
		{w + 1, true}, {w, true}, {w, false}, {w - 1, true}, // the window has moved by one
		{2, true}, {2, false}, {0, false}, {1, false}, // its lower part, and just behind it
		{w + 17, true}, {3, false}, {17, true}, {16, false}, {w + 17, false}, // the lower edge is exactly top-w
		{4 * w, true}, {3 * w, true}, {3*w - 1, false}, {3*w + 1, true}, // a jump of several windows
		{17, false}, {4*w + 1, true}, {3 * w, false}, {3*w + 1, false}, {3*w + 2, true},
		{end, false}, {end - 1, true}, {end - 1, false}, {end - 2, true}, {4*w + 2, false}, // the end
	}
	if len(points) != 34 {
		t.Fatalf("%d points", len(points))
	}
	seen := newWindow(sessionBlocks)
	for i, p := range points {
		if got := seen.accept(p.counter); got != p.want {
			t.Fatalf("point %d: accept(%d) = %v, want %v", i, p.counter, got, p.want)
		}
	}
}

// TestWindowBulk lets whole windows pass up and down.
func TestWindowBulk(t *testing.T) {
	tests := []struct {
		name  string
		first uint64
		step  int
		want  int // how many of a window's counters are taken
	}{
		{"up from 0", 0, 1, windowLen},
		{"up from 1", 1, 1, windowLen},
		{"down to 0", windowLen - 1, -1, windowLen},
		{"down to 1", windowLen, -1, windowLen},
		{"down to 100", windowLen + 99, -1, windowLen},
	}
	for _, test := range tests {
		seen := newWindow(sessionBlocks)
		for range 2 {
			got := 0
			for c, n := test.first, 0; n < windowLen; c, n = c+uint64(test.step), n+1 {
				if seen.accept(c) {
					got++
				}
			}
			if got != test.want {
				t.Errorf("%s: %d counters taken, want %d", test.name, got, test.want)
			}
			test.want = 0 // the second time
		}
	}
}

// FuzzWindow compares the ring with a map, which forgets nothing, and a number.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{0, 1, 1, 9, 8, 7, 255, 3, 254, 128, 129})
	f.Add([]byte{255, 255, 255, 0, 0, 0, 200, 201, 202})
	f.Fuzz(func(t *testing.T, steps []byte) {
		const blocks = 4
		const length = (blocks - 1) * blockBits
		seen := newWindow(blocks)
		taken := map[uint64]bool{}
		var top, at uint64
		for _, s := range steps {
			// The low half moves back or forth by single counters, the high half by squares.
			if s < 128 {
				at += uint64(s) - 64
			} else {
				at += uint64(s-128) * uint64(s-128) / 8
			}
			want := at != math.MaxUint64 && !taken[at] && (at >= top || top-at <= length)
			if len(taken) == 0 {
				want = at != math.MaxUint64
			}
			if got := seen.accept(at); got != want {
				t.Fatalf("accept(%d) = %v, want %v (highest %d)", at, got, want, top)
			}
			if want {
				taken[at] = true
				top = max(top, at)
			}
		}
	})
}

func TestWindowRaise(t *testing.T) {
	for floor := range uint64(300) {
		seen := newWindow(4)
		seen.raise(floor)
		for c := range floor {
			if seen.accept(c) {
				t.Fatalf("floor %d: %d taken", floor, c)
			}
		}
		for c := floor; c < floor+200; c++ {
			if !seen.accept(c) {
				t.Fatalf("floor %d: %d refused", floor, c)
			}
			if seen.accept(c) {
				t.Fatalf("floor %d: %d taken twice", floor, c)
			}
		}
		seen.raise(floor / 2) // lower: no effect
		if seen.top != floor+200 {
			t.Fatalf("floor %d: a lower one moved the top to %d", floor, seen.top)
		}
	}
}
