package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vine-mesh/vine/node/control"
)

// TestQueues compares what a limited VR and a queue-VR say of each other's service.
func TestQueues(t *testing.T) {
	for want, vr := range map[string]*paperVR{
		"kind      limited\n" +
			"attached  2 of 2\n" +
			"serves    no: it cannot be reached from outside\n\n" +
			"ATTACHED  SITE   FOR     CHANNEL  RTT   SCORE      WHY                RUNNER-UP\n" +
			"osaka     west   12 min  channel  13ms  17.4 Mb/s  measured better    kyoto 12.1 Mb/s\n" +
			"kyoto     north  12 min  asked    -     -          room for one more  -\n\n" +
			"QUEUE-VR  SITE   ELECTED  LIST  RTT   SCORE      NOTE\n" +
			"osaka     west   yes      1     13ms  17.4 Mb/s  attached\n" +
			"kyoto     north  no       2     -     -          attached, draining, refused us\n": {},
		"kind    regular\n" +
			"serves  1 of at most 1000 limited VRs, draining\n\n" +
			"CLIENT    SITE   FOR     MODE  TRANSPORT  FROM     TO     DROPPED  REFUSED\n" +
			"nara?[2J  south  12 min  poll  udp        1.23 MB  999 B  7        0\n": {queueVR: true},
		"kind    regular\nserves  no: the enrolment does not allow it\n": {empty: true},
	} {
		code, stdout, stderr := newDesk(t, vr).run("queues")
		if diff := cmp.Diff(want, stdout); code != 0 || stderr != "" || diff != "" {
			t.Errorf("exit %d, stderr %q, difference (-want +got):\n%s", code, stderr, diff)
		}
	}
}

