package path

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

var update = flag.Bool("update", false, "write the answers in testdata/*.txt anew")

const answer = "  > "

// TestScripts plays testdata/*.txt: a line is a command, the lines after it that begin with "  > " are
// what the Chooser answered.
//
//	path NAME direct|relay|stream   a new path; the first is the one in use
//	NAME key=value ...              what is measured from now on: rtt, loss, rate (20M: an estimate by
//	                                traffic, >20M: at least, ~20M: by a train, ?: unknown), full, share;
//	                                state: unanswered=N, draining, gone, back
//	use NAME                        the path in use, none if there is no such path
//	demand RATE                     what the link carries
//	random N                        the next draws
//	run SPAN                        Choose and NeedTrain once per second, at its end too
//
// A train that is asked for measures the rate that the path has by "true=".
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, want)
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s: got\n%s", name, got)
			}
		})
	}
}

var epoch = time.Unix(1_800_000_000, 0)

// A script is the state of one play.
type script struct {
	chooser Chooser
	now     time.Time
	names   []string
	paths   []Candidate
	truth   []int64 // what a train would measure
	gone    []bool
	fixed   []bool // Unanswered is as the script says
	current netip.AddrPort
	demand  int64
	random  uint64
	last    string
	out     bytes.Buffer
}

func play(t *testing.T, text []byte) []byte {
	s := &script{now: epoch}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, answer) {
			continue
		}
		s.out.WriteString(line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if err := s.command(words); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return s.out.Bytes()
}

func (s *script) command(w []string) (err error) {
	switch w[0] {
	case "path":
		n := len(s.paths) + 1
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 8463)
		switch w[2] {
		case "relay":
			at = Relay(tables.RouterID(n), 99)
		case "stream":
			at = Stream(uint64(n))
		}
		s.names = append(s.names, w[1])
		s.truth, s.gone, s.fixed = append(s.truth, 0), append(s.gone, false), append(s.fixed, false)
		s.paths = append(s.paths, Candidate{Path: at, Validated: true})
		if n == 1 {
			s.current = at
		}
	case "use":
		s.current = netip.AddrPort{}
		for i := range s.names {
			if s.names[i] == w[1] {
				s.current = s.paths[i].Path
			}
		}
	case "demand":
		s.demand, err = bits(w[1])
	case "random":
		s.random, err = strconv.ParseUint(w[1], 0, 64)
	case "run":
		var span time.Duration
		if span, err = time.ParseDuration(w[1]); err == nil {
			s.run(span)
		}
	default:
		for i, name := range s.names {
			if name == w[0] {
				for _, word := range w[1:] {
					if err := s.set(i, word); err != nil {
						return err
					}
				}
				return nil
			}
		}
		err = fmt.Errorf("no command")
	}
	return err
}

func bits(word string) (int64, error) {
	unit := int64(1)
	switch {
	case strings.HasSuffix(word, "M"):
		unit = 1_000_000
	case strings.HasSuffix(word, "k"):
		unit = 1000
	}
	f, err := strconv.ParseFloat(strings.TrimRight(word, "Mk"), 64)
	return int64(f * float64(unit)), err
}

func (s *script) set(i int, word string) (err error) {
	k := &s.paths[i]
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "rtt":
		k.Measure.RTTMin, err = time.ParseDuration(value)
		k.Measure.RTT = k.Measure.RTTMin
	case "loss":
		k.Measure.Loss, err = strconv.ParseFloat(value, 64)
	case "share":
		k.Measure.Share, err = strconv.ParseFloat(value, 64)
		k.Measure.ShareAt = s.now
	case "true":
		s.truth[i], err = bits(value)
	case "rate":
		r := Rate{Kind: RateEstimate, By: ByTraffic, At: s.now}
		switch value[0] {
		case '>':
			r.Kind = RateAtLeast
		case '~':
			r.By = ByTrain
		case '?':
			r, value = Rate{}, "0"
		}
		r.Bits, err = bits(strings.TrimLeft(value, ">~"))
		k.Measure.Rate = r
	case "full":
		k.Measure.Full = true
	case "spare":
		k.Measure.Full = false
	case "unanswered":
		s.fixed[i] = true
		k.Unanswered, err = strconv.Atoi(value)
	case "answers":
		s.fixed[i], k.Unanswered = false, 0
	case "draining":
		k.Draining = true
	case "gone":
		s.gone[i] = true
	case "back":
		s.gone[i] = false
	default:
		err = fmt.Errorf("no key %q", key)
	}
	return err
}

func (s *script) name(at netip.AddrPort) string {
	for i := range s.paths {
		if s.paths[i].Path == at {
			return s.names[i]
		}
	}
	return "nothing"
}

