package hosts

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var (
	gate  = addr("192.168.1.2")
	lan   = netip.MustParsePrefix("192.168.1.0/24")
	vines = []netip.Prefix{netip.MustParsePrefix("10.192.0.0/10"), netip.MustParsePrefix("fd00:192::/32")}
)

// The table of RFC 3442, "Classless Route Option Format".
func TestRFC3442Examples(t *testing.T) {
	for _, c := range []struct {
		prefix string // subnet number and mask of the RFC, as a length
		want   []byte // destination descriptor
	}{
		{"0.0.0.0/0", []byte{0}},
		{"10.0.0.0/8", []byte{8, 10}},
		{"10.0.0.0/24", []byte{24, 10, 0, 0}},
		{"10.17.0.0/16", []byte{16, 10, 17}},
		{"10.27.129.0/24", []byte{24, 10, 27, 129}},
		{"10.229.0.128/25", []byte{25, 10, 229, 0, 128}},
		{"10.198.122.47/32", []byte{32, 10, 198, 122, 47}},
	} {
		got, err := RoutesOption([]Route{{netip.MustParsePrefix(c.prefix), addr("10.0.0.1")}})
		if want := append(slices.Clone(c.want), 10, 0, 0, 1); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: % d %v, want % d", c.prefix, got, err, want)
		}
	}
}

func TestRoutesOptionRefuses(t *testing.T) {
	six := Route{netip.MustParsePrefix("fd00::/8"), addr("192.168.1.2")}
	for _, routes := range [][]Route{{six}, {{}}, {{netip.MustParsePrefix("10.0.0.0/8"), addr("fe80::1")}}, slices.Repeat([]Route{{netip.MustParsePrefix("10.0.0.1/32"), gate}}, 29)} {
		if b, err := RoutesOption(routes); err == nil {
			t.Errorf("%v: % d", routes, b)
		}
	}
	if b, err := RoutesOption(slices.Repeat([]Route{{netip.MustParsePrefix("10.0.0.1/32"), gate}}, 28)); err != nil || len(b) != 252 {
		t.Errorf("28 routes: %d bytes, %v", len(b), err)
	}
	for _, text := range []string{"21", "18c0a80102", "080a", "080ac0a801", "080ac0a8010200", "090ac0c0a80102", "0a0a"} {
		b, _ := hex.DecodeString(text)
		if r, err := ParseRoutesOption(b); err == nil {
			t.Errorf("%s: %v", text, r)
		}
	}
}

func TestRoutesOptionThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		routes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Route {
			a := func(label string) netip.Addr {
				return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, label)))
			}
			return Route{netip.PrefixFrom(a("net"), rapid.IntRange(0, 32).Draw(t, "bits")).Masked(), a("via")}
		}), 1, 20).Draw(t, "routes")
		b, err := RoutesOption(routes)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseRoutesOption(b)
		if err != nil || !slices.Equal(back, routes) {
			t.Fatalf("%v, %v, want %v", back, err, routes)
		}
	})
}

func FuzzRoutesOption(f *testing.F) {
	f.Add([]byte{10, 10, 192, 192, 168, 1, 2, 0, 192, 168, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		routes, err := ParseRoutesOption(b)
		if err != nil || len(b) > optionMax {
			return
		}
		if again, err := RoutesOption(routes); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("% x became % x, %v", b, again, err)
		}
	})
}

