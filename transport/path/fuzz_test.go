package path_test

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/vine-mesh/vine/transport/path"
)

// FuzzEstimator: a peer reports what it likes, and our clock jumps. Nothing breaks, and what is estimated stays a
// number in its range.
func FuzzEstimator(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e path.Estimator
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		next := func() (v uint64) {
			if len(b) == 0 {
				return 0
			}
			// One byte says how many follow: small numbers and huge ones are both likely.
			n := min(int(b[0]%9), len(b)-1)
			var x [8]byte
			copy(x[8-n:], b[1:1+n])
			b = b[1+n:]
			return binary.BigEndian.Uint64(x[:])
		}
		for len(b) > 0 {
			switch op := b[0] % 6; op {
			case 0:
				b = b[1:]
				e.Delivered(now, path.Delivery{Bytes: next(), Packets: next(), Highest: next(), Clock: next()}, time.Duration(next()%uint64(time.Minute)))
			case 1:
				b = b[1:]
				e.Trained(now, path.TrainReport{
					Sent: int(next() % 65), Received: int(next() % 65536), Bytes: int(next() % (1 << 32)), Span: time.Duration(next()%(1<<32)) * time.Microsecond,
				})
			case 2:
				b = b[1:]
				e.Probed(now, time.Duration(next()%uint64(time.Hour)), next()%2 == 0)
			case 3:
				b = b[1:]
				now = now.Add(time.Duration(next() % uint64(10*time.Hour)))
			case 4:
				b = b[1:]
				now = now.Add(-time.Duration(next() % uint64(10*time.Hour)))
			case 5:
				b = b[1:]
				e.Rebase(path.Delivery{Bytes: next(), Packets: next(), Highest: next(), Clock: next()})
			}
			m := e.Measure(now)
			if !(m.Loss >= 0 && m.Loss <= 1) || math.IsNaN(m.Share) || m.Rate.Bits < 0 || m.Used < 0 || m.RTT < 0 {
				t.Fatalf("%+v", m)
			}
		}
	})
}
