package scenario

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const good = `about = "A test."
engine = "real"
duration = "1h"
seeds = 5
[network]
latency = { kind = "matrix", matrix = "regions" }
loss = "0.5%"
[[group]]
name = "campus"
count = 10
queue = true
region = "eu"
up = "1Gbit"
[group.churn]
kind = "trace"
trace = "trace"
[[group]]
name = "home"
count = 20
nat = "symmetric"
region = "us"
churn = { kind = "weibull", session = "30m", shape = 0.6, graceful = "50%" }
[[vn]]
name = "physics"
groups = ["campus"]
[[traffic]]
vn = "physics"
pairs = 3
[[event]]
at = "10m"
do = "heal"
[[event]]
at = "5m"
do = "partition"
groups = ["campus"]
[[event]]
at = "20m"
do = "vn-split"
vn = "physics"
groups = ["campus"]
into = "biology"
`

var files = map[string]string{
	"regions": "eu us # two\neu 1 80.5\nus 80.5 2\n",
	"trace":   "# as measured\n0.5 campus-1 down\n10 campus-1 up\n10 campus-10 leave\n",
}

func open(path string) ([]byte, error) {
	if text, ok := files[path]; ok {
		return []byte(text), nil
	}
	return nil, errors.New("no file " + path)
}

func TestParse(t *testing.T) {
	s, err := Parse("test", []byte(good), open)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "test" || s.VRs() != 30 || s.Duration != time.Hour || s.Warmup != 2*time.Minute || s.Network.Loss != 5000 || len(s.Hash) != 64 {
		t.Errorf("%+v", s)
	}
	if l := s.Network.Latency; !slices.Equal(l.Regions, []string{"eu", "us"}) || l.Matrix[0][1] != 80500*time.Microsecond {
		t.Errorf("%+v", l)
	}
	if c := s.Groups[0].Churn; len(c.Trace) != 3 || c.Trace[0] != (Change{500 * time.Millisecond, "campus-1", "down"}) || s.Groups[0].Up != 1e9 {
		t.Errorf("%+v", s.Groups[0])
	}
	if c := s.Groups[1].Churn; c.ShapeThousands != 600 || c.Graceful != 500_000 || c.Away != 10*time.Minute {
		t.Errorf("%+v", c)
	}
	if len(s.Events) != 3 || s.Events[0].Do != "partition" || s.Events[1].Line != 31 || s.Traffic[0].Interval != time.Second {
		t.Errorf("%+v, %+v", s.Events, s.Traffic)
	}
	files["regions"] = strings.Replace(files["regions"], "80.5", "81", 1)
	defer func() { files["regions"] = strings.Replace(files["regions"], "81", "80.5", 1) }()
	if other, err := Parse("test", []byte(good), open); err != nil || other.Hash == s.Hash {
		t.Errorf("another matrix, the same hash: %v", err)
	}
	small, err := Parse("x", []byte("[[group]]\nname = \"a\"\n"), nil)
	if err != nil || small.VRs() != 1 || small.VNs[0].Name != "all" || small.Groups[0].NAT != "none" {
		t.Errorf("%+v, %v", small, err)
	}
}

