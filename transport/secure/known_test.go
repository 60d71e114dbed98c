package secure

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/transport/frame"
)

var update = flag.Bool("update", false, "write testdata from what the code gives")

// knownAnswers runs one exchange with fixed keys and returns what stands in testdata/known.txt, so that another
// implementation, and every later version of this one, can check itself against it byte for byte.
func knownAnswers(t *testing.T) (lines []string) {
	t.Helper()
	add := func(name string, b []byte) { lines = append(lines, name+" "+hex.EncodeToString(b)) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	seed := func(c *Config) []byte { return c.Static.key.Bytes() }
	for _, suite := range suites {
		a, b := router(1, suite == SuiteAES128GCM), router(2, true)
		name := func(s string) string { return strings.ToLower(suite.String()) + "/" + s }
		add(name("federation"), a.Federation[:])
		add(name("initiator-private"), seed(a))
		add(name("responder-private"), seed(b))
		i, err := NewInitiator(a, b.Static.Public(), 100, Order{3, 4}, []byte("hello of a"))
		must(err)
		add(name("initiator-ephemeral-private"), i.seed[:])
		NewCookieClient(b.Static.Public()).Stamp(start, i.Datagram())
		add(name("init"), i.Datagram())
		r, err := ReadInit(b, i.Datagram())
		must(err)
		response, sb, err := r.Respond(start, 200, []byte("hello of b"))
		must(err)
		NewCookieClient(a.Static.Public()).Stamp(start, response)
		add(name("responder-ephemeral-private"), r.state.LocalEphemeral().Private)
		add(name("response"), response)
		sa, _, err := i.ReadResponse(start, response)
		must(err)
		sa.Bind(alice, bob)
		sb.Bind(bob, alice)
		add(name("secret-from-initiator"), sa.secrets[fromInitiator][:])
		add(name("secret-from-responder"), sa.secrets[fromResponder][:])
		s, _ := sa.Lane(2)
		for _, meta := range [][3]byte{{}, {frame.MetaAuthOnly}} {
			d, _ := s.Seal(nil, 0x40, meta, vn, []byte("an inner packet"))
			add(name(fmt.Sprintf("data-lane2-vn7-vr11-to-vr12-meta-%02x", meta[0])), d)
		}
		control, _ := sb.SealControl(nil, frame.ChannelsAck{Version: 4}.Append(nil))
		add(name("control-from-responder"), control)
	}
	box, _ := boxes(t)
	gossip, err := box.Seal([]byte("alive"))
	must(err)
	add("gossip-vr11-to-vr12-federation-01", gossip[0])
	return lines
}

// knownHops returns what stands in testdata/relay.txt: relay datagrams of the same routers.
func knownHops(t *testing.T) (lines []string) {
	t.Helper()
	for _, suite := range suites {
		a, b := link(t, suite)
		add := func(name string, b []byte) {
			lines = append(lines, strings.ToLower(suite.String())+"/"+name+" "+hex.EncodeToString(b))
		}
		add("secret-from-initiator", a.secrets[fromInitiator][:])
		add("secret-from-responder", a.secrets[fromResponder][:])
		data := append(frame.DataHeader{Index: 0x40, Counter: 9}.Append(nil), "a sealed inner packet, and tag 16"...)
		out, _ := a.Hop()
		back, _ := b.Hop()
		for range 2 { // counters 0 and 1
			d, _ := out.Wrap(room(data), frame.RelayQueue, vn, alice, carol)
			add(fmt.Sprintf("relay-queue-from-initiator-index-200-counter-%d-vn7-vr11-to-vr13", out.Counter()-1), d)
		}
		control := append(frame.ControlHeader{Receiver: 0x50, Counter: 3}.Append(nil), "sealed frames, and a tag 16"...)
		d, _ := back.Wrap(room(control), frame.RelayForward, 0, carol, alice)
		add("relay-forward-from-responder-index-100-counter-0-vn0-vr13-to-vr11", d)
	}
	return lines
}

func TestKnownAnswers(t *testing.T) {
	checkKnown(t, "testdata/known.txt", "one exchange per suite", knownAnswers(t))
}

func TestKnownHops(t *testing.T) {
	checkKnown(t, "testdata/relay.txt", "relay datagrams per suite", knownHops(t))
}

// checkKnown compares lines of a name and a value with those of a file.
func checkKnown(t *testing.T, path, what string, lines []string) {
	t.Helper()
	got := map[string]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		got[name] = value
	}
	if *update {
		text := "# Known answers of package secure: " + what + ", hexadecimal. docs/wire.md explains them.\n"
		if err := os.WriteFile(path, []byte(text+strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	scan := bufio.NewScanner(f)
	for scan.Scan() {
		if strings.HasPrefix(scan.Text(), "#") {
			continue
		}
		n++
		name, want, _ := strings.Cut(scan.Text(), " ")
		if got[name] != want {
			t.Errorf("%s is\n%s, want\n%s", name, got[name], want)
		}
	}
	if err := scan.Err(); err != nil || n != len(got) {
		t.Error(fmt.Sprintf("%d lines in the file for %d values", n, len(got)), err)
	}
}
