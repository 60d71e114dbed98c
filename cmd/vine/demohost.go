package main

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/node/capture/netstack"
)

// serve serves pages on a port of a host until stop is called.
func serve(h *netstack.Host, port uint16, page http.HandlerFunc) (stop func(), err error) {
	l, err := h.Listen(port)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: page, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		server.Serve(l)
		close(ended)
	}()
	return func() {
		server.Close()
		<-ended
	}, nil
}

// fetch has a host get the page at another.
func fetch(ctx context.Context, h *netstack.Host, at netip.AddrPort) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/", nil)
	if err != nil {
		return "", err
	}
	resp, err := h.HTTPClient().Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return string(body), err
}

// zeroes is an endless stream of zeroes.
type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
