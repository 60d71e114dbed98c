package underlay_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/transporttest"
	"github.com/vine-mesh/vine/transport/underlay"
)

var protocols = []underlay.Protocol{underlay.TCP, underlay.TLS}

// run runs a Streams until the test ends.
func run(t testing.TB, s *underlay.Streams) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// listenStreams returns a Streams that listens on loopback, and its address.
func listenStreams(t testing.TB, p underlay.Protocol) (*underlay.Streams, netip.AddrPort) {
	t.Helper()
	s := underlay.NewStreams(underlay.StreamsConfig{})
	*s.Limits().QueueTime = time.Hour // nothing may be lost on a busy machine
	at, err := s.Listen(p, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s, at
}

func dialler(t testing.TB) *underlay.Streams {
	t.Helper()
	s := underlay.NewStreams(underlay.StreamsConfig{})
	*s.Limits().QueueTime = time.Hour // nothing may be lost on a busy machine
	run(t, s)
	return s
}

func dial(t testing.TB, s *underlay.Streams, target underlay.StreamTarget) netip.AddrPort {
	t.Helper()
	at, err := s.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// pair returns two Streams with one connection, a having dialled b, and the addresses that it has at b and at a.
func pair(t testing.TB, p underlay.Protocol) (a, b *underlay.Streams, atB, atA netip.AddrPort) {
	t.Helper()
	b, at := listenStreams(t, p)
	a = dialler(t)
	return a, b, path.Stream(1), dial(t, a, underlay.StreamTarget{Protocol: p, Endpoint: at})
}

func TestStreamsContract(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			a, b, atB, atA := pair(t, p)
			transporttest.CheckSocket(t, a, b, atB, atA, path.Stream(99))
		})
	}
}
