package transport

import "time"

// A timed is something with a deadline: a link or a join conversation.
type timed struct {
	due   time.Time // zero: none
	order uint64    // of creation: breaks ties, so that runs repeat exactly
	at    int       // position in the heap; -1 when not in it
	link  *link
	join  *join
}

// dueHeap is the heap of deadlines (container/heap), least first.
type dueHeap []*timed

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].order < h[j].order
	}
	return h[i].due.Before(h[j].due)
}
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *dueHeap) Push(x any) {
	t := x.(*timed)
	t.at = len(*h)
	*h = append(*h, t)
}
func (h *dueHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	*h = old[:len(old)-1]
	t.at = -1
	return t
}
