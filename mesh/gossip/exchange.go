package gossip

import (
	"context"
	"math/rand"
	"net/netip"
	"time"

	"github.com/hashicorp/serf/serf"
)

// memberlist's own periodic state exchange is off, since its period cannot follow the number
// of members closely: with 6 members, gossip now and then fails to reach one of them and an
// exchange costs nothing; with 1,000, an exchange is 200 KB each way. exchange replaces it.

const (
	// exchangeFirst is the time from the start to the first exchange. Later ones come at
	// twice the distance each, up to the steady period, so that a newcomer is soon known
	// even where gossip missed.
	exchangeFirst = 10 * time.Second
	// exchangeMin is the steady period of a small mesh, memberlist's default.
	exchangeMin = 30 * time.Second
	// exchangePerMember makes the steady period grow with the mesh. An exchange takes about
	// 250 bytes a member each way, and a VR takes part in two a period: 200 bytes a second.
	exchangePerMember = 5 * time.Second
)

// exchangePeriod returns the time between the n-th exchange since the start, from 0, and the
// next, with the given number of members.
func exchangePeriod(n, members int) time.Duration {
	steady := max(exchangeMin, time.Duration(members)*exchangePerMember)
	if n > 20 {
		return steady
	}
	return min(steady, exchangeFirst<<n)
}

// exchange exchanges states with a random living member from time to time, until ctx ends.
func (g *Gossip) exchange(ctx context.Context, s *serf.Serf) {
	for n := 0; ; n++ {
		period := exchangePeriod(n, s.NumNodes())
		// Half a period of jitter, so that members do not go in step.
		wait := time.NewTimer(period*3/4 + time.Duration(rand.Int63n(int64(period/2))))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-s.ShutdownCh():
			wait.Stop()
			return
		case <-wait.C:
		}
		var others []Member
		for _, m := range g.Members() {
			if m.Status == StatusAlive && m.Router != g.config.Self.Router {
				others = append(others, m)
			}
		}
		if len(others) == 0 {
			continue
		}
		m := others[rand.Intn(len(others))]
		// Not serf's Join, which would announce us once more to everybody. memberlist logs a
		// failure, and the next exchange is with another.
		_, _ = s.Memberlist().Join([]string{m.Name + "/" + netip.AddrPortFrom(Addr(m.Router), Port).String()})
	}
}
