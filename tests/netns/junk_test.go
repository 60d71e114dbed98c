//go:build linux

package netns_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/tests/netns"
)

// junkKinds are what a stranger may send: noise of any length, noise in the shape of each message,
// and whole-length handshakes that prove nothing.
const junkKinds = 14

// junk makes one datagram in b and returns its length. Only a join hello of the right length and
// shape would be answered, by design; noise never has that shape.
func junk(random *rand.Rand, b []byte, kind int) int {
	n := 1 + random.IntN(1400)
	for i := 0; i < n; i += 8 {
		x := random.Uint64()
		for j := i; j < min(i+8, n); j++ {
			b[j] = byte(x)
			x >>= 8
		}
	}
	switch {
	case kind <= 11: // the types of docs/wire.md, with the zeroes after them
		b[0] = byte(kind)
		clear(b[1:min(4, n)])
	case kind == 12: // an init of the right length
		n = 1028
		b[0] = 2
		clear(b[1:4])
	}
	return n
}

// flood sends count datagrams from a namespace by sendmmsg, and returns how many the kernel took.
func flood(ns *netnstest.Namespace, to netip.AddrPort, count, kinds int) (sent int, err error) {
	var c *net.UDPConn
	err = ns.Do(func() (err error) {
		c, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetWriteBuffer(4 << 20)
	random := rand.New(rand.NewPCG(1, 2))
	const batch = 256
	messages := make([]ipv4.Message, batch)
	buffers := make([][]byte, batch)
	for i := range messages {
		buffers[i] = make([]byte, 1416)
		n := junk(random, buffers[i], i%kinds)
		messages[i].Buffers = [][]byte{buffers[i][:n]}
	}
	p := ipv4.NewPacketConn(c)
	for sent < count {
		// New noise for a few; to make all of it anew would take longer than to send it.
		for range 8 {
			i := random.IntN(batch)
			messages[i].Buffers[0] = buffers[i][:junk(random, buffers[i], i%kinds)]
		}
		n, err := p.WriteBatch(messages[:min(batch, count-sent)], 0)
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// hellos sends join hellos without a cookie: type, zeroes, sender index, an ephemeral key, zeroes up to
// 1,028 bytes (docs/wire.md).
func hellos(ns *netnstest.Namespace, to netip.AddrPort, count int) error {
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		c, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		return err
	}
	defer c.Close()
	random := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 1028)
	b[0] = 5
	for range count {
		for i := 4; i < 40; i++ {
			b[i] = byte(random.Uint32())
		}
		if _, err := c.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// usage returns the CPU time that a process has used and its resident memory in bytes.
func usage(t *testing.T, pid int) (cpu time.Duration, rss int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	number := func(i int) int { n, _ := strconv.Atoi(string(fields[i-3])); return n } // proc(5) counts from 1, and the name is gone
	const tick = 10 * time.Millisecond                                                // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(number(14)+number(15)) * tick, number(24) * os.Getpagesize()
}

// received returns how many datagrams the namespace's sockets got, and how many found them full.
func received(t *testing.T, ns *netnstest.Namespace) (in, full int) {
	t.Helper()
	out := ns.MustExec(t, "nstat", "-az", "UdpInDatagrams", "UdpRcvbufErrors")
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[0] {
		case "UdpInDatagrams":
			in = n
		case "UdpRcvbufErrors":
			full = n
		}
	}
	return in, full
}

// TestJunk: a stranger's junk gets no answer, costs no memory, and does not stop the traffic.
func TestJunk(t *testing.T) {
	netnstest.Require(t, "nstat", "nft")
	count := 100_000
	if os.Getenv("VINE_NIGHT") == "1" {
		count = 1_000_000
	}
	f := grid(t, 2, netns.SiteOption{})
	a, b := f.Sites[0], f.Sites[1]
	attacker := netnstest.New(t)
	f.Core.Attach(t, attacker, "wan0")
	tap := netns.NewTapOf(t, attacker, map[string]string{
		"answers": fmt.Sprintf("iifname wan0 ip saddr %v", a.WAN.V4),
		"junk":    fmt.Sprintf("ip daddr %v", a.WAN.V4),
	})
	good := a.ReadConfig(t)
	for _, joinable := range []bool{true, false} {
		t.Run(fmt.Sprintf("joinable %v", joinable), func(t *testing.T) {
			if !joinable {
				a.WriteConfig(t, good+"\n[underlay]\njoinable = false\n")
				a.Vine(t, "reload")
				t.Cleanup(func() { a.WriteConfig(t, good) })
			}
			target := netip.AddrPortFrom(a.WAN.V4, 8463)
			// Once before, so that buffers and tables are as large as junk makes them.
			if _, err := flood(attacker, target, count/10, junkKinds); err != nil {
				t.Fatal(err)
			}
			cpu, rss := usage(t, a.VR.PID())
			in, full := received(t, a.Namespace)
			before, _ := tap.Count(t, "junk")
			pings := netns.StartPings(t, b.LAN.Hosts[0], a.Addr4(t, 0), count/1000, 10*time.Millisecond)
			start := time.Now()
			sent, err := flood(attacker, target, count, junkKinds)
			took := time.Since(start)
			if err != nil {
				t.Fatal(err)
			}
			r := netns.PingsOf(t, pings)
			cpuAfter, rssAfter := usage(t, a.VR.PID())
			inAfter, fullAfter := received(t, a.Namespace)
			after, _ := tap.Count(t, "junk")
			_, answered := tap.Count(t, "answers")
			in, full = inAfter-in, fullAfter-full
			t.Logf("NUMBER junk, joinable %v: %d sent in %.1f s, %d bytes answered, %d read by the VR (%d more found its buffer full), "+
				"CPU %.1f µs for each read, resident memory %.1f -> %.1f MB, pings meanwhile %d of %d",
				joinable, sent, took.Seconds(), answered, in, full,
				float64((cpuAfter-cpu).Microseconds())/float64(max(in, 1)), float64(rss)/1e6, float64(rssAfter)/1e6, r.Received, r.Sent)
			if after-before < count {
				t.Errorf("only %d datagrams have left", after-before)
			}
			if in+full < count/2 {
				t.Errorf("only %d datagrams have reached the VR's socket", in+full)
			}
			if answered != 0 {
				t.Errorf("%d bytes were answered", answered)
			}
			if rssAfter > rss+16<<20 {
				t.Errorf("resident memory has grown by %d bytes", rssAfter-rss)
			}
			if r.Received < r.Sent/2 {
				t.Errorf("%d of %d pings got through", r.Received, r.Sent)
			}
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 10*time.Second)

			// The exception, which also shows that an answer would have been seen.
			_, sentBefore := tap.Count(t, "junk")
			if err := hellos(attacker, target, 2000); err != nil {
				t.Fatal(err)
			}
			netns.AwaitPing(t, b.LAN.Hosts[0], a.Addr4(t, 0), 10*time.Second)
			_, sentBytes := tap.Count(t, "junk")
			answers, answered := tap.Count(t, "answers")
			t.Logf("NUMBER join hellos, joinable %v: 2000 sent, %d answered, with %.3f of their bytes", joinable, answers, float64(answered)/float64(sentBytes-sentBefore))
			if joinable != (answers > 0) {
				t.Errorf("%d answers", answers)
			}
			if answered > sentBytes-sentBefore {
				t.Errorf("%d bytes asked, %d bytes answered", sentBytes-sentBefore, answered)
			}
			attacker.MustExec(t, "nft", "reset", "counters", "table", "inet", "tap")
		})
	}
}
