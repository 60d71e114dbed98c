package hosts

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// A DHCP is what a DHCP server on the LAN has to tell hosts: the routes into the ViNe space, and for one host
// its ViNe address. NewDHCP makes one. IPv6 has no routes in DHCP; they come with router advertisements.
type DHCP struct {
	Space   []netip.Prefix // IPv4
	Gateway netip.Addr     // the VR on the LAN
	// Router is the default router of the LAN; invalid: there is none. It is said again with the routes: "If the DHCP
	// server returns both a Classless Static Routes option and a Router option, the DHCP client MUST ignore the Router
	// option" (RFC 3442).
	Router netip.Addr

	// With a MAC the host of that MAC leases Address and nothing of the LAN. Without, all hosts keep their
	// leases and get the routes.
	MAC     MAC
	Name    string       // of that host; may be empty
	Address netip.Prefix // with the length of the block
	// Where the server meets the LAN, needed with a MAC: the subnet for ISC and Kea, the server's interface for dnsmasq.
	LAN       netip.Prefix
	Interface string
}

// NewDHCP returns d checked, with the prefixes of space that are IPv4.
func NewDHCP(d DHCP, space ...netip.Prefix) (DHCP, error) {
	for _, s := range space {
		if s.Addr().Is4() {
			d.Space = append(d.Space, s.Masked())
		}
	}
	switch {
	case len(d.Space) == 0:
		return d, fmt.Errorf("the ViNe space %v has no IPv4 prefix, and DHCP has no routes of IPv6: use router advertisements, or set the hosts up one by one", space)
	case !d.Gateway.Is4():
		return d, fmt.Errorf("gateway %v is not an IPv4 address", d.Gateway)
	case d.Router.IsValid() && !d.Router.Is4():
		return d, fmt.Errorf("router %v is not an IPv4 address", d.Router)
	case d.MAC == "":
		_, err := d.option()
		return d, err
	case !d.Address.IsValid() || !d.Address.Addr().Is4():
		return d, fmt.Errorf("the address %v that is to be leased is not IPv4", d.Address)
	case d.Address.IsSingleIP():
		return d, fmt.Errorf("say the length of the block: %v/24", d.Address.Addr())
	case d.LAN.IsValid() && !d.LAN.Contains(d.Gateway):
		return d, fmt.Errorf("the subnet %v of the LAN does not hold the gateway %v", d.LAN, d.Gateway)
	}
	if d.LAN.IsValid() {
		d.LAN = d.LAN.Masked()
	}
	_, err := d.option()
	return d, err
}

// Routes returns the routes of the option. A host that leases an address of the block is told first that the
// gateway and the router are on its LAN: "if the router address is 0.0.0.0 ... the subnet is local" (RFC 3442,
// Local Subnet Routes).
func (d DHCP) Routes() []Route {
	var routes []Route
	onLink := func(a netip.Addr) {
		if d.MAC != "" && !d.Address.Contains(a) {
			routes = append(routes, Route{netip.PrefixFrom(a, 32), netip.IPv4Unspecified()})
		}
	}
	onLink(d.Gateway)
	if d.Router.IsValid() && d.Router != d.Gateway {
		onLink(d.Router)
	}
	for _, s := range d.Space {
		routes = append(routes, Route{s, d.Gateway})
	}
	if d.Router.IsValid() {
		routes = append(routes, Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), d.Router})
	}
	return routes
}

func (d DHCP) option() ([]byte, error) { return RoutesOption(d.Routes()) }

// bytesOf returns the option's content as numbers between separators.
func (d DHCP) bytesOf(format, separator string) string {
	b, _ := d.option() // NewDHCP has made it
	parts := make([]string, len(b))
	for i, v := range b {
		parts[i] = fmt.Sprintf(format, v)
	}
	return strings.Join(parts, separator)
}

// Dnsmasq returns lines for /etc/dnsmasq.d/vine.conf. The ranges of the LAN itself stand elsewhere.
func (d DHCP) Dnsmasq() string {
	var b strings.Builder
	d.head(&b, "#")
	tag := ""
	if d.MAC != "" {
		fmt.Fprintf(&b, "shared-network=%v,%v\n", d.Interface, d.Address.Masked().Addr())
		fmt.Fprintf(&b, "dhcp-range=%v,static,%s\n", d.Address.Masked().Addr(), mask(d.Address))
		tag = "tag:vine-host,"
		name := ""
		if d.Name != "" {
			name = d.Name + ","
		}
		fmt.Fprintf(&b, "dhcp-host=%s,set:vine-host,%s%v\n", d.MAC, name, d.Address.Addr())
	}
	fmt.Fprintf(&b, "dhcp-option=%s%d,%s\n", tag, OptionRoutes, d.dnsmasqRoutes())
	fmt.Fprintf(&b, "dhcp-option=%s%d,%s\n", tag, OptionRoutesMS, d.bytesOf("%02x", ":"))
	return b.String()
}

