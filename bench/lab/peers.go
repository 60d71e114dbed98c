package lab

// A Peer is another tunnel that can be compared.
type Peer struct {
	Name string
	Get  string // how to install it
}

// Known are the peers that the package can set up.
var Known = []Peer{
	{"wireguard-go", "go install golang.zx2c4.com/wireguard@latest (it is called wireguard then); that of apt is of 2022 and slower"},
	{"nebula", "go install github.com/slackhq/nebula/cmd/nebula@v1.11.1 github.com/slackhq/nebula/cmd/nebula-cert@v1.11.1, or apt install nebula (1.6)"},
	{"tinc", "apt install tinc"},
	{"openvpn", "apt install openvpn (2.6 or later)"},
}

// howToGet returns Get of a peer.
func howToGet(name string) string {
	for _, p := range Known {
		if p.Name == name {
			return p.Get
		}
	}
	return ""
}