// run lets time pass. A path that is not fixed answers every second.
func (s *script) run(span time.Duration) {
	for end := s.now.Add(span); s.now.Before(end); {
		s.now = s.now.Add(time.Second)
		var list []Candidate
		for i := range s.paths {
			k := &s.paths[i]
			if !s.fixed[i] {
				k.Heard = s.now
			}
			if k.Path == s.current && k.Measure.Rate.Kind != RateUnknown {
				k.Measure.Rate.At = s.now
			}
			if !s.gone[i] {
				list = append(list, *k)
			}
		}
		d := s.chooser.Choose(s.now, s.current, s.demand, list, s.random)
		line := fmt.Sprintf("%s: %v", s.name(d.Path), d.Reason)
		if line != s.last || d.Reason.Moved() {
			fmt.Fprintf(&s.out, "%s%-6v %-28s score %5.1fM, then %s %5.1fM\n", answer, s.now.Sub(epoch), line, d.Score/1e6, s.name(d.RunnerUp), d.RunnerUpScore/1e6)
		}
		s.last, s.current = line, d.Path
		if at, ok := s.chooser.NeedTrain(s.now, list); ok {
			fmt.Fprintf(&s.out, "%s%-6v train on %s\n", answer, s.now.Sub(epoch), s.name(at))
			for i := range s.paths {
				k := &s.paths[i]
				if k.Path != at || s.truth[i] == 0 {
					continue
				}
				if at == s.current {
					k.Measure.Share, k.Measure.ShareAt = min(1, float64(k.Measure.Rate.Bits)/float64(s.truth[i])), s.now
				} else {
					k.Measure.Rate = Rate{s.truth[i], RateEstimate, ByTrain, s.now}
				}
			}
		}
	}
	if s.out.Len() > 0 {
		fmt.Fprintf(&s.out, "%s%-6v %s\n", answer, s.now.Sub(epoch), s.last)
	}
}

// TestNoise plays a day with +-15 % of noise on every figure: at most one change in any hour. Noise
// that is new in every second is the easy case; noise that stays for minutes looks like news.
func TestNoise(t *testing.T) {
	days := uint64(3)
	if testing.Short() {
		days = 1
	}
	for _, stay := range []time.Duration{time.Second, time.Minute, 5 * time.Minute} {
		for seed := range days {
			moves := noisyDay(stay, seed)
			for i := 1; i < len(moves); i++ {
				if moves[i].Sub(moves[i-1]) < time.Hour {
					t.Errorf("noise that stays for %v, seed %d: changes at %v and %v", stay, seed, moves[i-1].Sub(epoch), moves[i].Sub(epoch))
				}
			}
			if stay == time.Second && len(moves) > 2 {
				t.Errorf("%d changes for noise that means nothing", len(moves))
			}
			t.Logf("noise that stays for %v, seed %d: %d changes in 24 h", stay, seed, len(moves))
		}
	}
}

func noisyDay(stay time.Duration, seed uint64) (moves []time.Time) {
	var c Chooser
	r := rand.New(rand.NewPCG(seed, 3))
	paths := []Candidate{
		{Path: Relay(1, 9)}, {Path: Relay(2, 9)}, {Path: Relay(3, 9)},
		{Path: netip.MustParseAddrPort("192.0.2.1:1")}, {Path: Stream(1)},
	}
	current := paths[0].Path
	noise := func() float64 { return 0.85 + 0.3*r.Float64() }
	for at := time.Duration(0); at < 24*time.Hour; at += time.Second {
		now := epoch.Add(at)
		for i := range paths {
			k := &paths[i]
			k.Validated, k.Heard = true, now
			if at == 0 || r.Float64() < float64(time.Second)/float64(stay) {
				k.Measure.RTTMin = time.Duration(noise() * float64(30*time.Millisecond))
				k.Measure.Rate = Rate{int64(noise() * 50e6), RateEstimate, ByTraffic, now}
			}
			k.Measure.Full = k.Path == current
		}
		d := c.Choose(now, current, 40e6, paths, r.Uint64())
		if d.Path != current {
			moves = append(moves, now)
		}
		current = d.Path
	}
	return moves
}

// TestChooseKeepsNothing checks that a choice does not allocate.
func TestChooseKeepsNothing(t *testing.T) {
	var c Chooser
	list := []Candidate{{Path: Relay(1, 9), Validated: true, Heard: epoch}, {Path: Relay(2, 9), Validated: true, Heard: epoch}}
	if n := testing.AllocsPerRun(100, func() {
		c.Choose(epoch, list[0].Path, 1, list, 7)
		c.NeedTrain(epoch, list)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
