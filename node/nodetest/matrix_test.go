package nodetest_test

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy/policytest"
	"github.com/vine-mesh/vine/tables"
)

// TestMatrixLive runs every cell of the matrix of rights as requests to running VRs: the VR of one site
// takes them, that of another holds the authority key. Cells of unusual pairs of role and scope, and of
// delegations, are left to the night.
func TestMatrixLive(t *testing.T) {
	cells := policytest.Cells()
	if os.Getenv("VINE_NIGHT") == "" {
		cells = slices.DeleteFunc(cells, func(c policytest.Cell) bool {
			usual := map[string]bool{"adm federation": true, "sa site": true, "vna vn": true, "eu vn": true, "eu site": true}
			return !usual[string(c.Role)+" "+c.Scope] || c.Delegated
		})
	}
	inWorld(t, 80, func(t *testing.T, w *nodetest.World) {
		w.AutoAdmit = "open"
		a := w.Found("alpha")
		b := w.Join("beta", a)
		ctx := context.Background()
		if err := a.Node.Apply(ctx, node.Settings{Kind: "auto", Serve: true, Joinable: true, PathMTU: w.PathMTU, AutoAdmit: "invite"}); err != nil {
			t.Fatal(err)
		}
		// What the VR at beta knows; the roots and grants of it.
		view := func() *tables.View {
			raw, err := b.API().Documents(ctx)
			if err != nil {
				t.Fatal(err)
			}
			store := tables.NewStore(tables.Hash{})
			for _, one := range raw {
				store.PutBytes(time.Now(), one, tables.FromDisk) //nolint:errcheck // what it has is right
			}
			return store.Snapshot()
		}
		// A grant may come to beta a moment after the receipt that says so.
		patient := func(f func() error) error {
			err := f()
			for n := 0; err != nil && n < 50; n++ {
				time.Sleep(100 * time.Millisecond)
				err = f()
			}
			return err
		}
		s := &policytest.Scene{
			Now: time.Now, Random: rand.NewChaCha8([32]byte{80}), Admin: a.User(), View: view, Own: "beta", Other: "alpha",
			Host: func(site string) netip.Addr {
				if site == "beta" {
					return b.NewHost()
				}
				return a.NewHost()
			},
			Submit: func(d *tables.Document) (string, string, error) {
				if d.Kind() != tables.KindRequest {
					return tables.StateDone, "", patient(func() error {
						_, err := b.API().Publish(ctx, d.Bytes())
						return err
					})
				}
				var r control.Request
				err := patient(func() (err error) {
					r, err = b.API().Submit(ctx, d.Bytes())
					return err
				})
				for start := time.Now(); err == nil && r.State == "accepted" && time.Since(start) < time.Minute; {
					r, err = b.API().Request(ctx, d.Hash(), time.Second)
				}
				return r.State, r.Reason, err
			},
		}
		done, start := 0, time.Now()
		for _, c := range cells {
			state, reason, err := s.Run(c)
			want := tables.StateRefused
			if c.Want() {
				want = tables.StateDone
				done++
			}
			if err != nil || state != want {
				t.Errorf("%s: %s (%s), %v; want %s", c, state, reason, err, want)
			}
		}
		t.Logf("%d cells, %d of them allowed, in %v of the world's time", len(cells), done, time.Since(start).Round(time.Second))
	})
}
