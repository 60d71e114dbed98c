package underlay_test

import (
	"testing"

	"github.com/vine-mesh/vine/transport/underlay"
)

// flow is a flow of datagrams of 1,400 bytes over one stream connection, with at most window of them under
// way: less than a send queue holds, so that none is lost.
type flow struct {
	a, b     *underlay.Streams
	out, in  []underlay.Datagram
	underWay int
}

const (
	flowBytes  = 1400
	flowWindow = 160
)

func newFlow(t testing.TB, p underlay.Protocol) *flow {
	a, b, _, atA := pair(t, p)
	f := &flow{a: a, b: b}
	for range 32 {
		f.out = append(f.out, dgram(atA, flowBytes))
	}
	for range underlay.BatchMax {
		f.in = append(f.in, underlay.Datagram{Buf: make([]byte, 2048)})
	}
	f.step(t)
	for f.underWay > 0 {
		n, err := b.ReadBatch(f.in)
		if err != nil {
			t.Fatal(err)
		}
		f.underWay -= n
	}
	b.Keep(f.in[0].Addr)
	return f
}

// step writes a batch and reads until there is room for the next.
func (f *flow) step(t testing.TB) {
	n, err := f.a.WriteBatch(f.out)
	if err != nil || n != len(f.out) {
		t.Fatalf("WriteBatch = %d, %v", n, err)
	}
	f.underWay += n
	for f.underWay > flowWindow-len(f.out) {
		n, err := f.b.ReadBatch(f.in)
		if err != nil {
			t.Fatal(err)
		}
		f.underWay -= n
	}
}

// BenchmarkStreams reports what one connection over loopback carries, per batch of 32 datagrams of 1,400 bytes.
func BenchmarkStreams(b *testing.B) {
	for _, p := range protocols {
		b.Run(p.String(), func(b *testing.B) {
			f := newFlow(b, p)
			b.ReportAllocs()
			b.SetBytes(int64(len(f.out) * flowBytes))
			for b.Loop() {
				f.step(b)
			}
			b.ReportMetric(float64(b.N*len(f.out)*flowBytes*8)/b.Elapsed().Seconds()/1e6, "Mb/s")
		})
	}
}

// TestStreamsZeroAllocs holds the packet path to what its comments promise. crypto/tls allocates up to two small
// readers for each record that it reads, and 32 datagrams make three records or, when the writer is woken
// early, some more.
func TestStreamsZeroAllocs(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			f := newFlow(t, p)
			for range 50 { // the send queue grows
				f.step(t)
			}
			allocs := testing.AllocsPerRun(100, func() { f.step(t) })
			if most := map[underlay.Protocol]float64{underlay.TCP: 0, underlay.TLS: 16}[p]; allocs > most {
				t.Errorf("%v allocations for %d datagrams there, want %v", allocs, len(f.out), most)
			}
		})
	}
}
