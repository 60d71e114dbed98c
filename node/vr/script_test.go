package vr

import (
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

var update = flag.Bool("update", false, "write the outputs of the scripts in testdata anew")

// epoch is when every test begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// seeded returns the Random of a Config.
func seeded(seed uint64) func([]byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(b []byte) {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
	}
}

// TestScripts runs testdata/*.txt: blocks of verbs, then "----" and what the VR did. The verbs are the events
// of the package; "wait 2s" lets time pass, "until 9m" at
// most until the VR does something, "silence 9m" has helpers named that do not dial. Requests are numbered in the order in which they were made.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) < 12 {
		t.Fatalf("%d scripts found, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(text))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("the script says:\n%s\nbut it goes:\n%s", text, got)
			}
		})
	}
}

// A stage is one VR in a script.
type stage struct {
	t    *testing.T
	self *Self
	now  time.Time
	asks []AskDialBack
	out  strings.Builder
}

// runScript returns a script with the outputs that it has now.
func runScript(t *testing.T, text string) string {
	s := &stage{t: t, now: epoch}
	s.self = New(Config{Router: 1, Site: "home", Random: seeded(1)})
	var all strings.Builder
	skipping := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "----":
			fmt.Fprintf(&all, "----\n%s", s.out.String())
			s.out.Reset()
			skipping = true
		case line == "":
			skipping = false
			all.WriteString("\n")
		case skipping:
		case strings.HasPrefix(line, "#"):
			all.WriteString(line + "\n")
		default:
			all.WriteString(line + "\n")
			s.verb(strings.Fields(line))
		}
	}
	if s.out.Len() > 0 {
		t.Errorf("outputs that no block shows:\n%s", s.out.String())
	}
	return all.String()
}

func (s *stage) verb(f []string) {
	router := func(i int) tables.RouterID {
		id, err := strconv.Atoi(strings.TrimPrefix(f[i], "vr"))
		if err != nil {
			s.t.Fatalf("%v: %v", f, err)
		}
		return tables.RouterID(id)
	}
	endpoints := func(from int) (list []netip.AddrPort) {
		for _, e := range f[from:] {
			list = append(list, netip.MustParseAddrPort(e))
		}
		return list
	}
	token := func(i int) Token {
		n, err := strconv.Atoi(f[i])
		if err != nil || n < 1 || n > len(s.asks) {
			s.t.Errorf("%v: there is no request %s", f, f[i])
			return Token{}
		}
		return s.asks[n-1].Token
	}
	handle := func(ev Event) { s.do(s.self.Handle(s.now, ev)) }
	switch f[0] {
	case "local":
		handle(Local{endpoints(1)})
	case "link":
		ev := Linked{Router: router(1), Site: f[2]}
		if len(f) > 3 {
			ev.At = endpoints(3)[0]
		}
		handle(ev)
	case "unlink":
		handle(Unlinked{router(1)})
	case "observed":
		handle(Observed{router(1), endpoints(2)[0]})
	case "contacted":
		handle(Contacted{endpoints(1)[0]})
	case "reached":
		handle(Reached{By: router(1), From: endpoints(2)[0]})
	case "dialled":
		ev := Dialled{Token: token(1), Helper: router(2)}
		for _, a := range s.asks {
			if a.Token == ev.Token {
				ev.By = a.Via
			}
		}
		handle(ev)
	case "arrived":
		handle(DialArrived{Token: token(1), Helper: router(2), From: endpoints(3)[0]})
	case "declared":
		kind := map[string]Kind{"auto": Auto, "regular": Regular, "limited": Limited}[f[1]]
		handle(Declared{kind, endpoints(2)})
	case "mapped":
		handle(Mapped{endpoints(1)})
	case "joined":
		handle(Joined{})
	case "draining":
		handle(Draining{f[1] == "yes"})
	case "wait":
		s.wait(must(time.ParseDuration(f[1])), false)
	case "until":
		s.wait(must(time.ParseDuration(f[1])), true)
	case "silence":
		s.silence(must(time.ParseDuration(f[1])))
	case "verdict":
		s.print(Changed{s.self.Verdict()})
	default:
		s.t.Fatalf("no verb %q", f[0])
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// wait lets time pass, or only until the VR does something.
func (s *stage) wait(d time.Duration, first bool) {
	end := s.now.Add(d)
	before := s.out.Len()
	for {
		next := s.self.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(s.now) {
			s.now = next
		}
		s.do(s.self.Advance(s.now))
		if first && s.out.Len() > before {
			return
		}
	}
	s.now = end
}

// silence lets time pass; every request is answered with a linked router as the helper, which does not dial.
func (s *stage) silence(d time.Duration) {
	end := s.now.Add(d)
	for answered := 0; s.now.Before(end); {
		for ; answered < len(s.asks); answered++ {
			ask := s.asks[answered]
			helper := ask.Helper
			for _, id := range s.self.routers() {
				if helper == 0 && id != ask.Via {
					helper = id
				}
			}
			s.do(s.self.Handle(s.now, Dialled{ask.Via, ask.Token, helper}))
		}
		s.wait(end.Sub(s.now), true)
	}
}

func (s *stage) do(actions []Action) {
	for _, a := range actions {
		if ask, ok := a.(AskDialBack); ok {
			s.asks = append(s.asks, ask)
		}
		s.print(a)
	}
}

func (s *stage) print(a Action) {
	fmt.Fprintf(&s.out, "%-6s ", s.now.Sub(epoch).Round(100*time.Millisecond))
	switch a := a.(type) {
	case AskDialBack:
		helper := "anybody"
		if a.Helper != 0 {
			helper = a.Helper.String()
		}
		fmt.Fprintf(&s.out, "request %d: %v, have %s dial me\n", len(s.asks), a.Via, helper)
	case Changed:
		fmt.Fprintln(&s.out, a.Verdict)
	}
}