func dhcp(t *testing.T, d DHCP) DHCP {
	t.Helper()
	d, err := NewDHCP(d, vines...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var reserved = DHCP{
	Gateway: gate, Router: addr("192.168.1.1"), MAC: "02:00:5e:10:00:01", Name: "desk",
	Address: netip.MustParsePrefix("10.192.1.10/24"), LAN: lan, Interface: "eth0",
}

func TestDnsmasq(t *testing.T) {
	want := `# The ViNe space by way of 192.168.1.2: options 121 (RFC 3442) and 249 (Windows before Vista).
# The default router 192.168.1.1 is among the routes: clients that take them ignore option 3.
dhcp-option=121,10.192.0.0/10,192.168.1.2,0.0.0.0/0,192.168.1.1
dhcp-option=249,0a:0a:c0:c0:a8:01:02:00:c0:a8:01:01
`
	if got := dhcp(t, DHCP{Gateway: gate, Router: addr("192.168.1.1")}).Dnsmasq(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	want = `# The ViNe space by way of 192.168.1.2: options 121 (RFC 3442) and 249 (Windows before Vista).
# The default router 192.168.1.1 is among the routes: clients that take them ignore option 3.
shared-network=eth0,10.192.1.0
dhcp-range=10.192.1.0,static,255.255.255.0
dhcp-host=02:00:5e:10:00:01,set:vine-host,desk,10.192.1.10
dhcp-option=tag:vine-host,121,192.168.1.2/32,0.0.0.0,192.168.1.1/32,0.0.0.0,10.192.0.0/10,192.168.1.2,0.0.0.0/0,192.168.1.1
dhcp-option=tag:vine-host,249,20:c0:a8:01:02:00:00:00:00:20:c0:a8:01:01:00:00:00:00:0a:0a:c0:c0:a8:01:02:00:c0:a8:01:01
`
	if got := dhcp(t, reserved).Dnsmasq(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A gateway inside the block needs no route of its own.
func TestGatewayInBlock(t *testing.T) {
	d := dhcp(t, DHCP{Gateway: addr("10.192.1.1"), MAC: "02:00:5e:10:00:01", Address: netip.MustParsePrefix("10.192.1.10/24")})
	if got := d.Routes(); len(got) != 1 || got[0] != (Route{vines[0], addr("10.192.1.1")}) {
		t.Errorf("%v", got)
	}
}

func TestDHCPRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*DHCP)
		space  []netip.Prefix
		want   string
	}{
		"IPv6 only":       {func(*DHCP) {}, vines[1:], "no routes of IPv6"},
		"IPv6 gateway":    {func(d *DHCP) { d.Gateway = addr("fe80::1") }, vines, "gateway"},
		"IPv6 router":     {func(d *DHCP) { d.Router = addr("fe80::1") }, vines, "router"},
		"IPv6 address":    {func(d *DHCP) { d.Address = vines[1] }, vines, "not IPv4"},
		"no length":       {func(d *DHCP) { d.Address = netip.MustParsePrefix("10.192.1.10/32") }, vines, "10.192.1.10/24"},
		"another LAN":     {func(d *DHCP) { d.LAN = netip.MustParsePrefix("192.168.7.0/24") }, vines, "does not hold the gateway"},
		"too many routes": {func(*DHCP) {}, slices.Repeat(vines[:1], 50), "at most 255"},
	} {
		d := reserved
		c.change(&d)
		if _, err := NewDHCP(d, c.space...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestISC(t *testing.T) {
	plain, host := dhcp(t, DHCP{Gateway: gate}).ISC(), dhcp(t, reserved).ISC()
	if !strings.Contains(plain, "\noption vine-routes 10, 10, 192, 192, 168, 1, 2;\noption vine-routes-ms 10,") {
		t.Errorf("got\n%s", plain)
	}
	if !strings.Contains(host, "host desk {\n  hardware ethernet 02:00:5e:10:00:01;\n  fixed-address 10.192.1.10;\n  option vine-routes 32, 192, 168, 1, 2, 0, 0, 0, 0, 32,") {
		t.Errorf("got\n%s", host)
	}
	for _, text := range []string{
		plain + "subnet 192.168.1.0 netmask 255.255.255.0 { range 192.168.1.100 192.168.1.200; }\n",
		host + "shared-network vine { subnet 192.168.1.0 netmask 255.255.255.0 { range 192.168.1.100 192.168.1.200; } subnet 10.192.1.0 netmask 255.255.255.0 { } }\n",
	} {
		try(t, "dhcpd", text, func(path string) []string {
			return []string{"dhcpd", "-t", "-cf", path, "-lf", filepath.Join(filepath.Dir(path), "leases")}
		})
	}
}

func TestKea(t *testing.T) {
	plain, host := dhcp(t, DHCP{Gateway: gate, Router: addr("192.168.1.1")}).Kea(), dhcp(t, reserved).Kea()
	for _, want := range []string{`"code": 121`, `"code": 249`, `"data": "0A0AC0C0A8010200C0A80101"`} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %s in\n%s", want, plain)
		}
	}
	for _, want := range []string{`"hw-address": "02:00:5e:10:00:01"`, `"ip-address": "10.192.1.10"`, `"subnet": "10.192.1.0/24"`, `"subnet": "192.168.1.0/24"`} {
		if !strings.Contains(host, want) {
			t.Errorf("no %s in\n%s", want, host)
		}
	}
	for _, text := range []string{plain, host} {
		var doc map[string]map[string]any
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		doc["Dhcp4"]["interfaces-config"] = map[string]any{"interfaces": []string{}}
		doc["Dhcp4"]["lease-database"] = map[string]any{"type": "memfile", "persist": false}
		whole, _ := json.Marshal(doc)
		try(t, "kea-dhcp4", string(whole), func(path string) []string { return []string{"kea-dhcp4", "-t", path} })
	}
}

// try has a DHCP server read a configuration, where it is installed.
func try(t *testing.T, program, text string, words func(path string) []string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Logf("%s is not installed: its configuration is only compared", program)
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, program+".conf")
	for name, content := range map[string]string{path: text, filepath.Join(dir, "leases"): ""} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := words(path)
	if out, err := exec.Command(w[0], w[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s\n%s", program, err, out, text)
	}
}