// TestRefused: what cannot be is refused with its line and the reason.
func TestRefused(t *testing.T) {
	const group = "[[group]]\nname = \"a\"\ncount = 4\n"
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":             {"", "at least one [[group]]"},
		"not TOML":            {"a = \n", "line 1"},
		"unknown key":         {group + "cuont = 3\n", `line 4: unknown key "group.cuont"; did you mean "group.count"?`},
		"unknown NAT":         {group + "nat = \"conic\"\n", `line 4: group[0].nat: "conic" is not one of`},
		"negative count":      {"[[group]]\nname = \"a\"\ncount = -1\n", "line 3: group[0].count: -1 is not between"},
		"count of zero":       {"[[group]]\nname = \"a\"\ncount = 0\n", "line 3: group[0].count: 0 is not between"},
		"no name":             {"[[group]]\ncount = 1\n", "line 1: group[0].name"},
		"same name":           {group + group, `line 5: group[1].name: "a" stands twice`},
		"too many":            {"[[group]]\nname = \"a\"\ncount = 100000\n[[group]]\nname = \"b\"\ncount = 1\n", "100001 VRs are more"},
		"nobody public":       {group + "nat = \"symmetric\"\n", "no VR can be reached"},
		"queue behind NAT":    {group + "[[group]]\nname = \"b\"\nnat = \"firewall\"\nqueue = true\n", "line 7: group[1].queue"},
		"negative rate":       {group + "up = \"-1Mbit\"\n", "line 4: group[0].up"},
		"rate without unit":   {group + "down = \"100\"\n", "line 4: group[0].down"},
		"loss over all":       {group + "loss = \"101%\"\n", "line 4: group[0].loss: 101% is more than all"},
		"loss as fraction":    {group + "loss = \"0.5\"\n", "line 4: group[0].loss"},
		"unknown churn":       {group + "[group.churn]\nkind = \"poisson\"\n", "line 5: group[0].churn.kind"},
		"negative session":    {group + "churn = { kind = \"weibull\", session = \"-1m\" }\n", "line 4: group[0].churn.session"},
		"shape of zero":       {group + "churn = { kind = \"weibull\", shape = 0.0 }\n", "line 4: group[0].churn.shape"},
		"trace out of order":  {group + "churn = { kind = \"trace\", trace = \"late\" }\n", "line 4: group[0].churn.trace: late line 2: it is before the line above"},
		"trace of a stranger": {group + "churn = { kind = \"trace\", trace = \"stranger\" }\n", `stranger line 1: "a-5" is not a VR of group a`},
		"trace twice down":    {group + "churn = { kind = \"trace\", trace = \"twice\" }\n", "twice line 2: a-1 is so already"},
		"trace not there":     {group + "churn = { kind = \"trace\", trace = \"nowhere\" }\n", "line 4: group[0].churn.trace: no file nowhere"},
		"latencies reversed":  {"network.latency = { least = \"2s\", most = \"1s\" }\n" + group, "line 1: network.latency.least"},
		"unknown region":      {"[network.latency]\nkind = \"matrix\"\nmatrix = \"regions\"\n" + group + "region = \"moon\"\n", `line 7: group[0].region: "moon" is not a region`},
		"region, no matrix":   {group + "region = \"eu\"\n", "line 4: group[0].region: regions need a latency matrix"},
		"crooked matrix":      {"[network.latency]\nkind = \"matrix\"\nmatrix = \"crooked\"\n" + group, "crooked line 2: want eu and its 2 latencies"},
		"VN of no group":      {group + "[[vn]]\nname = \"v\"\ngroups = [\"b\"]\n", `line 6: vn[0].groups: there is no group "b"`},
		"traffic in no VN":    {group + "[[traffic]]\nvn = \"v\"\n", `line 5: traffic[0].vn: there is no VN "v"`},
		"packets too long":    {group + "[[traffic]]\nbytes = 9000\n", "line 5: traffic[0].bytes"},
		"unknown event":       {group + "[[event]]\nat = \"1s\"\ndo = \"explode\"\n", `line 6: event[0].do: "explode"`},
		"event after the end": {group + "[[event]]\nat = \"1h\"\ndo = \"kill\"\n", "line 5: event[0].at: 1h0m0s is after the end, 10m0s"},
		"event without time":  {group + "[[event]]\ndo = \"kill\"\n", "event[0].at: an event needs a time"},
		"heal of nothing":     {group + "[[event]]\nat = \"1s\"\ndo = \"heal\"\n", "line 6: heal at 1s: nothing is cut"},
		"restart of nobody":   {group + "[[event]]\nat = \"1s\"\ndo = \"restart\"\n", "line 6: restart at 1s: nobody is down"},
		"kill of too many":    {group + "[[event]]\nat = \"1s\"\ndo = \"kill\"\ncount = 5\n", "line 7: event[0].count: 5 of 4 VRs"},
		"kill of a group":     {group + "[[event]]\nat = \"1s\"\ndo = \"kill\"\ngroups = [\"b\"]\n", `line 7: event[0].groups: there is no group "b"`},
		"pause for ever":      {group + "[[event]]\nat = \"1s\"\ndo = \"pause\"\n", "line 6: event[0].do: pause needs for"},
		"heal with a count":   {group + "[[event]]\nat = \"1s\"\ndo = \"heal\"\ncount = 1\n", "line 7: event[0].count: heal takes no count"},
		"cut of nothing":      {group + "[[event]]\nat = \"1s\"\ndo = \"partition\"\n", "a partition takes either groups or parts"},
		"VN not there":        {group + "[[event]]\nat = \"1s\"\ndo = \"vn-update\"\nvn = \"v\"\n", `line 6: vn-update at 1s: there is no VN "v" then`},
		"VN there already":    {group + "[[event]]\nat = \"1s\"\ndo = \"vn-create\"\nvn = \"all\"\n", `there is a VN "all" already`},
		"merge with itself":   {group + "[[event]]\nat = \"1s\"\ndo = \"vn-merge\"\nvn = \"all\"\nwith = \"all\"\ninto = \"b\"\n", "with itself"},
		"no VN after merging": {group + "[[vn]]\nname = \"v\"\n[[vn]]\nname = \"w\"\n[[event]]\nat = \"1s\"\ndo = \"vn-merge\"\nvn = \"v\"\nwith = \"w\"\ninto = \"x\"\n[[event]]\nat = \"2s\"\ndo = \"vn-shutdown\"\nvn = \"w\"\n", `vn-shutdown at 2s: there is no VN "w" then`},
		"a time of years":     {"duration = \"9999h\"\n" + group, "line 1: duration"},
		"not a time":          {"warmup = \"soon\"\n" + group, `line 1: warmup: "soon" is not a time`},
		"engine":              {"engine = \"steam\"\n" + group, "line 1: engine"},
		"all at once":         {"engine = \"steam\"\nseeds = 0\n" + group, "line 2: seeds"},
	} {
		files["late"], files["stranger"] = "2 a-1 down\n1 a-2 down\n", "1 a-5 down\n"
		files["twice"], files["crooked"] = "1 a-1 down\n2 a-1 leave\n", "eu us\neu 1\nus 1 1\n"
		_, err := Parse("x", []byte(tt.text), open)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// FuzzParse: whatever the text, no panic, and what is taken is within its bounds.
func FuzzParse(f *testing.F) {
	f.Add(good, files["trace"])
	f.Fuzz(func(t *testing.T, text, file string) {
		s, err := Parse("x", []byte(text), func(string) ([]byte, error) { return []byte(file), nil })
		if err != nil {
			return
		}
		if n := s.VRs(); n < 1 || n > vrsMax || s.Duration <= 0 || s.Network.Loss > 1e6 || s.Seeds < 1 {
			t.Errorf("%+v", s)
		}
		if !slices.IsSortedFunc(s.Events, func(a, b Event) int { return int(min(max(a.At-b.At, -1), 1)) }) {
			t.Error("events out of order")
		}
	})
}
