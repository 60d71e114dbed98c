package path

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
)

var updateAttach = flag.Bool("update-attach", false, "write testdata/attach anew")

// A stage plays one limited VR against queue-VRs that a script describes, second by second. It does
// what Attachments says: a channel that is asked for is up a second later if the queue-VR is up and
// has room, and what has a score and a channel is measured every second.
type stage struct {
	now    time.Time
	start  time.Time
	attach *Attachments
	random *rand.Rand
	list   []*stageQueue
	out    *bytes.Buffer
}

type stageQueue struct {
	QueueMeasure
	name              string
	down, full, quiet bool
	score             float64
	opened            time.Time // zero: no channel
}

// TestAttachScripts runs testdata/attach. A block of a script is a command, a line of four dashes, and
// what came of it, up to an empty line.
func TestAttachScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/attach/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := playAttach(t, want)
			if *updateAttach {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s: got\n%s\nIf that is right: go test ./transport/path -run TestAttachScripts -update-attach", file, got)
			}
		})
	}
}

// playAttach returns the script with the outputs that its commands have now.
func playAttach(t *testing.T, script []byte) []byte {
	s := &stage{start: time.Unix(1e9, 0), now: time.Unix(1e9, 0), attach: NewAttachments(99, 2), random: rand.New(rand.NewPCG(1, 2)), out: &bytes.Buffer{}}
	lines := bufio.NewScanner(bytes.NewReader(script))
	output := false
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "----":
			output = true
		case line == "":
			output = false
			s.out.WriteByte('\n')
		case output:
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(s.out, line)
		default:
			fmt.Fprintln(s.out, line)
			s.command(t, strings.Fields(line))
		}
	}
	return s.out.Bytes()
}

func (s *stage) command(t *testing.T, words []string) {
	switch words[0] {
	case "queue":
		s.queue(t, words[1:])
	case "leave":
		s.list = slices.DeleteFunc(s.list, func(q *stageQueue) bool { return q.name == words[1] })
	case "run":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(s.out, "----")
		for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(time.Second) {
			s.second(t)
		}
	case "jump":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(d)
	case "show":
		fmt.Fprintln(s.out, "----")
		for _, a := range s.attach.Current() {
			fmt.Fprintf(s.out, "%v at %s: %.0f Mb/s, %s; runner-up %v with %.0f Mb/s\n", a.Router, a.Site, a.Score/1e6, a.Reason, a.RunnerUp, a.RunnerUpScore/1e6)
		}
	default:
		t.Fatalf("unknown command %q", words)
	}
}

// queue describes a queue-VR, or changes what is said.
func (s *stage) queue(t *testing.T, words []string) {
	i := slices.IndexFunc(s.list, func(q *stageQueue) bool { return q.name == words[0] })
	if i < 0 {
		n, err := strconv.Atoi(strings.TrimPrefix(words[0], "vr"))
		if err != nil {
			t.Fatal(err)
		}
		i = len(s.list)
		s.list = append(s.list, &stageQueue{name: words[0], QueueMeasure: QueueMeasure{Router: tables.RouterID(n)}})
	}
	q := s.list[i]
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "site":
			q.Site = value
		case "rtt":
			q.RTT, err = time.ParseDuration(value)
		case "mbps":
			q.score, err = strconv.ParseFloat(value, 64)
			q.score *= 1e6
		case "bound":
			q.LowerBound = value != "no"
		case "down":
			q.down = value != "no"
		case "full":
			q.full = value != "no"
		case "drains":
			q.Draining = value != "no"
		default:
			t.Fatalf("unknown word %q", word)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stage) second(t *testing.T) {
	list := make([]QueueMeasure, 0, len(s.list))
	for _, q := range s.list {
		q.Linked = !q.opened.IsZero() && s.now.After(q.opened) && !q.down
		if q.Linked && q.score > 0 {
			q.Score, q.ScoreAt = q.score, s.now
		}
		if q.Linked && q.RTT > 0 {
			q.RTT ^= 1 // a new measurement
		}
		list = append(list, q.QueueMeasure)
	}
	for _, action := range s.attach.Decide(s.now, list, s.random.Uint64) {
		fmt.Fprintf(s.out, "%6v ", s.now.Sub(s.start))
		switch action := action.(type) {
		case Attach:
			fmt.Fprintf(s.out, "attach %v: %s\n", action.Router, action.Reason)
			s.open(t, action.Router)
		case Try:
			fmt.Fprintf(s.out, "try %v\n", action.Router)
			s.open(t, action.Router)
		case Detach:
			fmt.Fprintf(s.out, "detach %v: %s\n", action.Router, action.Reason)
			for _, q := range s.list {
				if q.Router == action.Router {
					q.opened = time.Time{}
				}
			}
		case Announce:
			fmt.Fprintf(s.out, "announce %v\n", action.Queues)
		}
	}
	if next := s.attach.Next(); !next.IsZero() && next.Before(s.now) {
		t.Errorf("at %v Next is %v before", s.now.Sub(s.start), s.now.Sub(next))
	}
}

func (s *stage) open(t *testing.T, r tables.RouterID) {
	for _, q := range s.list {
		switch {
		case q.Router != r:
		case q.full:
			q.Refused = s.now
		case q.opened.IsZero():
			q.opened = s.now
		}
	}
}
