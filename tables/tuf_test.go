package tables_test

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// put puts d from the network and checks the outcome and, when want is not nil, the error.
func put(t *testing.T, s *tables.Store, now time.Time, d *tables.Document, outcome tables.Outcome, want error) {
	t.Helper()
	o, err := s.Put(now, d, tables.FromNetwork)
	if o != outcome || !errors.Is(err, want) {
		t.Fatalf("put %s version %d: %s, %v; want %s, %v", d.Key(), d.Version(), o, err, outcome, want)
	}
}

// rotate returns root 2 of f: the authority key replaced by a new one.
func rotate(f *tablestest.Federation) (*tables.Document, ed25519.PrivateKey) {
	fresh := f.Key()
	r := f.RootBody()
	r.Version = 2
	r.Authorities = []tables.AuthorityKey{{Key: tables.PublicOf(fresh), NotAfter: f.Now.AddDate(5, 0, 0).Unix()}}
	return tablestest.Sign(r, f.RootKeys...), fresh
}

// enrolment returns version v of the enrolment of a VR that f has not enrolled.
func enrolment(f *tablestest.Federation, v uint64) tables.Enrolment {
	g := tablestest.New(99, 9) // for a key and a block
	e := f.Enrolment(g.Router(9))
	e.Version, e.Blocks = v, e.Blocks[:1]
	return e
}

