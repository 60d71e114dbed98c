package sim

import (
	"time"

	"github.com/vine-mesh/vine/simulations/scenario"
)

// A network says how long packets take and which are lost.
type network struct {
	latency  scenario.Latency
	jitter   int64
	seed     uint64
	loss     scenario.PPM // of the network, now
	lossBase scenario.PPM
	groups   []scenario.PPM // each group's own
	region   []int          // of each group, row of the matrix
	side     []uint8        // of each VR; packets between two sides are lost
	split    bool
	slowed   []int64 // of each VR: what its packets take longer
	groupOf  []int32
	count    int64
	points   []point // coordinates
}

func newNetwork(s *scenario.Scenario, seed uint64, groupOf []int32) network {
	n := network{
		latency: s.Network.Latency, jitter: int64(s.Network.Jitter), seed: finish(seed ^ 0x6c6174656e6379),
		loss: s.Network.Loss, lossBase: s.Network.Loss, groupOf: groupOf, count: int64(len(groupOf)),
		side: make([]uint8, len(groupOf)), slowed: make([]int64, len(groupOf)),
	}
	if n.latency.Kind == "coordinates" {
		n.place()
	}
	for _, g := range s.Groups {
		n.groups = append(n.groups, g.Loss)
		region := 0
		for i, r := range s.Network.Latency.Regions {
			if r == g.Region {
				region = i
			}
		}
		n.region = append(n.region, region)
	}
	return n
}

// base returns the latency one way between two VRs, without jitter. It is the same both ways and always.
func (n *network) base(a, b int32) int64 {
	if a > b && n.latency.Kind != "matrix" {
		a, b = b, a
	}
	least, most := int64(n.latency.Least), int64(n.latency.Most)
	switch n.latency.Kind {
	case "uniform":
		s := source{n.pair(a, b)}
		return least + s.below(most-least+1)
	case "lognormal":
		return min(max(lognormal(int64(n.latency.Median), n.latency.SigmaThousands, normalOf(n.pair(a, b))), int64(10*time.Microsecond)), int64(10*time.Second))
	case "coordinates":
		// Points of a square of side 2^16; the diagonal takes the longest.
		x, y := int64(n.points[a].x-n.points[b].x), int64(n.points[a].y-n.points[b].y)
		d := int64(sqrt(uint64(x*x + y*y)))
		return least + (most-least)*d/92682
	case "ring":
		d := abs(int64(a) - int64(b))
		d = min(d, n.count-d)
		return least + (most-least)*d*2/max(n.count, 2)
	case "matrix":
		return int64(n.latency.Matrix[n.region[n.groupOf[a]]][n.region[n.groupOf[b]]])
	}
	return least
}

func (n *network) pair(a, b int32) uint64 {
	return finish(n.seed ^ (uint64(uint32(a))<<32 | uint64(uint32(b))))
}

// A point is where a VR is, each coordinate from 0 to 2^16-1.
type point struct{ x, y int32 }

func (n *network) place() {
	n.points = make([]point, n.count)
	for a := range n.points {
		h := n.pair(int32(a), -1)
		n.points[a] = point{int32(h & 0xffff), int32(h >> 16 & 0xffff)}
	}
}

// steady returns the latency one way between two VRs as it is now, without jitter.
func (n *network) steady(a, b int32) int64 { return n.base(a, b) + n.slowed[a] + n.slowed[b] }

// delay draws how long one packet takes.
func (n *network) delay(s *source, a, b int32) int64 {
	return n.base(a, b) + s.below(n.jitter) + n.slowed[a] + n.slowed[b]
}

// parted reports whether no packet passes between two VRs.
func (n *network) parted(a, b int32) bool { return n.split && n.side[a] != n.side[b] }

// loses draws whether one packet from a to b is lost.
func (n *network) loses(s *source, a, b int32) bool {
	return n.parted(a, b) || s.hits(n.loss) || s.hits(n.groups[n.groupOf[a]]) || s.hits(n.groups[n.groupOf[b]])
}
