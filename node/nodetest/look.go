package nodetest

import (
	"context"
	"time"

	"github.com/vine-mesh/vine/node/control"
)

// Status returns what a running site's VR says of itself.
func (s *Site) Status() control.Status {
	s.World.T.Helper()
	st, err := s.API().Status(context.Background())
	s.World.check(err)
	return st
}

// Installed returns the version of a VN that a running site has installed, zero for none.
func (s *Site) Installed(vn string) uint64 {
	v, err := s.API().VN(context.Background(), vn)
	if err != nil {
		return 0
	}
	return v.Installed
}

// Same reports whether running sites hold the same documents.
func Same(sites ...*Site) bool {
	root := ""
	for _, s := range sites {
		if s.Node == nil {
			continue
		}
		st := s.Status()
		if root != "" && st.Root != root {
			return false
		}
		root = st.Root
	}
	return true
}

// UntilInstalled waits until every running site has installed at least that version of a VN and
// returns how long each took, at most for bound.
func (w *World) UntilInstalled(vn string, version uint64, bound time.Duration, sites ...*Site) []time.Duration {
	w.T.Helper()
	start := time.Now()
	var took []time.Duration
	left := append([]*Site(nil), sites...)
	for {
		rest := left[:0]
		for _, s := range left {
			if s.Installed(vn) >= version {
				took = append(took, time.Since(start))
			} else {
				rest = append(rest, s)
			}
		}
		left = rest
		if len(left) == 0 {
			return took
		}
		if time.Since(start) > bound {
			w.T.Fatalf("%s has not version %d of %s within %v, nor %d others", left[0].Name, version, vn, bound, len(left)-1)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
