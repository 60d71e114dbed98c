package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vine-mesh/vine/node/config"
)

// A seed is what a user knows of a federation: a member's address and, perhaps, a fingerprint.
type seed struct {
	pin  string // fingerprint of the federation, or ""
	host string
	port uint16
}

// parseSeed reads [FINGERPRINT@]HOST[:PORT]. An IPv6 address with a port stands in brackets.
func parseSeed(text string) (seed, error) {
	s := seed{port: config.DefaultPort}
	rest := text
	if pin, after, ok := strings.Cut(text, "@"); ok {
		var err error
		if s.pin, err = parseFingerprint(pin); err != nil {
			return s, err
		}
		rest = after
	}
	bad := usage("%q is not a seed: it is HOST[:PORT] or FINGERPRINT@HOST[:PORT]", text)
	bare := rest
	if inner, ok := strings.CutPrefix(rest, "["); ok && strings.HasSuffix(inner, "]") {
		bare = strings.TrimSuffix(inner, "]")
	}
	if _, err := netip.ParseAddr(bare); err == nil {
		s.host = bare
		return s, nil
	}
	host, port, ok := strings.Cut(rest, ":")
	if strings.HasPrefix(rest, "[") {
		var err error
		if host, port, err = net.SplitHostPort(rest); err != nil {
			return s, bad
		}
		ok = true
	}
	if ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return s, bad
		}
		s.port = uint16(n)
	}
	if host == "" || strings.ContainsAny(host, "/ []@\t") {
		return s, bad
	}
	s.host = host
	return s, nil
}

// resolve returns the seed's addresses, in the order of the resolver, at most as many as a VR
// announces.
func (s seed) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	const addressesMax = 8
	if a, err := netip.ParseAddr(s.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), s.port)}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, hinted(fmt.Errorf("find the seed: %w", err), "give the seed's address instead of its name, or check this machine's DNS")
	}
	var list []netip.AddrPort
	for _, a := range addrs[:min(len(addrs), addressesMax)] {
		list = append(list, netip.AddrPortFrom(a.Unmap(), s.port))
	}
	return list, nil
}
