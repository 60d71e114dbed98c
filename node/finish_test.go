package node

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/policy"
	"github.com/vine-mesh/vine/tables"
)

// TestFinishNeedsALivingAuthority: a newcomer believes no enrolment of an authority whose key has
// ended or whose last head has, and says so.
func TestFinishNeedsALivingAuthority(t *testing.T) {
	for _, c := range []struct {
		name    string
		founded time.Duration // ago
		want    error
	}{
		{"now", 0, nil},
		{"head ended", policy.HeadLife + time.Hour, ErrSilentAuthority},
		{"key ended", 3 * 365 * 24 * time.Hour, ErrSilentAuthority},
		{"clock behind", -48 * time.Hour, ErrSilentAuthority},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Now()
			f, err := Found(now.Add(-c.founded), Founding{Name: "f", VR: "vr", Site: "s", UserName: "u", Rand: counting{}})
			if err != nil {
				t.Fatal(err)
			}
			identity := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
			seed := f.Keys["authority"]
			d, err := tables.Sign(tables.Enrolment{
				Version: 1, Router: 2, Name: "new", Site: "new", Identity: tables.PublicOf(identity),
				Blocks:    []netip.Prefix{netip.MustParsePrefix("10.200.0.0/24")},
				NotBefore: now.Unix(), NotAfter: now.AddDate(1, 0, 0).Unix(),
			}, ed25519.NewKeyFromSeed(seed[:]))
			if err != nil {
				t.Fatal(err)
			}
			dir, err := state.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			n := &newcomer{
				Joining:  Joining{State: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
				identity: identity, store: tables.NewStore(tables.Hash{}),
			}
			n.got = append(n.got, d.Bytes()) // the order does not matter
			for d := range f.View.Documents() {
				n.got = append(n.got, d.Bytes())
			}
			_, err = n.finish()
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			documents, _, lerr := dir.Load()
			if lerr != nil || (len(documents) > 0) != (c.want == nil) {
				t.Errorf("%d documents on disk, %v", len(documents), lerr)
			}
		})
	}
}

// counting is randomness that does not matter; every key must be another one all the same.
type counting struct{}

var countRead byte

func (counting) Read(p []byte) (int, error) {
	clear(p)
	countRead++
	p[0] = countRead
	return len(p), nil
}