func (d DHCP) dnsmasqRoutes() string {
	var parts []string
	for _, r := range d.Routes() {
		parts = append(parts, r.Dst.String(), r.Via.String())
	}
	return strings.Join(parts, ",")
}

// ISC returns declarations for ISC dhcpd, to be included in dhcpd.conf before its subnets.
func (d DHCP) ISC() string {
	var b strings.Builder
	d.head(&b, "#")
	fmt.Fprintf(&b, "option vine-routes code %d = array of unsigned integer 8;\n", OptionRoutes)
	fmt.Fprintf(&b, "option vine-routes-ms code %d = array of unsigned integer 8;\n", OptionRoutesMS)
	indent := ""
	if d.MAC != "" {
		name := d.Name
		if name == "" {
			name = d.MAC.name()
		}
		fmt.Fprintf(&b, "# Put both subnets into one shared-network statement, or dhcpd does not see that they share the LAN:\n")
		fmt.Fprintf(&b, "#   shared-network vine { subnet %v netmask %s { ... } subnet %v netmask %s { } }\n",
			d.LAN.Addr(), mask(d.LAN), d.Address.Masked().Addr(), mask(d.Address))
		fmt.Fprintf(&b, "host %s {\n", name)
		fmt.Fprintf(&b, "  hardware ethernet %s;\n  fixed-address %v;\n", d.MAC, d.Address.Addr())
		indent = "  "
	}
	for _, name := range []string{"vine-routes", "vine-routes-ms"} {
		fmt.Fprintf(&b, "%soption %s %s;\n", indent, name, d.bytesOf("%d", ", "))
	}
	if d.MAC != "" {
		fmt.Fprintf(&b, "}\n")
	}
	return b.String()
}

// Kea returns JSON for Kea: what is to be merged into the object "Dhcp4".
func (d DHCP) Kea() string {
	content, _ := d.option()
	type option struct {
		Code   int    `json:"code"`
		Space  string `json:"space"`
		CSV    bool   `json:"csv-format"`
		Data   string `json:"data"`
		Always bool   `json:"always-send,omitempty"`
	}
	var options []option
	for _, code := range []int{OptionRoutes, OptionRoutesMS} {
		options = append(options, option{Code: code, Space: "dhcp4", Data: strings.ToUpper(hex.EncodeToString(content))})
	}
	type object map[string]any
	part := object{"option-data": options}
	if d.MAC != "" {
		reservation := object{"hw-address": d.MAC, "ip-address": d.Address.Addr(), "option-data": options}
		if d.Name != "" {
			reservation["hostname"] = d.Name
		}
		// The id must differ from those of the LAN's own subnets; it is made of the block so that several
		// blocks have several.
		net := d.Address.Masked().Addr().As4()
		part = object{"shared-networks": []object{{
			"name": "vine",
			"subnet4": []object{
				{"id": 1, "subnet": d.LAN},
				{"id": uint32(net[0])<<24 | uint32(net[1])<<16 | uint32(net[2])<<8 | uint32(net[3]), "subnet": d.Address.Masked(), "reservations": []object{reservation}},
			},
		}}}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(object{"Dhcp4": part}) // of strings and numbers
	return b.String()
}

// head writes the comments that every server's text begins with.
func (d DHCP) head(b *strings.Builder, mark string) {
	fmt.Fprintf(b, "%s The ViNe space by way of %v: options %d (RFC 3442) and %d (Windows before Vista).\n", mark, d.Gateway, OptionRoutes, OptionRoutesMS)
	if d.Router.IsValid() {
		fmt.Fprintf(b, "%s The default router %v is among the routes: clients that take them ignore option 3.\n", mark, d.Router)
	} else {
		fmt.Fprintf(b, "%s No default router: clients that take these routes ignore option 3.\n", mark)
	}
}

// mask returns the netmask of an IPv4 prefix.
func mask(p netip.Prefix) string {
	m := ^uint32(0) << (32 - p.Bits())
	if p.Bits() == 0 {
		m = 0
	}
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}