// The scenarios of theupdateframework/tuf-conformance, as they are for one verifier of documents.
func TestTUF(t *testing.T) {
	now := tablestest.Epoch
	tests := []struct {
		name string
		run  func(t *testing.T, f *tablestest.Federation, s *tables.Store)
	}{
		{"arbitrary software: nobody's signature", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			d := tablestest.Sign(enrolment(f, 1), f.Key())
			put(t, s, now, d, tables.Held, tables.ErrSigner)
			s.Skip("signer")
			put(t, s, now, d, tables.Kept, nil)
		}},
		{"wrong role: a VR signs an enrolment", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			put(t, s, now, tablestest.Sign(enrolment(f, 1), f.Router(1).Identity), tables.Held, tables.ErrSigner)
		}},
		{"wrong role: the root key signs an enrolment", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			put(t, s, now, tablestest.Sign(enrolment(f, 1), f.RootKeys[0]), tables.Held, tables.ErrSigner)
		}},
		{"wrong role: the authority signs a link record", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			r, _ := f.View().LinkRecord(1)
			r.Version++
			d := tablestest.Sign(r, f.Authority)
			put(t, s, now, d, tables.Refused, tables.ErrSigner)
			s.Skip("signer")
			put(t, s, now, d, tables.Kept, nil)
		}},
		{"wrong role: a VR signs another's link record", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			r, _ := f.View().LinkRecord(1)
			r.Version++
			put(t, s, now, tablestest.Sign(r, f.Router(2).Identity), tables.Refused, tables.ErrSigner)
		}},
		{"relabelled kind", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			e, err := tables.SealBody(tables.Manifest{Version: 1, VN: 1}, f.Authority)
			if err != nil {
				t.Fatal(err)
			}
			e.Kind = tables.KindHead
			if _, err := e.Document(); err == nil {
				t.Fatal("a manifest passes as a head")
			}
		}},
		{"rollback", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			v1 := f.View().Get(tables.LinkRecordKey(1))
			put(t, s, now, f.SignLink(f.Router(1), nil), tables.Kept, nil)
			put(t, s, now, v1, tables.Stale, nil)
			if s.Get(v1.Key()).Version() == v1.Version() {
				t.Fatal("rolled back")
			}
			s.Skip("rollback")
			put(t, s, now, v1, tables.Kept, nil)
		}},
		{"rollback by an older disk", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			old := slices.Collect(s.Documents())
			put(t, s, now, f.SignLink(f.Router(1), nil), tables.Kept, nil)
			again := tables.NewStore(f.View().FederationID())
			again.SetHighWater(s.HighWater())
			if errs := again.Load(now, old, tables.FromDisk); len(errs) > 0 {
				t.Fatal(errs)
			}
			if d := again.Get(tables.LinkRecordKey(1)); d != nil {
				t.Fatalf("version %d is back", d.Version())
			}
			if _, ok := again.LinkRecord(2); !ok {
				t.Fatal("what is at its mark was not taken")
			}
		}},
		{"equal version, other content", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			r, _ := f.View().LinkRecord(1)
			r.Draining = true
			d := tablestest.Sign(r, f.Router(1).Identity)
			put(t, s, now, d, tables.Equivocation, nil)
			put(t, s, now, d, tables.Equivocation, nil)
			got, _ := s.LinkRecord(1)
			if ev, _ := s.Evidence(); len(ev) != 1 || ev[0].Refused != d || got.Draining {
				t.Fatalf("evidence %v, draining %v", ev, got.Draining)
			}
		}},
		{"freeze: the head has expired", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			later := now.AddDate(0, 0, 31)
			d := tablestest.Sign(enrolment(f, 1), f.Authority)
			if s.TrustStale(now) || !s.TrustStale(later) {
				t.Fatal("stale at the wrong time")
			}
			put(t, s, later, d, tables.Held, tables.ErrStale)
			put(t, s, later, f.SignLink(f.Router(1), nil), tables.Kept, nil) // all else goes on
			f.Now = later
			put(t, s, later, f.SignHead(), tables.Kept, nil)
			if s.Get(d.Key()) == nil {
				t.Fatal("not kept when the head came")
			}
		}},
		{"freeze, defence off", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			s.Skip("freeze")
			put(t, s, now.AddDate(0, 0, 31), tablestest.Sign(enrolment(f, 1), f.Authority), tables.Kept, nil)
		}},
		{"freeze: the grace of five minutes", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			h, _ := s.Head(tables.PublicOf(f.Authority))
			end := time.Unix(h.Expires, 0)
			if s.TrustStale(end.Add(4*time.Minute)) || !s.TrustStale(end.Add(6*time.Minute)) {
				t.Fatal("the grace is not five minutes")
			}
		}},
		{"a head from the future", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			f.Now = now.Add(time.Hour)
			put(t, s, now, f.SignHead(), tables.Refused, tables.ErrExpired)
		}},
		{"an older head", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			old := f.View().Get(tables.HeadKey(tables.PublicOf(f.Authority)))
			put(t, s, now, f.SignHead(), tables.Kept, nil)
			put(t, s, now, old, tables.Stale, nil)
		}},
		{"mix and match: the head tells", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			f.Put(enrolment(f, 1), f.Authority)
			put(t, s, now, f.SignHead(), tables.Kept, nil)
			if s.HeadMatches(tables.PublicOf(f.Authority)) {
				t.Fatal("matches with an enrolment hidden")
			}
			put(t, s, now, f.View().Get(tables.EnrolmentKey(9)), tables.Kept, nil)
			if !s.HeadMatches(tables.PublicOf(f.Authority)) {
				t.Fatal("does not match with all there")
			}
		}},
		{"fast forward of an enrolment, and recovery", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			e := enrolment(f, 1)
			put(t, s, now, tablestest.Sign(e, f.Authority), tables.Kept, nil)
			e.Version = 1<<64 - 1
			put(t, s, now, tablestest.Sign(e, f.Authority), tables.Kept, nil)
			root2, fresh := rotate(f)
			e.Version = 2
			recovered := tablestest.Sign(e, fresh)
			put(t, s, now, recovered, tables.Stale, nil)
			put(t, s, now, root2, tables.Kept, nil)
			put(t, s, now, head(f, s, fresh, now), tables.Kept, nil)
			put(t, s, now, recovered, tables.Kept, nil)
		}},
		{"fast forward of a VN, and recovery", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			vn := tables.VN{Version: 1<<64 - 1, ID: 1, Name: "red", State: tables.VNActive, Home: tables.PublicOf(f.Authority), Seal: tables.SealAuth}
			put(t, s, now, tablestest.Sign(vn, f.Authority), tables.Kept, nil)
			root2, fresh := rotate(f)
			vn.Version, vn.Home = 1, tables.PublicOf(fresh)
			put(t, s, now, root2, tables.Kept, nil)
			put(t, s, now, tablestest.Sign(vn, fresh), tables.Kept, nil)
		}},
		{"fast forward of a head, and recovery", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			h := tables.BuildHead(s.Snapshot(), tables.PublicOf(f.Authority), now.Unix(), now.Unix()+3600)
			h.Version = 1<<64 - 1
			put(t, s, now, tablestest.Sign(h, f.Authority), tables.Kept, nil)
			root2, fresh := rotate(f)
			put(t, s, now, root2, tables.Kept, nil)
			if !s.TrustStale(now) {
				t.Fatal("a retired key's head still counts")
			}
			put(t, s, now, head(f, s, fresh, now), tables.Kept, nil)
			if s.TrustStale(now) {
				t.Fatal("no recovery")
			}
		}},
		{"endless data", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			b := append([]byte{0xa3, 0x01, 0x02, 0x02, 0x5a, 0x40, 0, 0, 0}, make([]byte, 8<<20)...)
			allocated := testing.AllocsPerRun(10, func() {
				if _, _, err := tables.ParseEnvelope(b); !errors.Is(err, tables.ErrTooBig) {
					t.Fatal(err)
				}
			})
			if allocated > 100 {
				t.Fatalf("%v allocations", allocated)
			}
		}},
		{"key rotation: the retired key signs no more", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			root2, fresh := rotate(f)
			put(t, s, now, root2, tables.Kept, nil)
			put(t, s, now, tablestest.Sign(enrolment(f, 1), f.Authority), tables.Refused, tables.ErrSigner)
			if _, ok := s.Enrolment(1); ok {
				t.Fatal("what only the retired key signed still counts")
			}
			put(t, s, now, head(f, s, fresh, now), tables.Kept, nil)
			put(t, s, now, tablestest.Sign(enrolment(f, 1), fresh), tables.Kept, nil)
		}},
		{"key rotation: cached documents are verified again", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			root2, _ := rotate(f)
			again := tables.NewStore(s.FederationID())
			errs := again.Load(now, append(slices.Collect(s.Documents()), root2), tables.FromDisk)
			if len(errs) == 0 || len(again.Enrolments()) != 0 {
				t.Fatalf("%d errors, %d enrolments", len(errs), len(again.Enrolments()))
			}
		}},
		{"key rotation: signed by the new key beforehand", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			root2, fresh := rotate(f)
			e := f.Enrolment(f.Router(1))
			e.Version = 2
			put(t, s, now, tablestest.Sign(e, fresh), tables.Held, tables.ErrNotYet)
			put(t, s, now, head(f, s, fresh, now), tables.Held, tables.ErrNotYet)
			put(t, s, now, root2, tables.Kept, nil)
			if got, ok := s.Enrolment(1); !ok || got.Version != 2 {
				t.Fatalf("%+v, %v", got, ok)
			}
		}},
		{"expired authority key", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			later := now.AddDate(5, 0, 1)
			d := tablestest.Sign(tables.Site{Version: 1, Name: "a", Consent: "ask"}, f.Authority)
			put(t, s, later, d, tables.Held, tables.ErrExpired)
			if o, err := s.Put(later, d, tables.FromDisk); o != tables.Kept {
				t.Fatalf("from disk: %s, %v", o, err)
			}
			s.Skip("expiry")
			put(t, s, later, tablestest.Sign(tables.Site{Version: 1, Name: "b", Consent: "ask"}, f.Authority), tables.Kept, nil)
		}},
		{"expired authority key, renewed by root", func(t *testing.T, f *tablestest.Federation, s *tables.Store) {
			later := now.AddDate(5, 0, 1)
			d := tablestest.Sign(tables.Site{Version: 1, Name: "a", Consent: "ask"}, f.Authority)
			put(t, s, later, d, tables.Held, tables.ErrExpired)
			r := f.RootBody()
			r.Version, r.Authorities[0].NotAfter = 2, later.AddDate(1, 0, 0).Unix()
			put(t, s, later, tablestest.Sign(r, f.RootKeys...), tables.Kept, nil)
			if s.Get(d.Key()) == nil {
				t.Fatal("not kept when root renewed the key")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tablestest.New(1, 3)
			tt.run(t, f, f.Store())
		})
	}
}

// head returns a first head of signer over what s holds.
func head(_ *tablestest.Federation, s *tables.Store, signer ed25519.PrivateKey, now time.Time) *tables.Document {
	return tablestest.Sign(tables.BuildHead(s.Snapshot(), tables.PublicOf(signer), now.Unix(), now.Unix()+86400), signer)
}
