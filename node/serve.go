package node

import (
	"context"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/vine-mesh/vine/mesh/serfrpc"
	"github.com/vine-mesh/vine/node/control"
)

// serve starts the servers that Options asked for. They end with ctx.
func (n *Node) serve(ctx context.Context, g *errgroup.Group) {
	if n.options.Control != nil {
		g.Go(func() error { return control.Serve(ctx, n.options.Control, api{n}, n.log) })
	}
	if n.options.Remote != nil {
		g.Go(func() error {
			return control.ServeTLS(ctx, n.options.Remote, api{n}, n.self.identity, n.options.RemoteNames, n.log)
		})
	}
	if n.options.SerfRPC != nil {
		server := &serfrpc.Server{
			Serf: n.gossip.RPC(), Listener: n.options.SerfRPC, Token: n.options.SerfToken,
			Vine: n.serfSection, Logs: n.options.SerfLogs, Log: n.log,
		}
		g.Go(func() error { return server.Run(ctx) })
	}
}

// serfSection is what `serf info` shows of the VR.
func (n *Node) serfSection() map[string]string {
	d := n.directory.Load()
	e, _ := d.view.Enrolment(n.self.Router)
	return map[string]string{
		"federation": d.view.FederationID().String(),
		"router":     n.self.Router.String(),
		"site":       e.Site,
		"links":      strconv.Itoa(len(d.links)),
		"documents":  strconv.Itoa(d.view.Len()),
		"sent":       strconv.FormatUint(n.sent(), 10),
		"received":   strconv.FormatUint(n.received(), 10),
	}
}
