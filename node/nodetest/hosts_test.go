package nodetest_test

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/control"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

var always = context.Background()

func addHost(w *nodetest.World, s *nodetest.Site, ask control.HostAsk) control.LANHost {
	w.T.Helper()
	h, err := s.API().AddHost(always, ask)
	if err != nil {
		w.T.Fatal(err)
	}
	return h
}

// TestHostsLast: what was answered outlives kill -9, whatever is asked at the same time; a release too.
func TestHostsLast(t *testing.T) {
	inWorld(t, 40, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		const hosts = 30
		answers := make(chan control.LANHost, hosts)
		for i := range hosts {
			go func() {
				h, err := a.API().AddHost(always, control.HostAsk{Name: fmt.Sprintf("h%02d", i)})
				if err != nil {
					t.Error(err)
				}
				answers <- h
			}()
		}
		given := map[netip.Addr]string{}
		for range hosts {
			h := <-answers
			if other, twice := given[h.Addr]; twice || h.Addr == a.Joined.Blocks[0].Addr().Next() {
				t.Errorf("%v for %s, and for %q", h.Addr, h.Name, other)
			}
			given[h.Addr] = h.Name
		}
		if _, err := a.API().RemoveHost(always, "h07"); err != nil {
			t.Fatal(err)
		}
		before, _ := a.API().LANHosts(always)
		a.Kill()
		a.Start()
		after, err := a.API().LANHosts(always)
		if err != nil || len(after) != hosts-1 || !slices.EqualFunc(before, after, func(x, y control.LANHost) bool { return x.Name == y.Name && x.Addr == y.Addr }) {
			t.Errorf("before %v\nafter %v, %v", before, after, err)
		}
		next := addHost(w, a, control.HostAsk{Name: "next"})
		if name, had := given[next.Addr]; had {
			t.Errorf("the next host gets %v, which %s had, though others are free", next.Addr, name)
		}
		// They are among the hosts of all sites, though in no VN.
		all, _ := a.API().Hosts(always)
		if i := slices.IndexFunc(all, func(h control.Host) bool { return h.Name == "next" }); i < 0 || all[i].VN != "" || all[i].Addr != next.Addr {
			t.Errorf("hosts: %+v", all)
		}
		if six := addHost(w, a, control.HostAsk{Name: "six", IPv6: true}); !six.Addr.Is6() {
			t.Errorf("%+v", six)
		}
		for _, ask := range []control.HostAsk{{Name: "next", MAC: "02:00:00:00:00:01"}, {Name: "x", MAC: "ff"}, {Name: "X"}, {Name: "x", Addr: a.Joined.Blocks[0].Addr()}, {Name: "x", Addr: a.Joined.Blocks[0].Addr().Next()}} {
			if h, err := a.API().AddHost(always, ask); !errors.Is(err, control.ErrRefused) {
				t.Errorf("%+v: %+v, %v", ask, h, err)
			}
		}
		if _, err := a.API().RemoveHost(always, "nobody"); !errors.Is(err, control.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
	})
}

// TestHostsOnABadDisk: what cannot be written is refused and has not happened; when it can be written again, it can be asked
// again. A list that cannot be read is not written over.
func TestHostsOnABadDisk(t *testing.T) {
	inWorld(t, 41, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		path := filepath.Join(a.Dir, "hosts")
		if err := os.MkdirAll(filepath.Join(path, "in-the-way"), 0o700); err != nil {
			t.Fatal(err)
		}
		h, err := a.API().AddHost(always, control.HostAsk{Name: "desk"})
		if err == nil || errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "cannot be written") {
			t.Errorf("on a bad disk: %+v, %v", h, err)
		}
		if list, _ := a.API().LANHosts(always); len(list) != 0 {
			t.Errorf("it is there all the same: %+v", list)
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		addHost(w, a, control.HostAsk{Name: "desk"})
		a.Stop()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		torn := text[:len(text)/2]
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		a.Start()
		if _, err := a.API().AddHost(always, control.HostAsk{Name: "lamp"}); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("with a torn list: %v", err)
		}
		if problems := a.Status().Problems; !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, "list of hosts") }) {
			t.Errorf("problems: %q", problems)
		}
		if now, _ := os.ReadFile(path); string(now) != string(torn) {
			t.Error("the list that cannot be read was written over")
		}
	})
}

