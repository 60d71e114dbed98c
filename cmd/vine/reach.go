package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/config"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/portmap"
	"github.com/vine-mesh/vine/transport/underlay"
)

// proxyOf returns what finds the proxy for a stream connection: the configuration's, or the environment's.
func proxyOf(c config.Config) func(netip.AddrPort) (*url.URL, error) {
	switch {
	case c.NoProxy:
		return nil
	case c.Proxy != nil:
		return func(netip.AddrPort) (*url.URL, error) { return c.Proxy, nil }
	}
	return func(target netip.AddrPort) (*url.URL, error) { return underlay.ProxyFromEnvironment(os.Getenv, target) }
}

// listenStreams opens the stream listeners of a configuration and returns where they are. One that cannot be
// opened is left out with a warning: port 443 may be a web server's.
func listenStreams(c config.Config, streams *underlay.Streams, log *slog.Logger) (list []tables.StreamEndpoint) {
	for _, l := range c.Streams {
		protocol := underlay.TCP
		if l.Protocol == "tls" {
			protocol = underlay.TLS
		}
		at, err := streams.Listen(protocol, l.At)
		if err != nil {
			log.Warn("stream listener left out", "transport", l.Protocol, "endpoint", l.At, "err", err)
			continue
		}
		list = append(list, tables.StreamEndpoint{Protocol: l.Protocol, Endpoint: at})
	}
	return list
}

// freshSocket opens a socket that has never sent anything, of the family of an address.
func freshSocket(a netip.Addr) (underlay.Socket, error) {
	any := netip.IPv4Unspecified()
	if !a.Is4() && !a.Is4In6() {
		any = netip.IPv6Unspecified()
	}
	if a.IsLoopback() {
		any = a
	}
	return underlay.ListenUDP(netip.AddrPortFrom(any, 0))
}

// mapPorts keeps our UDP port mapped on the gateway and tells the VR, until ctx ends.
func mapPorts(ctx context.Context, n *node.Node, port uint16, secret []byte, log *slog.Logger) error {
	p := portmap.New(portmap.Config{Internal: []portmap.Port{{Protocol: portmap.UDP, Port: port}}, Log: log, Secret: secret})
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for {
		select {
		case list := <-p.Mappings():
			var endpoints []netip.AddrPort
			for _, m := range list {
				log.Info("the gateway maps our port", "by", m.By, "endpoint", m.External, "public", m.Public)
				if m.Public {
					endpoints = append(endpoints, m.External)
				}
			}
			n.Mapped(endpoints)
		case err := <-done:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("map ports: %w", err)
		}
	}
}
