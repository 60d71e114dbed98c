package bench

import (
	"os"
	"strings"
	"testing"
)

func TestParseTicks(t *testing.T) {
	got, err := ParseTicks("cpu  10 20 30 400 50 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
	if want := (Ticks{10, 20, 30, 400, 50, 6, 7, 8}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, text := range []string{"", "cpu0 1 2 3 4 5 6 7 8\n", "cpu  1 2 3 4 5 6 7\n", "cpu  1 2 3 4 5 6 7 x\n", "intr 5\n"} {
		if got, err := ParseTicks(text); err == nil {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}

func TestParseProcess(t *testing.T) {
	const after = " S 7 1 1 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7"
	for _, name := range []string{"(vine)", "(a b)", "(x) S 9 9)", "()"} {
		got, err := ParseProcess("42 " + name + after)
		if want := (Process{42, 7, 100, 20, 3, 4}); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for _, text := range []string{"", "42 vine S 7", "42 (vine", "42 (vine) S 7 1", "x (vine)" + after, "42 (vine) S x" + strings.Repeat(" 1", 30), "42 (vine)" + strings.Repeat(" x", 30)} {
		if got, err := ParseProcess(text); err == nil {
			t.Errorf("%q gives %+v", text, got)
		}
	}
	// The form of the kernel that runs the test, where there is one.
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		if got, err := ParseProcess(string(b)); err != nil || got.PID != os.Getpid() || got.Parent != os.Getppid() {
			t.Errorf("%s gives %+v, %v", b, got, err)
		}
	}
}

// The machine of these tests: init, a kernel thread, a shell, the benchmark and its child, somebody else.
const (
	shell = 10
	self  = 20
	child = 21
	other = 30
)

func machine(edit func(p map[int]*Process)) []Process {
	p := map[int]*Process{
		1: {PID: 1}, 2: {PID: 2}, 3: {PID: 3, Parent: 2}, shell: {PID: shell, Parent: 1}, self: {PID: self, Parent: shell},
		child: {PID: child, Parent: self, User: 50, System: 50}, other: {PID: other, Parent: 1, User: 1000, System: 500},
	}
	if edit != nil {
		edit(p)
	}
	var list []Process
	for _, q := range p {
		list = append(list, *q)
	}
	return list
}

func TestLoadBetween(t *testing.T) {
	before := Snapshot{Ticks: Ticks{User: 1000, System: 1000, Idle: 10000, SoftIRQ: 100, Steal: 5}, Processes: machine(nil)}
	for name, c := range map[string]struct {
		ticks Ticks // since
		edit  func(p map[int]*Process)
		want  Load
		quiet bool
	}{
		"idle": {Ticks{Idle: 1000}, nil, Load{Capacity: 10}, true},
		"only ours": {Ticks{User: 300, System: 500, Idle: 200}, func(p map[int]*Process) {
			p[self].User, p[child].User, p[child].System = 100, 250, 550
		}, Load{Capacity: 10, Busy: 8}, true},
		"the kernel's threads are nobody's": {Ticks{System: 100, SoftIRQ: 400, Idle: 500}, func(p map[int]*Process) {
			p[3].System = 450
		}, Load{Capacity: 10, Busy: 5}, true},
		"somebody else": {Ticks{User: 100, System: 200, Idle: 700}, func(p map[int]*Process) {
			p[other].User, p[other].System = 1100, 700
		}, Load{Capacity: 10, Busy: 3, Foreign: 3}, false},
		"a little": {Ticks{User: 20, System: 20, Idle: 960}, func(p map[int]*Process) {
			p[other].User, p[other].System = 1020, 520
		}, Load{Capacity: 10, Busy: 0.4, Foreign: 0.4}, true},
		"a new one": {Ticks{User: 200, Idle: 800}, func(p map[int]*Process) {
			p[31] = &Process{PID: 31, Parent: shell, User: 200}
		}, Load{Capacity: 10, Busy: 2, Foreign: 2}, false},
		"one that came and went: its parent has waited for it": {Ticks{User: 100, System: 100, Idle: 800}, func(p map[int]*Process) {
			p[shell].ChildUser, p[shell].ChildS = 100, 100
		}, Load{Capacity: 10, Busy: 2, Foreign: 2}, false},
		"one that was old and has ended counts for what it did since": {Ticks{User: 100, Idle: 900}, func(p map[int]*Process) {
			delete(p, other)
			p[1].ChildUser, p[1].ChildS = 1100, 500
		}, Load{Capacity: 10, Busy: 1, Foreign: 1}, false},
		"one that was old and nobody waited for hides nothing": {Ticks{User: 100, System: 100, Idle: 800}, func(p map[int]*Process) {
			delete(p, other)
			p[31] = &Process{PID: 31, Parent: 1, User: 100, System: 100}
		}, Load{Capacity: 10, Busy: 2, Foreign: 2}, false},
		"our child, waited for, is ours": {Ticks{User: 100, System: 100, Idle: 800}, func(p map[int]*Process) {
			delete(p, child)
			p[self].ChildUser, p[self].ChildS = 150, 150
		}, Load{Capacity: 10, Busy: 2}, true},
		"one that cannot be seen": {Ticks{User: 300, System: 300, Idle: 400}, func(p map[int]*Process) {
			p[self].User = 100
		}, Load{Capacity: 10, Busy: 6, Foreign: 2}, false},
		"stolen": {Ticks{Idle: 900, Steal: 100}, nil, Load{Capacity: 10, Steal: 1}, false},
	} {
		b := before.Ticks
		b.User += c.ticks.User
		b.System += c.ticks.System
		b.SoftIRQ += c.ticks.SoftIRQ
		b.Idle += c.ticks.Idle
		b.Steal += c.ticks.Steal
		got := LoadBetween(before, Snapshot{Ticks: b, Processes: machine(c.edit)}, self)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if got.Disturbed() == c.quiet {
			t.Errorf("%s: disturbed: %v", name, got.Disturbed())
		}
	}
}

// TestLoadAdd: a long quiet time does not hide what happened in a short one, unless it is long enough.
func TestLoadAdd(t *testing.T) {
	loud, quiet := Load{Capacity: 2, Busy: 2, Foreign: 1}, Load{Capacity: 10, Busy: 9, Steal: 0.1}
	if got, want := loud.Add(quiet), (Load{12, 11, 1, 0.1}); got != want || !got.Disturbed() {
		t.Errorf("%+v", got)
	}
	if got := loud.Add(quiet).Add(quiet).Add(quiet); got.Disturbed() {
		t.Errorf("%+v", got)
	}
}

// TestLoadBackwards: counters that go back give no load of billions.
func TestLoadBackwards(t *testing.T) {
	a := Snapshot{Ticks: Ticks{User: 100, System: 100, Idle: 100, Steal: 100}, Processes: machine(nil)}
	got := LoadBetween(a, Snapshot{Processes: machine(func(p map[int]*Process) { p[other].User = 0 })}, self)
	if got.Foreign != 0 || got.Busy != 0 || got.Capacity != 0 || got.Disturbed() {
		t.Errorf("%+v", got)
	}
}
