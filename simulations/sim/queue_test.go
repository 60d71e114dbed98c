package sim

import (
	"slices"
	"testing"
)

// TestEventQueue compares the queue with a sorted list, with events near, far, past and at one instant.
func TestEventQueue(t *testing.T) {
	s := source{1}
	q := newEventQueue()
	var want []event
	now := int64(0)
	for i := range 20_000 {
		for range s.below(4) {
			at := now
			switch s.below(5) {
			case 0:
				at += s.below(1000)
			case 1:
				at += s.below(5e6)
			case 2:
				at += s.below(20e9)
			case 3:
				at += s.below(200e9)
			}
			q.add(at, evProbe, int32(i), 0, 0)
			want = append(want, event{at: at, seq: q.seq, kind: evProbe, a: int32(i)})
		}
		if s.below(2) == 0 || len(want) == 0 {
			continue
		}
		least := 0
		for k := range want {
			if want[k].before(&want[least]) {
				least = k
			}
		}
		got, ok := q.next()
		if !ok || got != want[least] {
			t.Fatalf("event %d is %+v, want %+v", i, got, want[least])
		}
		now = got.at
		want = slices.Delete(want, least, least+1)
		if len(want) > 500 { // empty it now and then, so that the wheel stands still
			for range len(want) {
				got, _ := q.next()
				now = got.at
			}
			want = want[:0]
			if _, ok := q.next(); ok {
				t.Fatal("an empty queue has an event")
			}
		}
	}
}

func TestEventQueueDoesNotAllocate(t *testing.T) {
	q := newEventQueue()
	s := source{1}
	for range 1000 {
		q.add(s.below(30e9), evProbe, 0, 0, 0)
	}
	turn := func() {
		for range 1000 {
			e, _ := q.next()
			q.add(e.at+s.below(30e9), evProbe, 0, 0, 0)
		}
	}
	for range 200 {
		turn()
	}
	if n := testing.AllocsPerRun(20, turn); n > 1 {
		t.Errorf("%v allocations for 1,000 events", n)
	}
}

func BenchmarkEventQueue(b *testing.B) {
	q := newEventQueue()
	s := source{1}
	for range 100_000 {
		q.add(s.below(1e9), evProbe, 0, 0, 0)
	}
	for b.Loop() {
		e, _ := q.next()
		q.add(e.at+s.below(2e9), evProbe, 0, 0, 0)
	}
}