// TestMembersAreNotGivenAway: an address that is in a VN is given to nobody, whether or not the list has it.
func TestMembersAreNotGivenAway(t *testing.T) {
	inWorld(t, 42, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		first := a.Joined.Blocks[0].Addr().Next().Next()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{first}})
		desk := addHost(w, a, control.HostAsk{Name: "desk"})
		if desk.Addr != first.Next() {
			t.Errorf("desk gets %v, want %v", desk.Addr, first.Next())
		}
		w.Must(a, policy.OpVNJoin, policy.VNHostsArgs{VN: "blue", Hosts: []netip.Addr{desk.Addr}})
		removed, err := a.API().RemoveHost(always, "desk")
		if err != nil || !slices.Equal(removed.VNs, []string{"blue"}) {
			t.Errorf("removed %+v, %v", removed, err)
		}
		if lamp := addHost(w, a, control.HostAsk{Name: "lamp"}); lamp.Addr == desk.Addr {
			t.Errorf("lamp gets %v, which is in blue", lamp.Addr)
		}
		// One may name a member.
		if named := addHost(w, a, control.HostAsk{Name: "old", Addr: first}); !slices.Equal(named.VNs, []string{"blue"}) {
			t.Errorf("%+v", named)
		}
	})
}

// plant has documents signed by the authority put on its disk, as if they had come before.
func plant(w *nodetest.World, authority *nodetest.Site, bodies ...tables.Body) {
	w.T.Helper()
	authority.Stop()
	dir, err := state.Open(authority.Dir)
	if err != nil {
		w.T.Fatal(err)
	}
	if _, _, err := dir.Load(); err != nil { // it finds out which number the next bundle has
		w.T.Fatal(err)
	}
	seed, ok, err := dir.Key("authority")
	if err != nil || !ok {
		w.T.Fatal(err)
	}
	for _, b := range bodies {
		d, err := tables.Sign(b, ed25519.NewKeyFromSeed(seed[:]))
		if err != nil {
			w.T.Fatal(err)
		}
		if err := dir.Append(d.Bytes()); err != nil {
			w.T.Fatal(err)
		}
	}
	if err := dir.Close(); err != nil {
		w.T.Fatal(err)
	}
	authority.Start()
}

func identityOf(w *nodetest.World, s *nodetest.Site) tables.PublicKey {
	w.T.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "identity.key"))
	if err != nil {
		w.T.Fatal(err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		w.T.Fatal(err)
	}
	return tables.PublicOf(ed25519.NewKeyFromSeed(seed))
}

