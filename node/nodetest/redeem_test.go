package nodetest_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// TestRedemptionsAtOnce: a hundred newcomers bring one invite in the same moment, to two VRs; exactly one is admitted, and the others
// are told that the invite is spent.
func TestRedemptionsAtOnce(t *testing.T) {
	const newcomers = 100
	inWorld(t, 71, func(t *testing.T, w *nodetest.World) {
		w.AutoAdmit = "invite"
		a := w.Found("alpha")
		b := w.NewSite("beta")
		if err := enrol(b, a, invite(t, w, time.Hour), time.Minute); err != nil {
			t.Fatal(err)
		}
		b.Start()
		token := invite(t, w, time.Hour)
		var sites []*nodetest.Site
		for i := range newcomers {
			sites = append(sites, w.NewSite(fmt.Sprintf("new%d", i)))
		}
		outcomes := make([]error, newcomers)
		var group sync.WaitGroup
		for i, s := range sites {
			seed := []*nodetest.Site{a, b}[i%2]
			group.Go(func() {
				for begin := time.Now(); time.Since(begin) < 30*time.Minute; {
					err := enrol(s, seed, token, 5*time.Minute)
					if outcomes[i] = err; err == nil || errors.Is(err, node.ErrRefused) {
						return
					}
				}
			})
		}
		group.Wait()
		admitted, spent := 0, 0
		for i, err := range outcomes {
			switch {
			case err == nil:
				admitted++
			case errors.Is(err, node.ErrRefused) && strings.Contains(err.Error(), "spent"):
				spent++
			default:
				t.Errorf("%s: %v", sites[i].Name, err)
			}
		}
		if admitted != 1 {
			t.Errorf("%d admitted", admitted)
		}
		t.Logf("%d admitted, %d told that it is spent", admitted, spent)
		for _, s := range []*nodetest.Site{a, b} {
			w.Eventually("both know", time.Minute, func() bool {
				list, err := s.API().VRs(context.Background())
				return err == nil && len(list) == 3
			})
		}
	})
}

// TestRequestsAtOnce: the same invite a hundred times in requests that come by the management interface at once. It has no quota by
// address and no conversation in between.
func TestRequestsAtOnce(t *testing.T) {
	inWorld(t, 72, func(t *testing.T, w *nodetest.World) {
		w.AutoAdmit = "invite"
		a := w.Found("alpha")
		token, err := tables.ParseToken(invite(t, w, time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		states := map[string]int{}
		var group sync.WaitGroup
		for i := range 100 {
			key := ed25519.NewKeyFromSeed(append(make([]byte, 30), byte(i), 7))
			d, err := policy.NewRequest(time.Now(), &counted{}, key, policy.OpJoin, policy.JoinArgs{
				Name: fmt.Sprintf("new%d", i), Site: "beta", Link: tables.LinkKey{1: byte(i), 2: 9},
				Invite: token.Document().Bytes(), Proof: token.Prove(a.Joined.FederationID, tables.PublicOf(key)),
			})
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				state := "turned away"
				for range 200 {
					_, err := a.API().Submit(context.Background(), d.Bytes())
					if err == nil {
						r, err := a.API().Request(context.Background(), d.Hash(), time.Minute)
						if err == nil {
							state = r.State
						}
						break
					}
					time.Sleep(time.Second)
				}
				mu.Lock()
				states[state]++
				mu.Unlock()
			})
		}
		group.Wait()
		if states[tables.StateDone] != 1 {
			t.Errorf("outcomes: %v", states)
		}
		t.Logf("outcomes: %v", states)
		list, err := a.API().VRs(context.Background())
		if err != nil || len(list) != 2 {
			t.Errorf("%d VRs, %v", len(list), err)
		}
	})
}
