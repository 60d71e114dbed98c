package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVNLog: the log, an earlier state, a comparison and a plan as a user sees them.
func TestVNLog(t *testing.T) {
	d := newDesk(t, &paperVR{})
	for command, want := range map[string]string{
		"vn log blue": "NUMBER  TIME (UTC)           USER     OPERATION  VERSION  CHANGE\n" +
			"1       2027-01-15 08:00:00  ann?[2J  vn.create  1        +10.192.0.10 +10.192.0.0/24@tokyo\n" +
			"2       2027-01-15 08:01:00  ann      vn.join    1        +10.192.0.11\n",
		"vn show blue --at 2": "name         blue\nafter entry  2\nstate        active\nseal         encrypt\ndelivers     tokyo: 10.192.0.0/24\n" +
			"host         10.192.0.10\nhost         10.192.0.11\n",
		"vn compare blue 1":   "+ host  10.192.0.11\n",
		"vn compare blue 2 1": "- host  10.192.0.11\n",
		"vn plan merge blue green": "VN blue: active, encrypt\n  seal  auth -> encrypt\n+ host  10.192.1.10\n" +
			"pairs of hosts gained: 30\n  10.192.0.10  10.192.1.10\n  and 29 more (--json names 1 of all)\npairs of hosts lost: 0\n",
	} {
		code, stdout, stderr := d.run(strings.Fields(command)...)
		if diff := cmp.Diff(want, stdout); code != 0 || stderr != "" || diff != "" {
			t.Errorf("vine %s: exit %d, stderr %q, difference (-want +got):\n%s", command, code, stderr, diff)
		}
	}
	for command, want := range map[string]int{
		"vn log green": 3, "vn show blue --at 9": 3, "vn compare blue 1 9": 3, "vn compare blue x": 2, "vn restore blue 0": 2, "vn plan": 0,
		"vn plan restore blue one": 2, "vn merge blue": 2, "vn merge blue green": 2, "vn split blue 10.192.0.1": 2, "vn split blue --into B 10.192.0.1": 2,
		"vn split blue --into green": 2, "vn split blue --into green x": 2, "vn update blue": 2, "vn update blue --seal none": 2, "vn update blue --add 10.0.0.0/24": 2,
		"vn update blue --disable 10.192.0.1/24": 2, "disable": 2, "disable OSAKA": 2, "enable a b": 2, "vn plan shutdown blue": 0,
	} {
		if code, _, stderr := d.run(strings.Fields(command)...); code != want {
			t.Errorf("vine %s: exit %d, want %d: %s", command, code, want, stderr)
		}
	}
}
