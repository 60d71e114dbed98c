package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/tables"
)

func TestHostAdd(t *testing.T) {
	vr := &paperVR{outcome: control.Request{State: tables.StateDone}}
	d := newDesk(t, vr)
	code, stdout, stderr := d.run("host", "add", "lamp", "--mac", "02-00-5E-10-00-07", "--address", "10.192.0.30")
	if code != 0 || !strings.Contains(stdout, "address  10.192.0.30\n") || !strings.Contains(stderr, "vine host setup lamp") || len(vr.asked) != 0 {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, _, stderr := d.run("host", "add", "taken"); code != 4 || !strings.Contains(stderr, "exists already") {
		t.Errorf("a name that is taken: exit %d, stderr %q", code, stderr)
	}
	// Without a key to ask for the VN with, no address is given away.
	if code, _, _ := d.run("host", "add", "other", "--vn", "blue", "--user", d.dir+"/absent"); code == 0 {
		t.Error("without a key: it worked")
	}
	want := []control.HostAsk{{Name: "lamp", MAC: "02:00:5e:10:00:07", Addr: netip.MustParseAddr("10.192.0.30")}}
	if !slices.Equal(vr.hosts, want) {
		t.Errorf("the VR was asked for %+v, want %+v", vr.hosts, want)
	}
}

func TestHostRemove(t *testing.T) {
	d := newDesk(t, &paperVR{})
	code, stdout, stderr := d.run("host", "remove", "desk")
	if code != 0 || !strings.Contains(stdout, "released  10.192.0.10\n") || !strings.Contains(stderr, "vine vn leave blue 10.192.0.10") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if code, stdout, _ := d.run("host", "remove", "lamp", "--json"); code != 3 || !strings.Contains(stdout, "not_found") {
		t.Errorf("nobody: exit %d, stdout %q", code, stdout)
	}
}

func TestHostAnswers(t *testing.T) {
	vr := &paperVR{outcome: control.Request{State: tables.StateDone}}
	d := newDesk(t, vr)
	if code, _, stderr := d.run("host", "approve", "3", "--name", "printer"); code != 0 || !strings.Contains(stderr, "has the address 10.192.0.20") || len(vr.asked) != 1 {
		t.Errorf("approve: exit %d, stderr %q", code, stderr)
	}
	if code, stdout, _ := d.run("host", "deny", "3", "--reason", "room 214"); code != 0 || !strings.Contains(stdout, "room 214") {
		t.Errorf("deny: exit %d, stdout %q", code, stdout)
	}
	for _, command := range []string{"approve", "deny"} {
		if code, _, _ := d.run("host", command, "4"); code != 3 {
			t.Errorf("%s nothing: exit %d", command, code)
		}
	}
	if code, _, _ := d.run("host", "approve", "3", "--user", d.dir+"/absent"); code == 0 || len(vr.verdicts) != 2 {
		t.Errorf("approve without a key: exit %d, verdicts %+v", code, vr.verdicts)
	}
	want := []control.HostVerdict{{Approve: true, Name: "printer"}, {Reason: "room 214"}}
	if !slices.Equal(vr.verdicts, want) {
		t.Errorf("verdicts %+v, want %+v", vr.verdicts, want)
	}
}

// The name of a host stands for its address, and brings its MAC to a DHCP server.
func TestHostSetupByName(t *testing.T) {
	d := newDesk(t, &paperVR{})
	code, stdout, stderr := d.run("host", "setup", "desk", "--gateway", "192.168.1.2", "--for", "dnsmasq", "--router", "none", "--interface", "eth1")
	if code != 0 || !strings.Contains(stdout, "dhcp-host=02:00:5e:10:00:01,set:vine-host,desk,10.192.0.10\n") || !strings.Contains(stdout, "shared-network=eth1,10.192.0.0\n") {
		t.Errorf("exit %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	if code, _, stderr := d.run("host", "setup", "nobody", "--gateway", "192.168.1.2"); code != 3 || !strings.Contains(stderr, "vine host list") {
		t.Errorf("nobody: exit %d, stderr %s", code, stderr)
	}
}
