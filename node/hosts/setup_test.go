package hosts

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func setup(t *testing.T, address, gateway string) Setup {
	t.Helper()
	h, err := NewSetup(netip.MustParsePrefix(address), addr(gateway), vines...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestQuote(t *testing.T) {
	if got := quote("eth0;reboot"); got != "'eth0;reboot'" {
		t.Errorf("quote = %s", got)
	}
	if got := psQuote("Ethernet 2'; x"); got != "'Ethernet 2''; x'" {
		t.Errorf("psQuote = %s", got)
	}
}

// machine runs a script in a world of its own: each program that changes a machine only notes that it was called.
func machine(t *testing.T, text string, programs map[string]string) (calls string, code int) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	for name, body := range programs {
		program := "#!/bin/sh\necho \"" + name + " $*\" >>" + log + "\n" + body + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sed", "cat", "mkdir"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(dir, "root")
	for _, folder := range []string{"/etc/netplan", "/etc/systemd/network", "/etc/network/interfaces.d", "/Library/LaunchDaemons"} {
		if err := os.MkdirAll(root+folder, 0o755); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, folder, root+folder)
	}
	c := exec.Command("/bin/sh", "-c", text)
	c.Env = []string{"PATH=" + dir}
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState.ExitCode() < 0 {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(log)
	files := ""
	_ = filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			content, _ := os.ReadFile(path)
			files += "== " + strings.TrimPrefix(path, root) + "\n" + string(content)
		}
		return nil
	})
	return strings.ReplaceAll(string(b)+files+"== said\n"+string(out), root, ""), c.ProcessState.ExitCode()
}

const ip = `[ "$1" = -o ] && echo "192.168.1.2 dev eth7 src 192.168.1.20 uid 0"; exit 0`

func TestLinuxLasting(t *testing.T) {
	text, err := setup(t, "10.192.1.5/24", "192.168.1.2").Script(Linux, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		programs map[string]string
		want     []string
		code     int
	}{
		"NetworkManager": {
			map[string]string{"ip": ip, "nmcli": `[ "$1" = -g ] && echo "Wired connection 1"; exit 0`},
			[]string{"ip address replace 10.192.1.5/24 dev eth7 brd +\n", "nmcli -g GENERAL.CONNECTION device show eth7\n",
				"nmcli connection modify Wired connection 1 +ipv4.addresses 10.192.1.5/24 +ipv4.routes 10.192.0.0/10 192.168.1.2 src=10.192.1.5\n",
				"nmcli device reapply eth7\n", "settings of eth7 last"}, 0,
		},
		"netplan": {
			map[string]string{"ip": ip, "netplan": "", "networkctl": `echo "   Network File: /run/systemd/network/10-netplan-eth7.network"`},
			[]string{"netplan apply\n", "== /etc/netplan/90-vine.yaml\nnetwork:\n  version: 2\n  ethernets:\n    eth7:\n      addresses: [\"10.192.1.5/24\"]\n      routes:\n        - {to: \"10.192.0.0/10\", via: \"192.168.1.2\", from: \"10.192.1.5\"}\n"}, 0,
		},
		"systemd-networkd": {
			map[string]string{"ip": ip, "networkctl": `echo "   Network File: /etc/systemd/network/lan.network"`},
			[]string{"networkctl reload\n", "== /etc/systemd/network/lan.network.d/vine.conf\n[Address]\nAddress=10.192.1.5/24\n\n[Route]\nDestination=10.192.0.0/10\nGateway=192.168.1.2\nPreferredSource=10.192.1.5\n"}, 0,
		},
		"ifupdown": {
			map[string]string{"ip": ip, "ifup": ""},
			[]string{"== /etc/network/interfaces.d/vine\niface eth7 inet static\n    address 10.192.1.5/24\n    up ip route replace 10.192.0.0/10 via 192.168.1.2 dev eth7 src 10.192.1.5\n"}, 0,
		},
		"nobody": {map[string]string{"ip": ip}, []string{"ip route replace 10.192.0.0/10 via 192.168.1.2 dev eth7 src 10.192.1.5\n", "last only until the next start"}, 3},
		"failure": {map[string]string{"ip": `[ "$1" = -o ] && echo "x dev eth7"; [ "$1" = address ] && exit 2; exit 0`, "ifup": ""},
			[]string{"ip address replace"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			got, code := machine(t, text, c.programs)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
			if name == "failure" && (strings.Contains(got, "ip route replace") || strings.Contains(got, "interfaces.d")) {
				t.Errorf("it went on after a failure:\n%s", got)
			}
		})
	}
	if out, err := exec.LookPath("netplan"); err == nil {
		t.Log("netplan is at", out)
	}
}

