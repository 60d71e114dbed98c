package lab

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

var wireGuard = carrier{
	name: "wireguard-go", mtu: tunnelMTU, what: "ChaCha20-Poly1305",
	programs: [][]string{{"wireguard-go", "wireguard"}},
	get:      howToGet("wireguard-go"),
	version:  []string{"wireguard-go", "--version"},
	open:     openWireGuard, patience: 10 * time.Second,
}

// wireGuardSockets is where wireguard-go puts its control sockets, by the name of the interface, whatever the namespace.
const wireGuardSockets = "/var/run/wireguard"

var wireGuardInterfaces atomic.Int32

func openWireGuard(ctx context.Context, s *sites, program func(string) string) error {
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return err
		}
	}
	for i, at := range []*site{s.near, s.far} {
		other := []*site{s.far, s.near}[i]
		iface := fmt.Sprintf("wg%d-%d", os.Getpid()%1_000_000, wireGuardInterfaces.Add(1))
		var err error
		at.process, err = at.router.Start("env", "WG_PROCESS_FOREGROUND=1", program("wireguard-go"), "-f", iface)
		if err != nil {
			return err
		}
		err = configureWireGuard(ctx, filepath.Join(wireGuardSockets, iface+".sock"), fmt.Sprintf("set=1\nprivate_key=%x\nlisten_port=51820\n"+
			"public_key=%x\nendpoint=%v:51820\nreplace_allowed_ips=true\nallowed_ip=%v\n\n",
			keys[i].Bytes(), keys[1-i].PublicKey().Bytes(), other.wan, other.lan.Masked()))
		if err != nil {
			return fmt.Errorf("%w\n%s", err, tail(at.process.Output()))
		}
		if err := at.route(iface, tunnelMTU, other); err != nil {
			return err
		}
	}
	return nil
}

// route leads what is for the other site's LAN into a tunnel's interface.
func (at *site) route(iface string, mtu int, other *site) error {
	return at.router.Run(fmt.Sprintf("ip link set %s mtu %d up\nip route add %v dev %[1]s", iface, mtu, other.lan.Masked()))
}

// configureWireGuard speaks to wireguard-go over its socket, which takes a moment to appear:
// https://www.wireguard.com/xplatform/.
func configureWireGuard(ctx context.Context, socket, settings string) error {
	var c net.Conn
	err := awaitFile(ctx, socket, func() (err error) {
		c, err = net.Dial("unix", socket)
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, settings); err != nil {
		return fmt.Errorf("configure wireguard-go: %w", err)
	}
	answer := make([]byte, 64)
	n, err := c.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "errno=0\n") {
		return fmt.Errorf("configure wireguard-go: it answers %q, %v", answer[:n], err)
	}
	return nil
}

// awaitFile asks until f succeeds, for what programs make when they start.
func awaitFile(ctx context.Context, what string, f func() error) error {
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sweepWireGuard removes the sockets of wireguard-go processes that were killed.
func sweepWireGuard() {
	paths, _ := filepath.Glob(filepath.Join(wireGuardSockets, fmt.Sprintf("wg%d-*.sock", os.Getpid()%1_000_000)))
	for _, p := range paths {
		_ = os.Remove(p)
	}
}

// awaitInterface waits for a tunnel's interface.
func (at *site) awaitInterface(ctx context.Context, iface string) error {
	err := awaitFile(ctx, "interface "+iface, func() error {
		select {
		case <-at.process.Done():
			return fmt.Errorf("the program has ended: %v", at.process.Err())
		default:
		}
		return at.router.Run("ip link show dev " + iface)
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, tail(at.process.Output()))
	}
	return nil
}
