package control_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/vine-mesh/vine/node/control"
)

// TestLANHostsRoundTrip calls everything of LANHosts through the socket and directly, and expects the same.
func TestLANHostsRoundTrip(t *testing.T) {
	ctx := context.Background()
	r := &router{}
	c := control.NewClient(start(t, r))
	same := func(name string, got, want any, err error) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
			t.Errorf("%s: err %v, difference (-direct +socket):\n%s", name, err, diff)
		}
	}
	want, _ := r.LANHosts(ctx)
	got, err := c.LANHosts(ctx)
	same("list", got, want, err)
	for _, ask := range []control.HostAsk{{Name: "lamp"}, {Name: "lamp", Addr: netip.MustParseAddr("fd00::2"), MAC: "02:00:5e:10:00:01", IPv6: true}} {
		want, _ := r.AddHost(ctx, ask)
		got, err := c.AddHost(ctx, ask)
		same("add", got, want, err)
	}
	removed, err := c.RemoveHost(ctx, "odd/na me")
	same("remove", removed, control.LANHost{Name: "odd/na me", VNs: []string{}}, err)
	wantRequests, _ := r.HostRequests(ctx)
	requests, err := c.HostRequests(ctx)
	same("requests", requests, wantRequests, err)
	for _, v := range []control.HostVerdict{{Approve: true, Name: "lamp", Addr: netip.MustParseAddr("10.192.7.9")}, {Reason: "no"}} {
		want, _ := r.AnswerHost(ctx, 3, v)
		got, err := c.AnswerHost(ctx, 3, v)
		same("answer", got, want, err)
	}
	if _, err := c.AddHost(ctx, control.HostAsk{Name: "taken"}); !errors.Is(err, control.ErrRefused) {
		t.Errorf("taken: %v", err)
	}
	if _, err := c.RemoveHost(ctx, "nobody"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := c.AnswerHost(ctx, 4, control.HostVerdict{}); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("no request: %v", err)
	}
	r.fail = errBroken
	var problem *control.Problem
	if _, err := c.LANHosts(ctx); !errors.As(err, &problem) || problem.Status != 500 {
		t.Errorf("broken: %v", err)
	}
}
