//go:build linux

package netns_test

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tests/netns"
)

// A pair is two sites of the matrix.
type pair struct{ from, to *netns.Site }

// A reachMatrix is a federation with two public queue-VRs and two sites of each kind, so that each kind
// meets itself too.
type reachMatrix struct {
	f      *netns.Federation
	first  []*netns.Site // by kind
	second []*netns.Site // by kind: meets the first of its own kind only
}

// reachKinds are the kinds of the matrix: all at night, five otherwise; those of the environment variable VINE_KINDS
// if that is set, by their names, with semicolons between.
func reachKinds(t *testing.T) []netns.Kind {
	only := os.Getenv("VINE_KINDS")
	switch {
	case only != "":
	case night() || updating():
		return netns.Kinds()
	default:
		return []netns.Kind{netns.PortRestricted, netns.Symmetric, netns.UDPBlocked, netns.HTTPProxyOnly, netns.IPv6Only}
	}
	var list []netns.Kind
	for name := range strings.SplitSeq(only, ";") {
		before := len(list)
		for _, k := range netns.Kinds() {
			if k.String() == strings.TrimSpace(name) {
				list = append(list, k)
			}
		}
		if len(list) == before {
			t.Fatalf("VINE_KINDS: %q is no kind", name)
		}
	}
	return list
}

// TestReachMatrix: a site of any kind exchanges pings and a file with a site of any kind, its own included. All
// have joined through one address.
//
// With -update it writes docs/paths.md from what `vine links` says at both sites.
func TestReachMatrix(t *testing.T) {
	kinds := reachKinds(t)
	m := &reachMatrix{f: netns.New(t)}
	for range 2 {
		enrol(t, m.f, netns.SiteOption{Tables: netns.Streams})
	}
	for range 2 {
		for _, k := range kinds {
			m.f.AddSite(t, netns.SiteOption{Kind: k, Tables: tablesOf(k)})
		}
	}
	m.first, m.second = m.f.Sites[2:2+len(kinds)], m.f.Sites[2+len(kinds):]
	if !t.Run("join", m.join) {
		t.FailNow()
	}
	size := 1 << 20
	if night() {
		size = 100_000_000
	}
	dir := t.TempDir()
	netns.RandomFile(t, filepath.Join(dir, "page"), size)
	for _, s := range m.f.Sites[2:] {
		netns.ServeHTTP(t, s.LAN.Hosts[0], s.Addr4(t, 0), dir)
	}
	ok := t.Run("exchange", func(t *testing.T) { m.exchange(t, size, sumOf(t, filepath.Join(dir, "page"))) })
	cells := m.paths(t, kinds)
	t.Logf("NUMBER the paths of %d kinds:\n%s", len(kinds), pathTable(kinds, cells))
	if *update {
		if !ok || len(kinds) != len(netns.Kinds()) {
			t.Fatal("docs/paths.md is written after a whole and good run only")
		}
		writePaths(t, kinds, cells)
	}
}

// tablesOf is a site's configuration: a public one is reached by TCP and TLS too.
func tablesOf(k netns.Kind) string {
	if k.Limited() {
		return ""
	}
	return netns.Streams
}

// join has all sites join through the founder's address, put their hosts into one VN, and set these up.
func (m *reachMatrix) join(t *testing.T) {
	founder := m.f.Sites[0]
	var joined atomic.Int32
	if !t.Run("sites", func(t *testing.T) {
		for _, s := range m.f.Sites[2:] {
			t.Run(s.Name+" "+s.Kind.String(), func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				s.Join(t, founder.SeedFor(s))
				s.Up(t)
				t.Logf("NUMBER %d of %d: %s, %v, is up after %s", joined.Add(1), len(m.f.Sites)-2, s.Name, s.Kind, inSeconds(time.Since(start)))
			})
		}
	}) {
		return
	}
	var hosts []string
	for _, s := range m.f.Sites {
		hosts = append(hosts, s.Addr4(t, 0).String())
	}
	createVN(t, m.f, "blue", hosts...)
	for _, s := range m.f.Sites {
		s.SetUpHost(t, 0, s.Addr4(t, 0))
	}
}

// pairs returns every unordered pair of the matrix: each two kinds by their first sites, each kind with itself by
// its two.
func (m *reachMatrix) pairs() (list []pair) {
	for i, a := range m.first {
		for _, b := range m.first[i+1:] {
			list = append(list, pair{a, b})
		}
		list = append(list, pair{a, m.second[i]})
	}
	return list
}

// exchange has each pair ping and fetch a file both ways.
func (m *reachMatrix) exchange(t *testing.T, size int, sum [32]byte) {
	pairs := m.pairs()
	var done atomic.Int32
	for _, p := range pairs {
		t.Run(p.from.Kind.String()+" with "+p.to.Kind.String(), func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			for _, way := range []pair{p, {p.to, p.from}} {
				netns.AwaitPing(t, way.from.LAN.Hosts[0], way.to.Addr4(t, 0), 60*time.Second)
			}
			ping := time.Since(start)
			for _, way := range []pair{p, {p.to, p.from}} {
				got := netns.FetchWithin(t, way.from.LAN.Hosts[0], way.to.Addr4(t, 0), "page", 20*time.Minute)
				if sumOf(t, got) != sum {
					t.Errorf("%s has fetched another file than %s serves", way.from.Name, way.to.Name)
				}
			}
			t.Logf("NUMBER %d of %d: %v with %v: pings both ways after %s, two files of %.0f MB after %s", done.Add(1), len(pairs),
				p.from.Kind, p.to.Kind, inSeconds(ping), float64(size)/1e6, inSeconds(time.Since(start)))
		})
	}
}

// sumOf returns the SHA-256 of a file.
func sumOf(t *testing.T, path string) (sum [32]byte) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		t.Fatal(err)
	}
	h.Sum(sum[:0])
	return sum
}
