package underlay_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/transport/underlay"
)

// TestSlowConnection sends three times what a line of 1 Mb/s carries. What arrives must not be much older than
// the 250 ms that the send queue allows and what TCP and the line hold, some 700 ms; and the line must be used.
// Without the limit in time, and with room, the queue makes that three seconds.
func TestSlowConnection(t *testing.T) {
	netnstest.Require(t, "tc", "ethtool")
	const size, rate, during = 1400, 1e6, 6 * time.Second
	for _, limit := range []time.Duration{250 * time.Millisecond, time.Hour} {
		t.Run(limit.String(), func(t *testing.T) {
			ns := netnstest.New(t)
			ns.Run(t, `
				sysctl -qw net.ipv4.tcp_congestion_control=reno
				ip link set lo mtu 1500
				ethtool -K lo tso off gso off
				tc qdisc add dev lo root tbf rate 1mbit burst 4000 limit 20000`)
			b := underlay.NewStreams(underlay.StreamsConfig{})
			a := underlay.NewStreams(underlay.StreamsConfig{})
			*a.Limits().QueueTime, *a.Limits().QueueBytes = limit, 4<<20
			var to netip.AddrPort
			if err := ns.Do(func() error {
				at, err := b.Listen(underlay.TCP, netip.MustParseAddrPort("127.0.0.1:0"))
				if err != nil {
					return err
				}
				run(t, b)
				run(t, a)
				to, err = a.Dial(t.Context(), underlay.StreamTarget{Protocol: underlay.TCP, Endpoint: at})
				return err
			}); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				out := dgram(to, size)
				tick := time.NewTicker(4 * time.Millisecond)
				defer tick.Stop()
				for time.Since(begin) < during {
					binary.BigEndian.PutUint64(out.Buf, uint64(time.Since(begin)))
					if _, err := a.WriteBatch([]underlay.Datagram{out}); err != nil {
						t.Error(err)
						return
					}
					<-tick.C
				}
			}()
			var oldest time.Duration
			var bytes int
			in := []underlay.Datagram{{Buf: make([]byte, 2048)}}
			for time.Since(begin) < during {
				if n, err := b.ReadBatch(in); n != 1 || err != nil {
					t.Fatalf("ReadBatch = %d, %v", n, err)
				}
				b.Keep(in[0].Addr)
				bytes += in[0].N
				oldest = max(oldest, time.Since(begin)-time.Duration(binary.BigEndian.Uint64(in[0].Buf)))
			}
			<-done
			got := float64(bytes*8) / during.Seconds()
			t.Logf("%.2f Mb/s, the oldest datagram %v old", got/1e6, oldest)
			if got < 0.7*rate {
				t.Errorf("%.0f b/s of %.0f", got, rate)
			}
			if late := oldest > 2*time.Second; late != (limit == time.Hour) {
				t.Errorf("the oldest datagram was %v old", oldest)
			}
		})
	}
}
