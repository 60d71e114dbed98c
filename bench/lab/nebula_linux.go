package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

var nebula = carrier{
	name: "nebula", mtu: tunnelMTU, what: fmt.Sprintf("AES-256-GCM; buffers of %d MiB", buffer>>20),
	programs: [][]string{{"nebula"}, {"nebula-cert"}},
	get:      howToGet("nebula"),
	version:  []string{"nebula", "-version"},
	open:     openNebula, patience: 15 * time.Second,
}

const nebulaConfig = `
pki: {ca: %[1]s/ca.crt, cert: %[1]s/%[2]s.crt, key: %[1]s/%[2]s.key}
static_host_map: {"10.123.0.%[3]d": ["%[4]v:4242"]}
lighthouse: {am_lighthouse: %[5]v, interval: 60, hosts: %[6]s}
listen: {host: 0.0.0.0, port: 4242, read_buffer: %[7]d, write_buffer: %[7]d}
punchy: {punch: false}
tun: {dev: nebula0, mtu: %[8]d, unsafe_routes: [{route: %[9]v, via: 10.123.0.%[3]d}]}
logging: {level: warning}
firewall:
  outbound: [{port: any, proto: any, host: any, local_cidr: 0.0.0.0/0}]
  inbound: [{port: any, proto: any, host: any, local_cidr: 0.0.0.0/0}]
`

func openNebula(ctx context.Context, s *sites, program func(string) string) error {
	dir := s.near.dir
	sign := func(words ...string) error {
		c := exec.CommandContext(ctx, program("nebula-cert"), words...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("nebula-cert: %w\n%s", err, out)
		}
		return nil
	}
	if err := sign("ca", "-name", "bench"); err != nil {
		return err
	}
	for i, at := range []*site{s.near, s.far} {
		other := []*site{s.far, s.near}[i]
		if err := sign("sign", "-name", at.name, "-ip", fmt.Sprintf("10.123.0.%d/24", i+1), "-subnets", at.lan.Masked().String()); err != nil {
			return err
		}
		lighthouses := "[]"
		if i == 1 {
			lighthouses = `["10.123.0.1"]`
		}
		path := filepath.Join(at.dir, "config.yml")
		text := fmt.Sprintf(nebulaConfig, dir, at.name, 2-i, other.wan, i == 0, lighthouses, buffer, tunnelMTU, other.lan.Masked())
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
		var err error
		if at.process, err = at.router.Start(program("nebula"), "-config", path); err != nil {
			return err
		}
	}
	return nil
}
