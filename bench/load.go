package bench

import (
	"fmt"
	"strconv"
	"strings"
)

// ticksPerSecond is USER_HZ, the unit of /proc/stat and /proc/PID/stat on every Linux.
const ticksPerSecond = 100

// disturbedShare is how much of the machine somebody else may have had during a run that counts. Parties that the
// processor limits are slower by about that share.
const disturbedShare = 0.05

// Ticks are the first line of /proc/stat: what all processors did since the machine started.
type Ticks struct {
	User, Nice, System, Idle, IOWait, IRQ, SoftIRQ, Steal uint64
}

// ParseTicks reads /proc/stat.
func ParseTicks(stat string) (t Ticks, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	if !strings.HasPrefix(line, "cpu ") {
		return t, fmt.Errorf("parse /proc/stat: it begins with %.20q", line)
	}
	fields := strings.Fields(line)[1:]
	into := []*uint64{&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.SoftIRQ, &t.Steal}
	if len(fields) < len(into) {
		return t, fmt.Errorf("parse /proc/stat: %d columns", len(fields))
	}
	for i, p := range into {
		if *p, err = strconv.ParseUint(fields[i], 10, 64); err != nil {
			return t, fmt.Errorf("parse /proc/stat: %w", err)
		}
	}
	return t, nil
}

// A Process is what /proc/PID/stat says of one: times in ticks, its own and those of the children that it has waited
// for.
type Process struct {
	PID, Parent                     int
	User, System, ChildUser, ChildS uint64
}

// kthreadd is the process whose children are the kernel's threads.
const kthreadd = 2

func (p Process) kernel() bool { return p.PID == kthreadd || p.Parent == kthreadd }

// ParseProcess reads /proc/PID/stat. The name in it may hold anything, blanks and brackets too.
func ParseProcess(stat string) (p Process, err error) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return p, fmt.Errorf("parse /proc/PID/stat: no name")
	}
	f := strings.Fields(stat[end+1:]) // f[0] is field 3 of proc(5)
	if len(f) < 15 {
		return p, fmt.Errorf("parse /proc/PID/stat: %d fields after the name", len(f))
	}
	if p.PID, err = strconv.Atoi(strings.TrimSpace(stat[:open])); err != nil {
		return p, fmt.Errorf("parse /proc/PID/stat: %w", err)
	}
	if p.Parent, err = strconv.Atoi(f[1]); err != nil {
		return p, fmt.Errorf("parse /proc/PID/stat: %w", err)
	}
	for i, into := range []*uint64{&p.User, &p.System, &p.ChildUser, &p.ChildS} {
		if *into, err = strconv.ParseUint(f[11+i], 10, 64); err != nil {
			return p, fmt.Errorf("parse /proc/PID/stat: %w", err)
		}
	}
	return p, nil
}

// A Snapshot is the machine's account of its processors at one moment.
type Snapshot struct {
	Ticks     Ticks
	Processes []Process
}

// Load is who had the processors between two snapshots, in seconds of one processor.
type Load struct {
	Capacity float64 `json:"capacity"` // all processors, the whole time
	Busy     float64 `json:"busy"`     // they did anything
	Foreign  float64 `json:"foreign"`  // of that, for programs that are not of this benchmark: at least
	Steal    float64 `json:"steal"`    // the host of this virtual machine had them
}

// Add returns both loads as one, of two times.
func (l Load) Add(m Load) Load {
	return Load{l.Capacity + m.Capacity, l.Busy + m.Busy, l.Foreign + m.Foreign, l.Steal + m.Steal}
}

// Disturbed reports whether others had so much of the machine that the run says little.
func (l Load) Disturbed() bool { return l.share() > disturbedShare }

func (l Load) share() float64 {
	if l.Capacity <= 0 {
		return 0
	}
	return (l.Foreign + l.Steal) / l.Capacity
}

// LoadBetween compares two snapshots. Our own is the process self with all its descendants. The kernel's threads
// count for nobody: they do the packets' work.
//
// What others had is found in two ways, each of which can miss some; the larger one counts. The first adds up their
// processes, with the children that they have waited for: it misses those that nobody sees here, in another PID
// namespace. The second takes the time that all programs spent outside the kernel and subtracts our own: it misses
// what others have the kernel do.
func LoadBetween(a, b Snapshot, self int) Load {
	seconds := func(ticks uint64) float64 { return float64(ticks) / ticksPerSecond }
	busy := since(a.Ticks.User, b.Ticks.User) + since(a.Ticks.Nice, b.Ticks.Nice) + since(a.Ticks.System, b.Ticks.System) +
		since(a.Ticks.IRQ, b.Ticks.IRQ) + since(a.Ticks.SoftIRQ, b.Ticks.SoftIRQ)
	steal := since(a.Ticks.Steal, b.Ticks.Steal)
	idle := since(a.Ticks.Idle, b.Ticks.Idle) + since(a.Ticks.IOWait, b.Ticks.IOWait)

	ours := descendants(self, a.Processes, b.Processes)
	before := map[int]Process{}
	for _, p := range a.Processes {
		before[p.PID] = p
	}
	// others is exact as long as every process is waited for; seen is what is certain without that.
	var others int64
	var seen, ownUser uint64
	for _, p := range b.Processes {
		was := before[p.PID]
		delete(before, p.PID)
		switch {
		case p.kernel():
		case ours[p.PID]:
			ownUser += since(was.User+was.ChildUser, p.User+p.ChildUser)
		default:
			others += int64(p.total()) - int64(was.total())
			seen += since(was.User+was.System, p.User+p.System)
		}
	}
	for pid, p := range before { // ended meanwhile: their parents have it
		if !ours[pid] && !p.kernel() {
			others -= int64(p.total())
		}
	}
	foreign := max(seconds(seen), float64(others)/ticksPerSecond)
	programs := since(a.Ticks.User, b.Ticks.User) + since(a.Ticks.Nice, b.Ticks.Nice)
	if programs > ownUser {
		foreign = max(foreign, seconds(programs-ownUser))
	}
	return Load{
		Capacity: seconds(busy + steal + idle), Busy: seconds(busy),
		Foreign: min(foreign, seconds(busy)), Steal: seconds(steal),
	}
}

func (p Process) total() uint64 { return p.User + p.System + p.ChildUser + p.ChildS }

// since returns how far a counter has come, zero if it has gone back: /proc/stat is not monotonic.
func since(a, b uint64) uint64 {
	if b < a {
		return 0
	}
	return b - a
}

// descendants returns a process and all below it, in either list.
func descendants(root int, lists ...[]Process) map[int]bool {
	family := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for _, list := range lists {
			for _, p := range list {
				if family[p.Parent] && !family[p.PID] {
					family[p.PID], grown = true, true
				}
			}
		}
	}
	return family
}
