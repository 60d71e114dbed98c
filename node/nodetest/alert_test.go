package nodetest_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/notify"
	"github.com/vine-mesh/vine/policy"
)

// A pager notes what people are told.
type pager struct {
	mu   sync.Mutex // guards list
	list []string
}

func (p *pager) Tell(n notify.Notice) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, strings.TrimSpace(fmt.Sprintf("%s %s %s", n.State, n.Kind, n.Subject)))
}

func (p *pager) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

func (p *pager) Statuses() []notify.Status                          { return nil }
func (p *pager) Try(context.Context, notify.Notice) []notify.Status { return nil }

// TestSilentVRIsTold: people are told once when a VR dies without a word, and once when it is back; not when one leaves, nor when one
// is away for a moment.
func TestSilentVRIsTold(t *testing.T) {
	inWorld(t, 91, func(t *testing.T, w *nodetest.World) {
		sites := w.Prepared(5)
		p := &pager{}
		sites[0].Stop()
		sites[0].Alerts = p
		sites[0].Start()
		time.Sleep(time.Minute)

		sites[1].Kill()
		sites[1].Start()
		sites[2].Stop()
		time.Sleep(3 * time.Minute)
		if got := p.told(); len(got) != 0 {
			t.Errorf("told of what is nothing: %v", got)
		}
		name := sites[3].Name
		sites[3].Kill()
		took := w.Eventually("somebody is told", 2*time.Minute, func() bool { return len(p.told()) > 0 })
		t.Logf("NUMBER told of a dead VR after %v", took)
		time.Sleep(10 * time.Minute)
		sites[3].Start()
		w.Eventually("the alert is over", 3*time.Minute, func() bool { return len(p.told()) > 1 })
		time.Sleep(5 * time.Minute)
		if got, want := p.told(), []string{"raised vr-silent " + name, "cleared vr-silent " + name}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		if a, err := sites[0].API().Alerts(t.Context()); err != nil || len(a.Alerts) != 0 {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// TestForkedSigner: an authority that is restored from a backup and signs, before it hears of anybody, what it has signed otherwise
// already, changes nothing at the others: they keep what they had, say that a signer is at fault, and people are told.
func TestForkedSigner(t *testing.T) {
	inWorld(t, 92, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b, c := w.Join("beta", a), w.Join("gamma", a)
		pagers := map[*nodetest.Site]*pager{b: {}, c: {}}
		for s, p := range pagers {
			s.Stop()
			s.Alerts = p
			s.Start()
		}
		time.Sleep(time.Minute)
		a.Stop()
		backup := t.TempDir()
		if out, err := exec.Command("cp", "-a", a.Dir+"/.", backup).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		a.Start()
		ha, hb, hc := a.NewHost(), b.NewHost(), c.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{hb, hc}})
		w.UntilInstalled("blue", 1, time.Minute, b, c)
		a.Stop()

		for _, s := range []*nodetest.Site{b, c} {
			w.Net.Cut(a.Host, s.Host)
		}
		a.Dir = backup
		a.Start()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "green", Hosts: []netip.Addr{ha, hb}})
		w.Net.Heal()
		w.Eventually("both tell people", 5*time.Minute, func() bool { return len(pagers[b].told()) > 0 && len(pagers[c].told()) > 0 })
		time.Sleep(5 * time.Minute)
		for s, p := range pagers {
			if !slices.ContainsFunc(p.told(), func(line string) bool { return strings.HasPrefix(line, "raised equivocation vn:") }) {
				t.Errorf("%s tells %v", s.Name, p.told())
			}
			if s.Installed("blue") != 1 || s.Installed("green") != 0 {
				t.Errorf("%s has blue %d and green %d", s.Name, s.Installed("blue"), s.Installed("green"))
			}
		}
		if !w.Reaches(b, hb, c, hc, 10*time.Second) {
			t.Error("the VN that was signed first carries nothing")
		}
	})
}
