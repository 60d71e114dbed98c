//go:build linux

package netns_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// A sample is what a VR's process holds at a time.
type sample struct{ memory, descriptors, goroutines, threads int } // memory: resident, in bytes

// sampleOf looks at a running VR.
func sampleOf(t *testing.T, s *netns.Site) (x sample) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.VR.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		f := strings.Fields(string(line))
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "VmRSS:":
			x.memory = n << 10
		case "Threads:":
			x.threads = n
		}
	}
	of := netns.VineJSON[struct{ Goroutines, Descriptors int }](t, s, "status")
	x.goroutines, x.descriptors = of.Goroutines, of.Descriptors
	return x
}

// A hold is one of the things that must stay flat, and by how much its median may be higher in the second half than in the first:
// what a link that is just coming back, a request under way or the garbage collector make of it.
var holds = []struct {
	name  string
	of    func(sample) int
	slack func(before int) int
}{
	{"bytes of resident memory", func(x sample) int { return x.memory }, func(before int) int { return max(8<<20, before/10) }},
	{"descriptors", func(x sample) int { return x.descriptors }, func(int) int { return 4 }},
	{"goroutines", func(x sample) int { return x.goroutines }, func(before int) int { return max(6, before/10) }},
	{"threads", func(x sample) int { return x.threads }, func(int) int { return 4 }},
}

// grown says what is higher in the second half of the samples than in the first. The first tenth, in which caches fill, is left out.
func grown(list []sample) (all []string) {
	list = list[len(list)/10:]
	half := len(list) / 2
	for _, h := range holds {
		median := func(part []sample) int {
			var values []int
			for _, x := range part {
				values = append(values, h.of(x))
			}
			slices.Sort(values)
			return values[len(values)/2]
		}
		if before, after := median(list[:half]), median(list[half:]); after > before+h.slack(before) {
			all = append(all, fmt.Sprintf("%d %s, after %d", after, h.name, before))
		}
	}
	return all
}

// TestGrown: what grows is found, each by itself; what only goes up and down is not.
func TestGrown(t *testing.T) {
	flat := make([]sample, 40)
	for i := range flat {
		flat[i] = sample{30<<20 + i%5<<20, 30 + i%3, 80 + i%7, 12 + i%2}
	}
	if got := grown(flat); got != nil {
		t.Errorf("flat, and %v", got)
	}
	for i, leak := range []func(x *sample, n int){
		func(x *sample, n int) { x.memory += n * 600 << 10 },
		func(x *sample, n int) { x.descriptors += n / 3 },
		func(x *sample, n int) { x.goroutines += n / 2 },
		func(x *sample, n int) { x.threads += n / 3 },
	} {
		leaking := slices.Clone(flat)
		for n := range leaking {
			leak(&leaking[n], n)
		}
		if got := grown(leaking); len(got) != 1 || !strings.Contains(got[0], holds[i].name) {
			t.Errorf("a leak of %s gives %v", holds[i].name, got)
		}
	}
}

// soakLength is how long TestSoak takes: VINE_SOAK, such as "1h".
func soakLength(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("VINE_SOAK")
	if text == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSoak: while TCP and UDP flow, hosts come and go, a VR is killed and started and a wire is cut, the two VRs that live all the time
// hold no more in the second half than in the first.
func TestSoak(t *testing.T) {
	waits(t)
	netnstest.Require(t, "iperf3")
	for name, list := range soak(t, grid(t, 3, netns.SiteOption{Hosts: 2}), soakLength(t)) {
		if what := grown(list); len(what) > 0 {
			t.Errorf("%s has %s", name, strings.Join(what, "; "))
		}
	}
}

// soak has things happen for some time and returns the samples of the first two sites.
func soak(t *testing.T, f *netns.Federation, length time.Duration) map[string][]sample {
	t.Helper()
	a, b, c := f.Sites[0], f.Sites[1], f.Sites[2]
	guest := b.Addr4(t, 1).String()
	tcp := netns.StartTCP(t, a.Host(t, 0), b.Host(t, 0), length, "-b", "5M")
	udp := netns.StartFlow(t, a.Host(t, 1), c.Host(t, 1), 100)
	pause := max(200*time.Millisecond, length/400)
	samples := map[string][]sample{}
	last := map[string]sample{}
	rounds := 0
	for end := time.Now().Add(length); time.Now().Before(end); rounds++ {
		switch rounds % 8 {
		case 0:
			a.Vine(t, "vn", "leave", "blue", guest)
		case 1:
			a.Vine(t, "vn", "join", "blue", guest)
		case 2:
			c.Kill()
		case 3:
			c.Up(t)
		case 5: // the links of the second site die for some seconds
			f.Core.Run(t, "ip link set "+b.WAN.Far+" down")
		case 6:
			f.Core.Run(t, "ip link set "+b.WAN.Far+" up")
		}
		for _, s := range []*netns.Site{a, b} {
			last[s.Name] = sampleOf(t, s)
			samples[s.Name] = append(samples[s.Name], last[s.Name])
		}
		<-time.After(pause)
	}
	f.Core.Run(t, "ip link set "+b.WAN.Far+" up")
	udp.Stop()
	r := tcp.Report(t, 60*time.Second)
	if udp.There.Received() == 0 || r.Mean == 0 {
		t.Errorf("nothing flowed: UDP %v, TCP %v", udp.There.All(), r)
	}
	for _, s := range []*netns.Site{a, b} {
		x := samples[s.Name][len(samples[s.Name])/10]
		t.Logf("NUMBER soak of %v, %d rounds, %s: memory %.1f -> %.1f MB, descriptors %d -> %d, goroutines %d -> %d, threads %d -> %d; TCP %.1f Mbit/s",
			length, rounds, s.Name, float64(x.memory)/1e6, float64(last[s.Name].memory)/1e6, x.descriptors, last[s.Name].descriptors,
			x.goroutines, last[s.Name].goroutines, x.threads, last[s.Name].threads, r.Mean)
	}
	return samples
}

// TestSoakFindsLeaks: a VR that loses a descriptor, a goroutine and some memory with each request, built from sources that are told to
// the go command alone, is found by what TestSoak looks at.
func TestSoakFindsLeaks(t *testing.T) {
	if !night() {
		t.Skip("SKIPPED, NOT TESTED: builds another VR; VINE_NIGHT=1 runs it")
	}
	source, err := filepath.Abs("../../node/api.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	const right = "\ts.Streams, s.PortMappings, s.Queues = "
	if !bytes.Contains(text, []byte(right)) {
		t.Fatalf("%s has no %q any more", source, right)
	}
	dir := t.TempDir()
	wrong, overlay, bin := filepath.Join(dir, "api.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "vine")
	leak := `	go func() { f, _ := os.Open("/dev/null"); b := make([]byte, 1<<20); for i := range b { b[i] = 1 }; <-make(chan int); f.Close(); println(b) }()
`
	for name, b := range map[string][]byte{
		wrong:   bytes.Replace(text, []byte(right), []byte(leak+right), 1),
		overlay: fmt.Appendf(nil, "{\"Replace\": {%q: %q}}", source, wrong),
	} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", bin, "github.com/vine-mesh/vine/cmd/vine").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := netns.New(t)
	f.Use(bin)
	for name, list := range soak(t, gridIn(t, f, 3, netns.SiteOption{Hosts: 2}), 20*time.Second) {
		if what := grown(list); len(what) < 3 {
			t.Errorf("%s leaks memory, descriptors and goroutines, and only this is found: %v", name, what)
		}
	}
}