// TestHostsClearedBySite: a host asks to be in a VN. Where the site lets its VR clear that, it gets an address and is in;
// elsewhere it waits for a person.
func TestHostsClearedBySite(t *testing.T) {
	inWorld(t, 43, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{a.NewHost(), b.NewHost()}})
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "red", Hosts: []netip.Addr{a.NewHost()}}) // none of beta's
		w.UntilInstalled("blue", 1, 10*time.Second, a, b)
		mac, seen := "02:00:5e:10:00:01", netip.MustParseAddr("192.168.1.20")

		// Nobody has given beta's VR a right: a person has to clear it.
		first, err := b.Node.FileHost(always, "02:00:5e:10:00:01", seen, "desk", "blue")
		if err != nil || first.State != "waiting" {
			t.Fatalf("%+v, %v", first, err)
		}
		w.Settle(time.Minute)
		if list, _ := b.API().HostRequests(always); len(list) != 1 || list[0].State != "waiting" || list[0].MAC != mac {
			t.Fatalf("without a right of the VR: %+v", list)
		}
		// With one, and the site's consent, it is done. It has waited through a restart.
		plant(w, a,
			tables.Grant{Version: 1, User: identityOf(w, b), Name: "beta-vr", Role: tables.RoleEU, Scope: "site/beta", NotAfter: time.Now().AddDate(1, 0, 0).Unix()},
			tables.Site{Version: 9, Name: "beta", Consent: "open"},
		)
		b.Kill()
		b.Start()
		w.Eventually("desk is in blue", time.Minute, func() bool {
			list, err := b.API().LANHosts(always)
			return err == nil && len(list) == 1 && list[0].Name == "desk" && slices.Equal(list[0].VNs, []string{"blue"})
		})
		if list, _ := b.API().HostRequests(always); len(list) != 0 {
			t.Errorf("requests that are fulfilled: %+v", list)
		}
		// What the right does not cover waits: red has no part at beta.
		if _, err := b.Node.FileHost(always, "02:00:5e:10:00:02", seen, "", "red"); err != nil {
			t.Fatal(err)
		}
		// What it covers is done at once, now.
		if _, err := b.Node.FileHost(always, "02:00:5e:10:00:03", seen, "", "blue"); err != nil {
			t.Fatal(err)
		}
		w.Eventually("the third machine is in blue", time.Minute, func() bool {
			s := b.Node.Standing("02:00:5e:10:00:03", seen)
			return len(s.Hosts) == 1 && slices.Equal(s.Hosts[0].VNs, []string{"blue"}) && len(s.Requests) == 0
		})
		s := b.Node.Standing("02:00:5e:10:00:02", seen)
		if len(s.Hosts) != 0 || len(s.Requests) != 1 || s.Requests[0].State != "waiting" {
			t.Errorf("%+v", s)
		}
		// A person approves what waits; denies what should not be.
		r, err := b.API().AnswerHost(always, s.Requests[0].ID, control.HostVerdict{Approve: true, Name: "lamp"})
		if err != nil || r.State != "approved" || !r.Addr.IsValid() {
			t.Fatalf("%+v, %v", r, err)
		}
		w.Must(a, policy.OpVNJoin, policy.VNHostsArgs{VN: "red", Hosts: []netip.Addr{r.Addr}})
		w.Eventually("lamp is in red", time.Minute, func() bool {
			list, _ := b.API().HostRequests(always)
			return len(list) == 0
		})
	})
}

// TestHostRefusedByAuthority: the authority has the last word, and the host sees it.
func TestHostRefusedByAuthority(t *testing.T) {
	inWorld(t, 44, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "blue", Hosts: []netip.Addr{a.NewHost(), b.NewHost()}})
		w.UntilInstalled("blue", 1, 10*time.Second, a, b)
		plant(w, a,
			tables.Grant{Version: 1, User: identityOf(w, b), Name: "beta-vr", Role: tables.RoleEU, Scope: "site/beta", NotAfter: time.Now().AddDate(1, 0, 0).Unix()},
			tables.Site{Version: 9, Name: "beta", Consent: "open"},
		)
		w.Eventually("beta knows its right", time.Minute, func() bool { return nodetest.Same(a, b) })
		// The site changes its mind while beta is cut off: beta does not know of it, the authority does.
		w.Net.Cut(a.Host, b.Host)
		plant(w, a, tables.Site{Version: 10, Name: "beta", Consent: "never"})
		seen := netip.MustParseAddr("192.168.1.20")
		if _, err := b.Node.FileHost(always, "02:00:5e:10:00:01", seen, "", "blue"); err != nil {
			t.Fatal(err)
		}
		w.Settle(time.Minute)
		if s := b.Node.Standing("02:00:5e:10:00:01", seen); len(s.Requests) != 1 || s.Requests[0].State != "approved" || len(s.Hosts) != 1 {
			t.Fatalf("while the authority is away: %+v", s)
		}
		w.Net.Join(a.Host, b.Host)
		w.Eventually("the host sees the refusal", 5*time.Minute, func() bool {
			s := b.Node.Standing("02:00:5e:10:00:01", seen)
			return len(s.Requests) == 1 && s.Requests[0].State == "denied" && strings.Contains(s.Requests[0].Reason, "lets none of its hosts into VNs") && len(s.Hosts[0].VNs) == 0
		})
	})
}
