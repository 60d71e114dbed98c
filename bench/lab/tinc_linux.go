package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tincMTU is less than tunnelMTU: tinc adds 28 bytes of outer headers, 26 of its own and padding to 16 bytes, at most 1,500.
const tincMTU = 1432

var tinc = carrier{
	name: "tinc", mtu: tincMTU, what: "its default ciphers: AES-256-CBC, SHA-256 cut to 4 bytes (1.0)",
	programs: [][]string{{"tincd"}},
	get:      howToGet("tinc"),
	version:  []string{"tincd", "--version"},
	open:     openTinc, patience: 20 * time.Second,
}

func openTinc(ctx context.Context, s *sites, program func(string) string) error {
	both := []*site{s.near, s.far}
	public := map[*site]string{}
	for i, at := range both {
		if err := os.MkdirAll(filepath.Join(at.dir, "hosts"), 0o700); err != nil {
			return err
		}
		conf := fmt.Sprintf("Name = %s\nInterface = tinc0\nMode = router\nAddressFamily = ipv4\nUDPRcvBuf = %d\nUDPSndBuf = %[2]d\n", at.name, buffer)
		if i == 1 {
			conf += "ConnectTo = near\n"
		}
		if err := os.WriteFile(filepath.Join(at.dir, "tinc.conf"), []byte(conf), 0o600); err != nil {
			return err
		}
		own := filepath.Join(at.dir, "hosts", at.name)
		if err := os.WriteFile(own, []byte(fmt.Sprintf("Address = %v\nSubnet = %v\n", at.wan, at.lan.Masked())), 0o600); err != nil {
			return err
		}
		// It asks where the keys go; with its input closed it takes what it proposes.
		p, err := at.router.Start(program("tincd"), "-c", at.dir, "-K2048")
		if err != nil {
			return err
		}
		if err := p.Wait(ctx); err != nil {
			return fmt.Errorf("tincd -K: %w\n%s", err, tail(p.Output()))
		}
		text, err := os.ReadFile(own)
		if err != nil {
			return err
		}
		if public[at] = string(text); !strings.Contains(public[at], "BEGIN RSA PUBLIC KEY") {
			return fmt.Errorf("tincd -K has put no key into %s:\n%s", own, tail(p.Output()))
		}
	}
	for i, at := range both {
		other := both[1-i]
		if err := os.WriteFile(filepath.Join(at.dir, "hosts", other.name), []byte(public[other]), 0o600); err != nil {
			return err
		}
		var err error
		at.process, err = at.router.Start(program("tincd"), "-c", at.dir, "-D", "--pidfile="+filepath.Join(at.dir, "pid"))
		if err != nil {
			return err
		}
		if err := at.awaitInterface(ctx, "tinc0"); err != nil {
			return err
		}
		if err := at.route("tinc0", tincMTU, other); err != nil {
			return err
		}
	}
	return nil
}
