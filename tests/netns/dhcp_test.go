//go:build linux

package netns_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// TestDHCP: a DHCP server, run with what `vine host setup --for dnsmasq` prints, gives hosts that run nothing but the stock DHCP
// client their way into the ViNe space: one keeps its address of the LAN and gets the routes, the other, which the VR knows by
// its MAC, leases its ViNe address and talks to the other site. The same with ISC's server and Kea, where they are installed.
func TestDHCP(t *testing.T) {
	t.Run("dnsmasq", func(t *testing.T) { leases(t, "dnsmasq", dnsmasq) })
	t.Run("isc", func(t *testing.T) { leases(t, "dhcpd", dhcpd) })
	t.Run("kea", func(t *testing.T) { leases(t, "kea-dhcp4", kea) })
}

// A dhcpServer is begun on the LAN of a site with what is printed for all hosts and for desk.
type dhcpServer func(t *testing.T, a *netns.Site, dir, all, desk string) *netnstest.Process

func dnsmasq(t *testing.T, a *netns.Site, dir, all, desk string) *netnstest.Process {
	write(t, filepath.Join(dir, "vine.conf"), all+desk)
	// The rest is what the LAN had before.
	write(t, filepath.Join(dir, "dnsmasq.conf"), fmt.Sprintf(`port=0
interface=lan0
bind-interfaces
dhcp-leasefile=%[1]s/leases
dhcp-range=192.168.%[2]d.100,192.168.%[2]d.150,255.255.255.0,1h
dhcp-option=option:router,192.168.%[2]d.254
dhcp-option=option:dns-server
log-dhcp
conf-file=%[1]s/vine.conf
`, dir, a.N))
	return a.Start(t, "dnsmasq", "--no-daemon", "--user=root", "--conf-file="+dir+"/dnsmasq.conf", "--pid-file="+dir+"/pid", "--log-facility=-")
}

func dhcpd(t *testing.T, a *netns.Site, dir, all, desk string) *netnstest.Process {
	write(t, filepath.Join(dir, "leases"), "")
	write(t, filepath.Join(dir, "dhcpd.conf"), all+desk+fmt.Sprintf(`
authoritative;
shared-network vine {
  subnet 192.168.%[1]d.0 netmask 255.255.255.0 { range 192.168.%[1]d.100 192.168.%[1]d.150; option routers 192.168.%[1]d.254; }
  subnet %[2]v netmask 255.255.255.0 { }
}
`, a.N, a.Joined.Blocks[0].Addr()))
	return a.Start(t, "dhcpd", "-4", "-f", "-d", "-cf", dir+"/dhcpd.conf", "-lf", dir+"/leases", "-pf", dir+"/pid", "--no-pid", "lan0")
}