// TestPaths compares what a user sees of the paths to a VR, and where he is sent when they are others'.
func TestPaths(t *testing.T) {
	const ends = "VR     ROUTER  SITE  KIND     NAT                                     QUEUE-VRS  CHOICE\n"
	d := newDesk(t, &paperVR{})
	want := ends +
		"tokyo  vr1     east  limited  endpoint-independent/address-dependent  kyoto      leads\n" +
		"osaka  vr2     west  regular  -                                       -          -\n\n" +
		"link       up\nchosen     faster\nscore      15 Mb/s, relayed via kyoto\nrunner-up  4.2 Mb/s, direct 203.0.113.5:8463\n\n" +
		"PATH     VIA    TRANSPORT  ENDPOINT                        STATE      RTT   LOSS   BANDWIDTH                           USED     HEARD\n" +
		"relayed  kyoto  tls        203.0.113.5:8463 by proxy:3128  in use     31ms  0 %    17.4 Mb/s (estimate, traffic, 3 s)  16 Mb/s  0 s\n" +
		"direct   -      udp        203.0.113.5:8463                valid      20ms  5.0 %  5 Mb/s (estimate, train, 10 min)    -        12 s\n" +
		"relayed  nara   udp        -                               no answer  -     -      -                                   -        never\n"
	for _, command := range []string{"paths osaka", "paths tokyo osaka"} {
		code, stdout, stderr := d.run(strings.Fields(command)...)
		if diff := cmp.Diff(want, stdout); code != 0 || stderr != "" || diff != "" {
			t.Errorf("%s: exit %d, stderr %q, difference (-want +got):\n%s", command, code, stderr, diff)
		}
	}
	code, stdout, _ := newDesk(t, &paperVR{empty: true}).run("paths", "osaka")
	if code != 0 || !strings.HasSuffix(stdout, "\nlink  none\n") || !strings.HasPrefix(stdout, ends) {
		t.Errorf("no link: exit %d, %s", code, stdout)
	}
	code, stdout, stderr := d.run("paths", "nara", "osaka", "--json")
	if code != 2 || !strings.Contains(stdout, `"code": "usage"`) || !strings.Contains(stderr, "this VR is tokyo; ask at nara or at osaka") {
		t.Errorf("the paths of others: exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

// TestDrain runs a queue-VR empty: the progress, who is left when the time is over, and the ways in which there is
// nothing to wait for.
func TestDrain(t *testing.T) {
	here := func(quiet float64, names ...string) control.Drain {
		return control.Drain{Draining: true, Serves: true, Clients: append([]string{}, names...), Relayed: 9, Quiet: quiet}
	}
	idle := here(0)
	idle.Relayed = 0
	for name, tc := range map[string]struct {
		emptying []control.Drain
		flags    string
		code     int
		stderr   string
		asked    []bool
	}{
		"in time": {
			[]control.Drain{here(0, "nara", "kobe"), here(5, "nara", "kobe"), here(0, "kobe"), here(1.9), here(2)}, "", 0,
			"2 of 2 limited VRs still here\n1 of 2 limited VRs still here\nno limited VR is here; waiting for the last packets\ndrained: nobody is attached and nothing is relayed\n",
			[]bool{true},
		},
		"quiet": {[]control.Drain{here(0, "nara"), here(3)}, "-q", 0, "", []bool{true}},
		"too long": {
			[]control.Drain{here(0, "nara", "k\x1bobe")}, "--timeout 50ms -q", 1,
			"vine: error: after 50ms 2 limited VRs are still here: nara, k?obe\n" +
				"vine: hint: the VR goes on draining: run `vine drain` again to wait on, or `vine drain --undo` to serve again\n",
			[]bool{true},
		},
		"no end of packets": {
			[]control.Drain{here(0.1)}, "--timeout 50ms -q", 1,
			"vine: error: after 50ms packets are still relayed\n" +
				"vine: hint: the VR goes on draining: run `vine drain` again to wait on, or `vine drain --undo` to serve again\n",
			[]bool{true},
		},
		"undone by another": {
			[]control.Drain{here(0, "nara"), {Clients: []string{"nara"}}}, "-q", 1,
			"vine: error: the VR drains no more: somebody has undone it, or it was started anew\n", []bool{true},
		},
		"nobody attached": {[]control.Drain{idle}, "", 0, "this VR serves nobody: no limited VR is attached to it\n", []bool{true}},
		"no queue-VR":     {nil, "", 0, "this VR serves nobody: the enrolment does not allow it\n", []bool{true}},
		"drained before":  {[]control.Drain{here(70)}, "", 0, "drained: nobody is attached and nothing is relayed\n", []bool{true}},
		"undo":            {nil, "--undo", 0, "this VR serves limited VRs again, if it did\n", []bool{false}},
	} {
		t.Run(name, func(t *testing.T) {
			vr := &paperVR{emptying: tc.emptying}
			code, stdout, stderr := newDesk(t, vr).run(strings.Fields("drain " + tc.flags)...)
			if diff := cmp.Diff(tc.stderr, stderr); code != tc.code || stdout != "" || diff != "" || !cmp.Equal(vr.drains, tc.asked) {
				t.Errorf("exit %d, stdout %q, asked %v, difference (-want +got):\n%s", code, stdout, vr.drains, diff)
			}
		})
	}
	code, stdout, _ := newDesk(t, &paperVR{emptying: []control.Drain{here(9)}}).run("drain", "--json")
	var got struct{ Drain control.Drain }
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || !got.Drain.Draining {
		t.Errorf("exit %d, err %v: %s", code, err, stdout)
	}
}

// TestCells checks the words for figures, at their borders.
func TestCells(t *testing.T) {
	for want, got := range map[string]string{
		"": bitsText(0), "1 b/s": bitsText(1), "999 b/s": bitsText(999), "1 kb/s": bitsText(1000), "1.02 kb/s": bitsText(1024),
		"17.4 Mb/s": bitsText(17_449_999), "100 Mb/s": bitsText(99_960_000), "1 Gb/s": bitsText(999_600_000),
		"never": ageText(-1), "0 s": ageText(0), "99 s": ageText(99.4), "2 min": ageText(100), "3 h": ageText(3 * 3600), "30 d": ageText(30 * 86400),
		"0 B": bytesText(0), "1.5 GB": bytesText(1_500_000_000), "0 %": lossText(0), "<0.1 %": lossText(0.0001), "100.0 %": lossText(1),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
