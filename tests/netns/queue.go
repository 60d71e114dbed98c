//go:build linux

package netns

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// A QueueVR is a public site that relays for others, and what can befall it. Kill, of Site, is kill -9.
type QueueVR struct{ *Site }

// Streams are the tables of a public site that others reach by TCP and TLS too.
const Streams = "[underlay]\nstreams = [\"tls://[::]:443\", \"tcp://[::]:8463\"]\n[authority]\nauto_admit = \"open\"\n"

// Freeze stops the VR's process where it is; nobody is told. Thaw lets it go on.
func (q QueueVR) Freeze() { q.VR.Signal(syscall.SIGSTOP) }
func (q QueueVR) Thaw()   { q.VR.Signal(syscall.SIGCONT) }

// Lose has the core lose some percent of the site's packets, each for itself, both ways; 0 ends that.
func (q QueueVR) Lose(t testing.TB, percent int) {
	t.Helper()
	netnstest.Require(t, "nft")
	q.F.OneByOne(t) // a message of several datagrams would be lost as one
	table := "lose_" + q.WAN.Far
	q.F.Core.MustExec(t, "nft", fmt.Sprintf("table inet %s\ndelete table inet %[1]s", table))
	if percent == 0 {
		return
	}
	which := "" // at 100: nft has no number for that
	if percent < 100 {
		which = fmt.Sprintf("numgen random mod 100 < %d", percent)
	}
	q.F.Core.MustExec(t, "nft", fmt.Sprintf(`table inet %s {
		chain lose {
			type filter hook forward priority 5
			iifname %[2]q %[3]s drop
			oifname %[2]q %[3]s drop
		}
	}`, table, q.WAN.Far, which))
}

// Shape limits the site's wire to a rate each way, with a queue of 50 ms; 0 ends that. The wire then carries
// packets as a cable does, and goes on doing so.
func (q QueueVR) Shape(t testing.TB, kbit int) {
	t.Helper()
	netnstest.Require(t, "tc")
	for _, end := range []struct {
		ns    *netnstest.Namespace
		iface string
	}{{q.Namespace, q.WAN.Interface}, {q.F.Core.Namespace, q.WAN.Far}} {
		if kbit == 0 {
			end.ns.Run(t, "tc qdisc del dev "+end.iface+" root")
			continue
		}
		end.ns.NoOffload(t, end.iface)
		// A bucket of 5 ms, or two packets: a deep one would hide a low rate for seconds.
		burst := max(kbit*5/8, 3100)
		end.ns.Run(t, fmt.Sprintf("tc qdisc replace dev %s root tbf rate %dkbit burst %d latency 50ms", end.iface, kbit, burst))
	}
}