func kea(t *testing.T, a *netns.Site, dir, all, desk string) *netnstest.Process {
	var one, two struct{ Dhcp4 map[string]any }
	for text, to := range map[string]any{all: &one, desk: &two} {
		if err := json.Unmarshal([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range two.Dhcp4 {
		one.Dhcp4[key] = value
	}
	lan := two.Dhcp4["shared-networks"].([]any)[0].(map[string]any)["subnet4"].([]any)[0].(map[string]any)
	lan["pools"] = []any{map[string]any{"pool": fmt.Sprintf("192.168.%[1]d.100 - 192.168.%[1]d.150", a.N)}}
	lan["option-data"] = []any{map[string]any{"name": "routers", "data": fmt.Sprintf("192.168.%d.254", a.N)}}
	one.Dhcp4["interfaces-config"] = map[string]any{"interfaces": []string{"lan0"}}
	one.Dhcp4["lease-database"] = map[string]any{"type": "memfile", "persist": false}
	one.Dhcp4["loggers"] = []any{map[string]any{"name": "kea-dhcp4", "severity": "INFO", "output_options": []any{map[string]any{"output": "stdout"}}}}
	whole, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "kea.conf"), string(whole))
	return a.Start(t, "env", "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "kea-dhcp4", "-c", dir+"/kea.conf")
}

func leases(t *testing.T, program string, serve dhcpServer) {
	waits(t)
	if _, err := exec.LookPath(program); err != nil && program != "dnsmasq" {
		t.Skipf("%s is not installed", program)
	}
	target := map[string]string{"dnsmasq": "dnsmasq", "dhcpd": "isc", "kea-dhcp4": "kea"}[program]
	netnstest.Require(t, "dnsmasq", "dhclient", "unshare")
	f := netns.New(t)
	a := f.AddSite(t, netns.SiteOption{})
	a.Init(t)
	a.Up(t)
	b := enrol(t, f, netns.SiteOption{})
	far := b.Addr4(t, 0)
	b.SetUpHost(t, 0, far)
	a.Vine(t, "vn", "create", "blue", "--host", far.String(), "--prefix", a.Joined.Blocks[0].String()+"@"+a.Name)

	guest, desk := a.LAN.AddHost(t, a.Namespace, a.N, 1), a.LAN.AddHost(t, a.Namespace, a.N, 2)
	for _, h := range []*netnstest.Namespace{guest, desk} {
		h.Run(t, "ip addr flush dev eth0")
	}
	mac := macOf(t, desk)
	a.Vine(t, "host", "add", "desk", "--mac", mac)
	a.Vine(t, "host", "add", "desk", "--mac", mac, "--vn", "blue")
	list := netns.VineJSON[struct {
		Hosts []struct {
			Name, Addr string
			VNs        []string `json:"vns"`
		} `json:"lan_hosts"`
	}](t, a, "host", "list")
	if len(list.Hosts) != 1 || list.Hosts[0].Name != "desk" || len(list.Hosts[0].VNs) != 1 {
		t.Fatalf("host list: %+v", list)
	}
	address := list.Hosts[0].Addr

	dir := t.TempDir()
	router := fmt.Sprintf("192.168.%d.254", a.N)
	server := serve(t, a, dir, a.Vine(t, "host", "setup", "--for", target, "--router", router),
		a.Vine(t, "host", "setup", "desk", "--for", target, "--router", "none", "--interface", "lan0", "--lan", fmt.Sprintf("192.168.%d.0/24", a.N)))
	lease := func(h *netnstest.Namespace, name, want string) {
		write(t, filepath.Join(dir, name+".resolv"), "")
		// What the client has by default asks for option 121; an old Windows asks for 249.
		stock, err := os.ReadFile("/etc/dhcp/dhclient.conf")
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+".conf"), string(stock)+`
option vine-routes-ms code 249 = array of unsigned integer 8;
also request vine-routes-ms;
`)
		// The client is not to touch this machine's resolver.
		client := h.Start(t, "unshare", "--mount", "sh", "-ec", fmt.Sprintf(
			"mount --bind %[1]s/%[2]s.resolv /etc/resolv.conf; exec dhclient -d -v -cf %[1]s/%[2]s.conf -lf %[1]s/%[2]s.leases -pf %[1]s/%[2]s.pid eth0", dir, name))
		defer func() {
			if t.Failed() {
				t.Logf("dhclient:\n%s\nserver:\n%s", client.Output(), server.Output())
			}
		}()
		netns.Await(t, name+" has a lease", 30*time.Second, func() bool {
			return strings.Contains(client.Output(), "bound to ")
		})
		routes := ""
		netns.Await(t, name+" has its routes", 10*time.Second, func() bool {
			routes = h.MustExec(t, "sh", "-c", "ip -4 -o addr show dev eth0; ip -4 route show")
			return strings.Contains(routes, want)
		})
		t.Logf("%s:\n%s", name, routes)
	}
	space := "10.192.0.0/10"
	lease(guest, "guest", fmt.Sprintf("%s via %v dev eth0", space, a.LAN.V4))
	if routes := guest.MustExec(t, "ip", "-4", "route", "show", "default"); !strings.Contains(routes, "via "+router) {
		t.Errorf("the guest has lost its default router: %q", routes)
	}
	lease(desk, "desk", fmt.Sprintf("%s via %v dev eth0", space, a.LAN.V4))
	if addrs := desk.MustExec(t, "ip", "-4", "-o", "addr", "show", "dev", "eth0"); !strings.Contains(addrs, " "+address+"/24 ") {
		t.Errorf("desk has %q, want %s", addrs, address)
	}
	// The elder option has the same content.
	for _, name := range []string{"guest", "desk"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".leases"))
		if err != nil {
			t.Fatal(err)
		}
		option := func(name string) string {
			_, rest, _ := strings.Cut(string(text), "option "+name+" ")
			value, _, _ := strings.Cut(rest, ";")
			return value
		}
		if new, old := option("rfc3442-classless-static-routes"), option("vine-routes-ms"); new == "" || new != old {
			t.Errorf("%s: option 121 is %q, option 249 %q", name, new, old)
		}
	}
	netns.AwaitPing(t, desk, far, 30*time.Second)
	netns.AwaitPing(t, b.LAN.Hosts[0], mustAddr(address), 30*time.Second)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// macOf returns the MAC address of a host.
func macOf(t *testing.T, h *netnstest.Namespace) string {
	t.Helper()
	_, rest, ok := strings.Cut(h.MustExec(t, "ip", "-o", "link", "show", "dev", "eth0"), "link/ether ")
	mac, _, _ := strings.Cut(rest, " ")
	if !ok {
		t.Fatal("no MAC address")
	}
	return mac
}
