//go:build linux

package netns_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tests/netns"
)

// A promise is what a client was told of one thing that it asked for.
type promise struct {
	what     string
	at       *netns.Site // where it was asked for
	id       tables.Hash
	accepted bool
	state    string
	vn       string     // of a vn.join
	host     netip.Addr // likewise
	invite   tables.PublicKey
}

// promises are all of them.
type promises struct {
	mu      sync.Mutex
	asked   []*promise
	hosts   map[string]map[string]bool // by site: names that were told to be there or not; absent: not known
	running sync.WaitGroup
}

// TestKill: two VRs, one of which is the authority, are killed by SIGKILL again and again while people ask for changes at both. Whatever a
// client was told is so after the restart, no version and no boot count goes back, and an invite admits once.
func TestKill(t *testing.T) {
	waits(t)
	kills := 10
	if os.Getenv("VINE_NIGHT") != "" {
		kills = 500
	}
	f := netns.New(t)
	a := f.AddSite(t, netns.SiteOption{Tables: "[authority]\nauto_admit = \"invite\"\n"})
	a.Init(t)
	a.Up(t)
	b := f.AddSite(t, netns.SiteOption{Tables: "[authority]\nauto_admit = \"invite\"\n"})
	b.Join(t, a.Seed(), "--invite", strings.TrimSpace(a.Vine(t, "invite", "-q")))
	b.Up(t)
	for _, name := range []string{"blue", "red"} {
		createVN(t, f, name, a.Addr4(t, 0).String(), b.Addr4(t, 0).String())
	}
	user := readKey(t, filepath.Join(a.State(), "user.key"))
	federation, root := rootOf(t, a)
	sites := []*netns.Site{a, b}
	rng := mathrand.New(mathrand.NewPCG(5, uint64(time.Now().UnixNano())))
	p := &promises{hosts: map[string]map[string]bool{a.Name: {}, b.Name: {}}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for i, s := range sites {
		p.running.Go(func() { p.people(ctx, t, s, i, user, kills) })
		p.running.Go(func() { p.hosting(ctx, s) })
	}
	p.running.Go(func() { p.redeem(ctx, t, sites, user, federation, root.Authorities[0].Key) })

	boots, versions := map[string]uint64{}, map[string]uint64{}
	look := func(s *netns.Site) {
		t.Helper()
		c := control.NewClient(s.Socket())
		status, err := c.Status(ctx)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if status.Boot <= boots[s.Name] {
			t.Errorf("%s: boot count %d after %d", s.Name, status.Boot, boots[s.Name])
		}
		boots[s.Name] = status.Boot
		list, err := c.VNs(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, vn := range list {
			key := s.Name + " " + vn.Name
			if vn.Version < versions[key] || vn.Installed != 0 && vn.Installed != vn.Version {
				t.Errorf("%s: version %d, installed %d, was %d", key, vn.Version, vn.Installed, versions[key])
			}
			versions[key] = vn.Version
		}
		p.kept(ctx, t, s)
	}
	look(a)
	look(b)
	start := time.Now()
	for range kills {
		netns.Pause(time.Duration(rng.IntN(300)) * time.Millisecond)
		s := sites[rng.IntN(2)]
		s.Kill()
		s.Up(t)
		look(s)
		if t.Failed() {
			break
		}
	}
	took := time.Since(start)
	stop()
	p.running.Wait()
	p.settle(t, sites)
	accepted, done := 0, 0
	for _, q := range p.asked {
		if q.accepted {
			accepted++
		}
		if q.state == tables.StateDone {
			done++
		}
	}
	t.Logf("NUMBER kill -9: %d in %.0f s; %d requests accepted, %d of them done; all kept", kills, took.Seconds(), accepted, done)
	if done < kills/2 {
		t.Errorf("only %d requests were done: the test shows little", done)
	}
}

func readKey(t *testing.T, path string) ed25519.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// rootOf returns the first root that a site has.
func rootOf(t *testing.T, s *netns.Site) (tables.Hash, tables.Root) {
	t.Helper()
	list, err := control.NewClient(s.Socket()).Documents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range list {
		if d, err := tables.ParseDocument(b); err == nil && d.Key() == tables.RootKey(1) {
			return d.Hash(), d.Body().(tables.Root)
		}
	}
	t.Fatal("no root")
	return tables.Hash{}, tables.Root{}
}

// ask hands a request in and waits for its outcome, as the command does, and notes what it was told. Who is told nothing, since the VR
// was killed, does not ask again.
func (p *promises) ask(ctx context.Context, t *testing.T, q *promise, key ed25519.PrivateKey, op string, args any) {
	d, err := policy.NewRequest(time.Now(), rand.Reader, key, op, args)
	if err != nil {
		t.Error(err)
		return
	}
	q.what, q.id = op, d.Hash()
	p.mu.Lock()
	p.asked = append(p.asked, q)
	p.mu.Unlock()
	c := control.NewClient(q.at.Socket())
	note := func(r control.Request, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err == nil {
			q.accepted = true
			if r.State == tables.StateDone || r.State == tables.StateRefused {
				q.state = r.State
			}
		}
	}
	r, err := c.Submit(ctx, d.Bytes())
	note(r, err)
	if err == nil && q.state == "" {
		note(c.Request(ctx, q.id, 3*time.Second))
	}
}

// people has hosts join the two VNs, each once.
func (p *promises) people(ctx context.Context, t *testing.T, s *netns.Site, number int, user ed25519.PrivateKey, kills int) {
	block := s.Addr4(t, 0).As4()
	for i := 0; i < 220 && ctx.Err() == nil; i++ {
		block[3] = byte(20 + i)
		q := &promise{at: s, vn: []string{"blue", "red"}[i%2], host: netip.AddrFrom4(block)}
		p.ask(ctx, t, q, user, policy.OpVNJoin, policy.VNHostsArgs{VN: q.vn, Hosts: []netip.Addr{q.host}})
		// Some go on all the time, whatever the number of kills.
		pause := 20 * time.Millisecond
		if kills > 100 {
			pause = time.Duration(kills) * 2 * time.Millisecond
		}
		rest(ctx, pause)
	}
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hosting has hosts entered into the list of a VR and taken out again.
func (p *promises) hosting(ctx context.Context, s *netns.Site) {
	c := control.NewClient(s.Socket())
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("desk%d", i%7)
		p.mu.Lock()
		there, known := p.hosts[s.Name][name]
		delete(p.hosts[s.Name], name) // until there is an answer
		p.mu.Unlock()
		var err error
		if known && there {
			_, err = c.RemoveHost(ctx, name)
			there = false
		} else {
			_, err = c.AddHost(ctx, control.HostAsk{Name: name}) // twice the same is once
			there = true
		}
		if err == nil {
			p.mu.Lock()
			p.hosts[s.Name][name] = there
			p.mu.Unlock()
		}
		rest(ctx, 15*time.Millisecond)
	}
}

// redeem has each of a few invites brought by three identities at once, at both VRs.
func (p *promises) redeem(ctx context.Context, t *testing.T, sites []*netns.Site, user ed25519.PrivateKey, federation tables.Hash, authority tables.PublicKey) {
	for i := 0; i < 12 && ctx.Err() == nil; i++ {
		token, err := tables.NewToken(rand.Reader, tables.Invite{Authority: authority, NotAfter: time.Now().Add(time.Hour).Unix()}, user)
		if err != nil {
			t.Error(err)
			return
		}
		var group sync.WaitGroup
		for j := range 3 {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Error(err)
				return
			}
			q := &promise{at: sites[j%2], invite: token.Invite().Key}
			link := tables.LinkKey{1: byte(i), 2: byte(j), 3: 1}
			group.Go(func() {
				p.ask(ctx, t, q, key, policy.OpJoin, policy.JoinArgs{
					Name: fmt.Sprintf("new%d-%d", i, j), Site: "elsewhere", Link: link,
					Invite: token.Document().Bytes(), Proof: token.Prove(federation, tables.PublicOf(key)),
				})
			})
		}
		group.Wait()
		rest(ctx, 200*time.Millisecond)
	}
}

// kept fails the test if a VR that has just been started lacks something that a client was told there.
func (p *promises) kept(ctx context.Context, t *testing.T, s *netns.Site) {
	t.Helper()
	p.mu.Lock()
	var asked []promise
	for _, q := range p.asked {
		if q.at == s && q.accepted {
			asked = append(asked, *q)
		}
	}
	wanted := map[string]bool{}
	for name, there := range p.hosts[s.Name] {
		wanted[name] = there
	}
	p.mu.Unlock()
	c := control.NewClient(s.Socket())
	list, err := c.LANHosts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	for name, there := range wanted {
		if still, known := p.hosts[s.Name][name]; !known || still != there {
			continue // it is being changed
		}
		found := false
		for _, h := range list {
			found = found || h.Name == name
		}
		if found != there {
			t.Errorf("%s: host %s is there: %v; acknowledged: %v", s.Name, name, found, there)
		}
	}
	p.mu.Unlock()
	for _, q := range asked[max(0, len(asked)-40):] {
		r, err := c.Request(ctx, q.id, 0)
		if err != nil {
			t.Errorf("%s: %s %x was accepted and is lost: %v", s.Name, q.what, q.id[:4], err)
			continue
		}
		if q.state != "" && r.State != q.state {
			t.Errorf("%s: %s %x was acknowledged as %s and is %s", s.Name, q.what, q.id[:4], q.state, r.State)
		}
		if q.state == tables.StateDone && q.vn != "" {
			vn, err := c.VN(ctx, q.vn)
			if err != nil {
				t.Fatal(err)
			}
			member := false
			for _, h := range vn.Hosts {
				member = member || h.Addr == q.host
			}
			if !member {
				t.Errorf("%s: %v was acknowledged as a member of %s and is none", s.Name, q.host, q.vn)
			}
		}
	}
}

// settle waits until every accepted request has its outcome, and looks at all that was ever promised.
func (p *promises) settle(t *testing.T, sites []*netns.Site) {
	t.Helper()
	ctx := t.Context()
	admitted := map[tables.PublicKey]int{}
	for _, q := range p.asked {
		if !q.accepted {
			continue
		}
		var r control.Request
		netns.Await(t, "the outcome of an accepted request", 90*time.Second, func() bool {
			var err error
			r, err = control.NewClient(q.at.Socket()).Request(ctx, q.id, time.Second)
			return err == nil && (r.State == tables.StateDone || r.State == tables.StateRefused)
		})
		if q.state != "" && r.State != q.state {
			t.Errorf("%s was acknowledged as %s and is %s", q.what, q.state, r.State)
		}
		q.state = r.State
		if q.invite != (tables.PublicKey{}) && r.State == tables.StateDone {
			if admitted[q.invite]++; admitted[q.invite] > 1 {
				t.Error("an invite has admitted two VRs")
			}
		}
	}
	for _, s := range sites {
		p.kept(ctx, t, s)
	}
}
