package scenario

// The raw structs mirror the file. Their tags are the documentation: doc is the meaning, def what an absent key means, both
// printed in docs/simulations.md.

type rawFile struct {
	Name     string       `toml:"name" doc:"Of the scenario, [a-z0-9-]. Empty: the file's name without .toml." def:"\"\""`
	About    string       `toml:"about" doc:"What the scenario shows, in a sentence or two." def:"\"\""`
	Engine   string       `toml:"engine" doc:"What runs it unless --engine says otherwise: model, or real for the production code in virtual time." def:"\"model\""`
	Warmup   string       `toml:"warmup" doc:"Virtual time before events begin and anything is recorded." def:"\"2m\""`
	Duration string       `toml:"duration" doc:"Virtual time that is recorded." def:"\"10m\""`
	Seeds    int          `toml:"seeds" doc:"How many runs, each with a seed of its own, unless --seeds says otherwise; 1 to 1000." def:"3"`
	Every    string       `toml:"every" doc:"Between two samples of what is drawn over time." def:"\"10s\""`
	Bounds   rawBounds    `toml:"bounds" doc:"What must hold; a run in which it does not ends there and says so."`
	Network  rawNetwork   `toml:"network" doc:"What lies between the sites."`
	Group    []rawGroup   `toml:"group" doc:"VRs of one kind, each at a site of its own."`
	VN       []rawVN      `toml:"vn" doc:"A virtual network that exists when the warm-up ends. Without any there is one, all, with a host at each VR."`
	Traffic  []rawTraffic `toml:"traffic" doc:"Packets between pairs of hosts."`
	Event    []rawEvent   `toml:"event" doc:"What happens once."`
}

type rawBounds struct {
	Reach    string `toml:"reach" doc:"Hosts that should reach each other do, so long after the last fault." def:"\"60s\""`
	Relay    string `toml:"relay" doc:"The longest time that a limited VR that runs may be without a queue-VR that does." def:"\"60s\""`
	Converge string `toml:"converge" doc:"A document is at every VR that runs so long after it was signed, or after the last fault." def:"\"2m\""`
	Memory   int64  `toml:"memory" doc:"Bytes that one VR may hold." def:"268435456"`
}

type rawNetwork struct {
	Latency rawLatency `toml:"latency" doc:"How long a packet takes one way."`
	Jitter  string     `toml:"jitter" doc:"Up to so much more, drawn for each packet." def:"\"0s\""`
	Loss    string     `toml:"loss" doc:"Of all packets, each for itself, such as 5%." def:"\"0%\""`
}

type rawLatency struct {
	Kind   string  `toml:"kind" doc:"fixed, uniform, lognormal (drawn once for each pair), coordinates (sites are points of a plane), ring (in the order of the file) or matrix." def:"\"uniform\""`
	Least  string  `toml:"least" doc:"Of fixed (then it is all there is), uniform, coordinates and ring." def:"\"5ms\""`
	Most   string  `toml:"most" doc:"Of uniform, coordinates and ring." def:"\"80ms\""`
	Median string  `toml:"median" doc:"Of lognormal." def:"\"30ms\""`
	Sigma  float64 `toml:"sigma" doc:"Of lognormal: the standard deviation of the natural logarithm; 0 to 3." def:"0.5"`
	Matrix string  `toml:"matrix" doc:"Of matrix: a file beside this one. Its first line names regions, each further line has a region and its milliseconds to all of them." def:"\"\""`
}