func TestMacOS(t *testing.T) {
	h := setup(t, "10.192.1.5/24", "192.168.1.2")
	programs := map[string]string{
		"ifconfig": "", "chown": "", "chmod": "", "launchctl": "",
		"route": `case "$*" in *get*) echo "  interface: en0" ;; *change*) exit 1 ;; esac`,
	}
	text, _ := h.Script(MacOS, false)
	got, code := machine(t, text, programs)
	for _, want := range []string{"route -n get 192.168.1.2\n", "ifconfig en0 inet 10.192.1.5 netmask 255.255.255.0 alias\n", "route -n change -net 10.192.0.0/10 192.168.1.2 -ifa 10.192.1.5\nroute -n add -net 10.192.0.0/10 192.168.1.2 -ifa 10.192.1.5\n"} {
		if code != 0 || !strings.Contains(got, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, got)
		}
	}
	text, _ = h.Script(MacOS, true)
	got, code = machine(t, text, programs)
	for _, want := range []string{"== /Library/LaunchDaemons/mesh.vine.host.plist\n<?xml", "chown root:wheel", "launchctl bootstrap system /Library"} {
		if code != 0 || !strings.Contains(got, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, got)
		}
	}
	// What launchd is to run does the same as the script that does not last.
	_, body, _ := strings.Cut(got, "<string>-c</string><string>")
	body, _, _ = strings.Cut(body, "</string>")
	body = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(body)
	if got, code := machine(t, body, programs); code != 0 || !strings.Contains(got, "ifconfig en0 inet 10.192.1.5") {
		t.Errorf("launchd's part: code %d\n%s", code, got)
	}
	six := setup(t, "fd00:192:1::5/64", "fe80::1%en0")
	text, _ = six.Script(MacOS, false)
	got, code = machine(t, text, programs)
	for _, want := range []string{"ifconfig en0 inet6 fd00:192:1::5 prefixlen 64 alias\n", "route -n add -inet6 -net fd00:192::/32 fe80::1%en0 -ifa fd00:192:1::5\n"} {
		if code != 0 || !strings.Contains(got, want) {
			t.Errorf("code %d, no %q in\n%s", code, want, got)
		}
	}
}

func TestWindows(t *testing.T) {
	h := setup(t, "10.192.1.5/24", "192.168.1.2")
	text, _ := h.Script(Windows, true)
	for _, want := range []string{
		"Find-NetRoute -RemoteIPAddress '192.168.1.2'", "dhcpstaticipcoexistence=enabled",
		"foreach ($store in 'ActiveStore', 'PersistentStore') {",
		"New-NetIPAddress -InterfaceIndex $i -IPAddress '10.192.1.5' -PrefixLength 24 -PolicyStore $store",
		"New-NetRoute -DestinationPrefix '10.192.0.0/10' -InterfaceIndex $i -NextHop '192.168.1.2' -PolicyStore $store",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	text, _ = h.Script(Windows, false)
	if strings.Contains(text, "PersistentStore") {
		t.Errorf("what is not to last is stored:\n%s", text)
	}
	h.Interface = "Ethernet 2"
	text, _ = h.Script(Windows, false)
	if !strings.Contains(text, "(Get-NetAdapter -Name 'Ethernet 2').ifIndex") {
		t.Errorf("got\n%s", text)
	}
	six := setup(t, "fd00:192:1::5/64", "fe80::1%12")
	if text, _ = six.Script(Windows, true); strings.Contains(text, "dhcpstaticipcoexistence") || !strings.Contains(text, "fd00:192::/32") {
		t.Errorf("got\n%s", text)
	}
	if _, err := h.Script("beos", false); err == nil || !strings.Contains(err.Error(), "linux, macos and windows") {
		t.Errorf("an unknown system: %v", err)
	}
}
