package scenario

import "time"

// A Scenario is one checked file.
type Scenario struct {
	Name     string        // [a-z0-9-]{1,63}, the file's stem unless the file names it
	About    string        // what it shows, one paragraph
	Engine   string        // "real" or "model": what runs it unless told otherwise
	Warmup   time.Duration // virtual time from the start until recording and events begin
	Duration time.Duration // virtual time that is recorded
	Seeds    int           // how many seeds a run takes unless told otherwise
	Every    time.Duration // between two samples of each series
	Bounds   Bounds
	Network  Network
	Groups   []Group
	VNs      []VN
	Traffic  []Traffic
	Events   []Event // in the order of At; those of one instant as in the file
	// Hash is SHA-256 of the text and of all files it names, hex.
	Hash string
}

// Bounds are what the invariants hold a run to.
type Bounds struct {
	Reach    time.Duration // every pair that should reach can, this long after the last fault
	Relay    time.Duration // longest time that a limited VR may be without a live queue-VR
	Converge time.Duration // a document is at every live VR this long after it was signed or after the last fault
	Memory   int64         // bytes that one VR may hold
}

// Network is what lies between the sites.
type Network struct {
	Latency Latency
	Jitter  time.Duration // uniform in [0, Jitter), added to each packet
	Loss    PPM           // of each packet, between any two sites
}

// PPM is a probability in millionths.
type PPM int64

// Latency is how long a packet takes one way.
type Latency struct {
	// Kind is "fixed", "uniform", "lognormal" (drawn once for each pair), "coordinates" (sites are
	// points in a plane; the distance is the time), "ring" (the sites in order on a circle) or
	// "matrix" (a file: one line a region, a column a region, milliseconds; Group.Region chooses).
	Kind           string
	Least, Most    time.Duration // fixed: both alike; uniform; coordinates and ring: nearest and farthest
	Median         time.Duration // lognormal
	SigmaThousands int64         // lognormal: sigma of the logarithm, in thousandths
	Regions        []string      // matrix
	Matrix         [][]time.Duration
}

// A Group is some VRs of one kind, named NAME-1 to NAME-Count. Each is a site of its own.
type Group struct {
	Name   string
	Count  int
	NAT    string // "none", "full-cone", "restricted-cone", "port-restricted", "symmetric", "firewall" (inbound refused), "udp-blocked"
	Region string // row of the latency matrix
	Up     int64  // bits per second towards the Internet, 0: no limit
	Down   int64
	Loss   PPM // of its packets, each way, beside Network.Loss
	Queue  bool
	Churn  Churn
	// Liar is "" or what the VRs of this group do to others: "suspects" (says that healthy members
	// are dead), "capacity" (announces a thousand times its bandwidth), "drops" (takes packets to
	// relay and drops them), "stale" (repeats old documents).
	Liar string
}

// Churn is how VRs come and go.
type Churn struct {
	// Kind is "none", "exponential", "weibull", "pareto", "diurnal", "flash" or "trace".
	Kind    string
	Session time.Duration // median time up
	Away    time.Duration // median time down
	// ShapeThousands is the shape of weibull and pareto, in thousandths.
	ShapeThousands int64
	// Graceful is how many of the departures say so (leave), the others crash.
	Graceful PPM
	Period   time.Duration // diurnal: a day; Session and Away are those of its best hour
	At       time.Duration // flash: when all come at once, within Within
	Within   time.Duration
	Trace    []Change // of a file, in the order of At
}

// A Change is one line of a trace: TIME_SECONDS VR up|down|leave.
type Change struct {
	At   time.Duration
	VR   string
	What string
}

// A VN exists when the warm-up ends.
type VN struct {
	Name   string
	Groups []string // whose VRs each have one host in it
	Sample int      // at most so many VRs of those groups, 0: all
}

// Traffic is packets between random pairs of hosts of one VN.
type Traffic struct {
	VN       string
	Pairs    int
	Interval time.Duration // between two packets of a pair
	Bytes    int           // of the inner packet
}

// An Event is something that happens once, At after the warm-up.
type Event struct {
	At time.Duration
	// Do is one of:
	//	partition       Groups against all others (several lists: Parts)
	//	heal
	//	kill, restart   Count VRs of Groups (restart: of those that are down), chosen at random
	//	leave           the same, gracefully
	//	pause           Count VRs of Groups for For: they neither send nor receive
	//	slow            Count VRs of Groups for For: every packet takes Latency longer
	//	loss            Network.Loss becomes Loss for For
	//	authority-away  the authority is down for For
	//	vn-create       VN over Groups
	//	vn-update       a new version of VN
	//	vn-merge        VN and With become Into
	//	vn-split        of VN the hosts of Groups go to Into
	//	vn-shutdown     VN
	//	revoke          Count VRs of Groups
	Do      string
	Line    int // of the file
	Groups  []string
	Parts   [][]string
	Count   int
	For     time.Duration
	Latency time.Duration
	Loss    PPM
	VN      string
	With    string
	Into    string
}

// VRs returns how many VRs there are at most.
func (s *Scenario) VRs() (n int) {
	for _, g := range s.Groups {
		n += g.Count
	}
	return n
}