type rawGroup struct {
	Name   string   `toml:"name" doc:"Of the group, [a-z0-9-]; its VRs are NAME-1, NAME-2 and so on." def:"\"\""`
	Count  *int     `toml:"count" doc:"How many VRs." def:"1"`
	NAT    string   `toml:"nat" doc:"In front of each: none, full-cone, restricted-cone, port-restricted, symmetric, firewall (refuses what comes first from outside) or udp-blocked." def:"\"none\""`
	Region string   `toml:"region" doc:"With a latency matrix: where the group is." def:"\"\""`
	Up     string   `toml:"up" doc:"Bandwidth towards the Internet, such as 100Mbit. Empty: no limit." def:"\"\""`
	Down   string   `toml:"down" doc:"Bandwidth from the Internet." def:"\"\""`
	Loss   string   `toml:"loss" doc:"Of the packets of each VR, both ways, beside that of the network." def:"\"0%\""`
	Queue  bool     `toml:"queue" doc:"May serve limited VRs as queue-VR. Only groups without translator or firewall can." def:"false"`
	Churn  rawChurn `toml:"churn" doc:"How the VRs of the group come and go."`
	Liar   string   `toml:"liar" doc:"What the VRs do to others: suspects (say that healthy members are dead), capacity (boast of a thousand times their bandwidth), drops (lose what they are to relay) or stale (repeat old documents). Empty: nothing." def:"\"\""`
}

type rawChurn struct {
	Kind     string   `toml:"kind" doc:"none, exponential, weibull, pareto, diurnal, flash or trace." def:"\"none\""`
	Session  string   `toml:"session" doc:"Median time up." def:"\"1h\""`
	Away     string   `toml:"away" doc:"Median time down." def:"\"10m\""`
	Shape    *float64 `toml:"shape" doc:"Of weibull and pareto; 0.2 to 10." def:"1.0"`
	Graceful string   `toml:"graceful" doc:"How many of the departures are announced; the others crash." def:"\"0%\""`
	Period   string   `toml:"period" doc:"Of diurnal: a day, in which session and away change between themselves and a quarter, four times." def:"\"24h\""`
	At       string   `toml:"at" doc:"Of flash: all VRs of the group come then, and not before." def:"\"1m\""`
	Within   string   `toml:"within" doc:"Of flash: in so much time." def:"\"10s\""`
	Trace    string   `toml:"trace" doc:"Of trace: a file beside this one. Each line has seconds after the warm-up, a VR, and up, down or leave." def:"\"\""`
}

type rawVN struct {
	Name   string   `toml:"name" doc:"Of the VN." def:"\"\""`
	Groups []string `toml:"groups" doc:"Whose VRs each have one host in it. Empty: all." def:"[]"`
	Sample int      `toml:"sample" doc:"At most so many VRs of these groups, chosen at random. 0: all." def:"0"`
}

type rawTraffic struct {
	VN       string `toml:"vn" doc:"In which VN." def:"\"all\""`
	Pairs    *int   `toml:"pairs" doc:"How many pairs of hosts, chosen at random." def:"100"`
	Interval string `toml:"interval" doc:"Between two packets of a pair." def:"\"1s\""`
	Bytes    *int   `toml:"bytes" doc:"Length of a packet, 28 to 1400." def:"100"`
}

type rawEvent struct {
	At      string     `toml:"at" doc:"When, after the warm-up." def:"\"\""`
	Do      string     `toml:"do" doc:"partition (groups against all others, or parts against each other), heal, kill, restart, leave, pause (count VRs of groups), slow (by latency), loss (of the network), authority-away, vn-create (vn, groups), vn-update (vn), vn-merge (vn, with, into), vn-split (vn; hosts of groups go to into), vn-shutdown (vn) or revoke (count VRs of groups)." def:"\"\""`
	Groups  []string   `toml:"groups" doc:"Of which groups. Empty: all." def:"[]"`
	Parts   [][]string `toml:"parts" doc:"Of partition: lists of groups." def:"[]"`
	Count   int        `toml:"count" doc:"How many VRs, chosen at random. 0: all of these groups." def:"0"`
	For     string     `toml:"for" doc:"How long, where it ends by itself: pause, slow, loss, authority-away." def:"\"\""`
	Latency string     `toml:"latency" doc:"Of slow: so much is added." def:"\"\""`
	Loss    string     `toml:"loss" doc:"Of loss." def:"\"\""`
	VN      string     `toml:"vn" doc:"Which VN." def:"\"\""`
	With    string     `toml:"with" doc:"Of vn-merge: the other VN." def:"\"\""`
	Into    string     `toml:"into" doc:"Of vn-merge and vn-split: the new VN." def:"\"\""`
}
