package underlay

import (
	"net/netip"
	"sync"
	"testing"
)

// TestFragment: on an interface that carries 1,124 bytes a datagram of 1,200 passes if it may be fragmented. Of those that others write
// meanwhile on the same socket, and that may not, none does.
func TestFragment(t *testing.T) {
	for _, bind := range []string{"0.0.0.0:0", "[::]:0"} {
		inNamespace(t, []string{"ip link set lo up mtu 1124"}, func() {
			s, err := ListenUDP(netip.MustParseAddrPort(bind))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			in, err := ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			u := s.(*UDP)
			const rounds, whole = 200, 1201
			batch := func(n int, fragment bool) []Datagram {
				var dgs []Datagram
				for range 4 {
					dgs = append(dgs, Datagram{Buf: make([]byte, n), N: n, Addr: in.LocalAddr(), Fragment: fragment})
				}
				return dgs
			}
			var others sync.WaitGroup
			others.Go(func() {
				for range rounds {
					if n, err := s.WriteBatch(batch(whole, false)); n != 0 || err != nil {
						t.Errorf("%d datagrams passed with DF, %v", n, err)
					}
				}
			})
			got := 0
			take := make([]Datagram, BatchMax)
			for i := range take {
				take[i].Buf = make([]byte, 2048)
			}
			for range rounds {
				// In one batch with some that may not be fragmented.
				mixed := append(batch(1200, true), batch(whole, false)...)
				mixed = append(mixed, batch(100, true)...)
				if n, err := s.WriteBatch(mixed); n != 8 || err != nil {
					t.Errorf("WriteBatch = %d, %v; want 8 of 12", n, err)
				}
				n, err := in.ReadBatch(take)
				if err != nil {
					t.Error(err)
				}
				for _, d := range take[:n] {
					if d.N == whole {
						t.Error("a datagram with DF was fragmented")
					}
				}
				got += n
			}
			others.Wait()
			if c := u.Counters(); got < rounds || c.TooBig != 8*rounds || c.Sent != 8*rounds {
				t.Errorf("%d read; %+v", got, c)
			}
		})
	}
}
