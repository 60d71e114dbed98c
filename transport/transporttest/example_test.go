package transporttest_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/transport/transporttest"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A host behind a NAT box reaches a public host, and gets the answer. In a test, put this into
// synctest.Test and use Start: then the latency costs no time.
func Example() {
	in := transporttest.New(1)
	defer in.Close()
	go in.Run(context.Background())

	server := in.Host("server", netip.MustParseAddr("192.0.2.1"))
	home := in.NAT("home", netip.MustParseAddr("203.0.113.1"), transporttest.PortRestrictedCone)
	laptop := home.Host("laptop", netip.MustParseAddr("10.0.0.2"))
	in.SetPath(laptop, server, transporttest.Path{Latency: 5 * time.Millisecond, Bandwidth: 100e6})

	s, _ := server.Listen(8463)
	c, _ := laptop.Listen(0)
	c.WriteBatch([]underlay.Datagram{{Buf: []byte("hello"), N: 5, Addr: s.LocalAddr()}})

	dgs := []underlay.Datagram{{Buf: make([]byte, 1500)}}
	s.ReadBatch(dgs)
	fmt.Printf("server got %q from %v\n", dgs[0].Buf[:dgs[0].N], dgs[0].Addr.Addr())
	s.WriteBatch(dgs) // back to the mapped endpoint
	c.ReadBatch(dgs)
	fmt.Printf("laptop got %q from %v\n", dgs[0].Buf[:dgs[0].N], dgs[0].Addr)
	// Output:
	// server got "hello" from 203.0.113.1
	// laptop got "hello" from 192.0.2.1:8463
}
