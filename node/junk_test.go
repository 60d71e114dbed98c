package node_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/vine-mesh/vine/node"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/node/state"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/underlay"
)

// corpusFolder holds captures that nobody here wrote. It is no part of the project.
const corpusFolder = "../../shared/corpora/pcap"

// captures returns the frames of all captures, each as it is and from where its UDP or IP payload
// would begin; none, loudly, when the corpus is not here.
func captures(t testing.TB) (all [][]byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpusFolder, "*.pcap*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatalf("no captures in %s", corpusFolder)
		}
		t.Logf("NOT TESTED on captures: none in %s", corpusFolder)
		return nil
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewReader(bytes.NewReader(b))
		if err != nil {
			continue // another format; many are damaged on purpose
		}
		for range 1000 {
			f, _, err := r.ReadPacketData()
			if err != nil {
				break
			}
			for _, skip := range []int{0, 14, 42} {
				if len(f) > skip && len(f)-skip < 1472 {
					all = append(all, f[skip:])
				}
			}
		}
	}
	return all
}

// A junkSource makes datagrams that nobody may answer.
type junkSource struct {
	*rand.Rand
	seen     [][]byte // datagrams of honest VRs
	captures [][]byte
	hellos   int // well-formed join hellos among what was made
	n        int
}

// next returns the next datagram. Captures come in turn, one in four; the rest is random, random
// with the first byte of a type, or a datagram of honest VRs with something changed.
func (j *junkSource) next() []byte {
	j.n++
	var b []byte
	switch {
	case j.n%1000 == 0:
		var m frame.JoinHello
		copy(m.Ephemeral[:], j.random(len(m.Ephemeral)))
		copy(m.Cookie[:], j.random(len(m.Cookie)))
		b = m.Append(nil)
	case j.n%4 == 0 && len(j.captures) > 0:
		b = slices.Clone(j.captures[j.n/4%len(j.captures)])
	case j.n%4 == 1:
		b = j.random(1 + j.IntN(1400))
	case j.n%4 == 2:
		lengths := []int{24, 32, 40, 64, 96, 200, frame.HandshakeLen - 1, frame.HandshakeLen, frame.HandshakeLen + 1}
		b = j.random(lengths[j.IntN(len(lengths))])
		b[0] = byte(j.IntN(13))
		if j.IntN(2) == 0 {
			b[1], b[2], b[3] = 0, 0, 0
		}
	default:
		b = slices.Clone(j.seen[j.IntN(len(j.seen))])
		// Not in the last 16 bytes alone: there a first message has its MAC2, which may be anything.
		for range 1 + j.IntN(3) {
			b[j.IntN(max(1, len(b)-16))] ^= byte(1 + j.IntN(255))
		}
		if j.IntN(8) == 0 {
			b = b[:1+j.IntN(len(b))]
		}
	}
	if _, err := frame.ParseJoinHello(b); err == nil {
		j.hellos++
	}
	return b
}

func (j *junkSource) random(n int) []byte {
	b := make([]byte, n)
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], j.Uint64())
	}
	return b
}

// TestJunk: 10^5 datagrams of junk (at night 10^6) at one VR, from all over. Not a byte is answered, but for a
// cookie to each well-formed join hello where newcomers are welcome; no goroutine and no memory
// stays behind, and traffic goes on.
func TestJunk(t *testing.T) {
	for _, closed := range []bool{false, true} {
		t.Run(map[bool]string{false: "joinable", true: "not joinable"}[closed], func(t *testing.T) {
			inWorld(t, 90, func(t *testing.T, w *nodetest.World) {
				var mu sync.Mutex
				j := &junkSource{Rand: rand.New(rand.NewPCG(9, 0)), captures: captures(t)}
				w.Net.OnSend(func(_ time.Time, _, _ netip.AddrPort, p []byte) {
					mu.Lock()
					defer mu.Unlock()
					if len(j.seen) < 4000 {
						j.seen = append(j.seen, p)
					}
				})
				a := w.Found("a")
				b := w.NewSite("b")
				b.Closed = closed
				if err := b.Enrol(background, a.Endpoint(), ""); err != nil {
					t.Fatal(err)
				}
				b.Start()
				ha, hb := a.NewHost(), b.NewHost()
				createVN(w, "physics", ha, hb)
				flow := w.NewFlow(a, ha, b, hb)
				w.Run(3*time.Minute, time.Second, flow)
				w.Net.OnSend(nil)

				var answered, cookies, wrong atomic.Int64
				w.Net.OnSend(func(_ time.Time, from, to netip.AddrPort, p []byte) {
					if from != b.Endpoint() || to == a.Endpoint() {
						return
					}
					answered.Add(int64(len(p)))
					if frame.TypeOf(p) == frame.TypeJoinCookie && len(p) == frame.JoinCookieLen {
						cookies.Add(1)
					} else {
						wrong.Add(1)
					}
				})
				stranger := w.Net.Host("stranger", netip.MustParseAddr("198.18.0.1"))
				start := time.Now()
				throw := func(n int) {
					for i := range n {
						from := netip.AddrFrom4([4]byte{198, 18 + byte(j.IntN(2)), byte(j.IntN(256)), byte(j.IntN(256))})
						stranger.SendFrom(netip.AddrPortFrom(from, uint16(1+j.IntN(65535))), b.Endpoint(), j.next())
						if i%200 == 199 {
							w.Run(time.Millisecond, time.Millisecond, flow)
						}
					}
					w.Settle(100 * time.Millisecond)
				}
				throw(5000) // what is made once is made
				synctest.Wait()
				goroutines, heap := measure()
				throw(scaled(100_000, 1_000_000))
				synctest.Wait()
				after, heapAfter := measure()
				t.Logf("%d bytes answered, %d join cookies to %d join hellos; heap %+d KiB, goroutines %d, then %d",
					answered.Load(), cookies.Load(), j.hellos, (heapAfter-heap)/1024, goroutines, after)
				switch n := answered.Load(); {
				case wrong.Load() > 0:
					t.Errorf("%d datagrams answered that are no join cookies", wrong.Load())
				case closed && n > 0:
					t.Errorf("%d bytes answered", n)
				case !closed && (cookies.Load() == 0 || cookies.Load() > int64(j.hellos)):
					t.Errorf("%d cookies to %d join hellos", cookies.Load(), j.hellos)
				}
				if after > goroutines+5 {
					t.Errorf("%d goroutines became %d", goroutines, after)
				}
				if heapAfter > heap+4<<20 {
					t.Errorf("%d bytes of heap became %d", heap, heapAfter)
				}
				if n := flow.Lost(start); n > 0 {
					t.Errorf("%d of %d packets lost", n, flow.Sent())
				}
				if got := w.Net.Counters().Dropped; got[6] > 0 { // DropReceiveBuffer
					t.Errorf("%d datagrams did not reach the VR", got[6])
				}
			})
		})
	}
}

func measure() (goroutines int, heap int64) {
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int64(m.HeapAlloc)
}

// BenchmarkJunk sends junk to a VR on a real UDP socket on loopback and reports the CPU time of
// the process for each datagram, without what sending took, and the bytes answered. The issue's
// number is with -benchtime 1000000x.
func BenchmarkJunk(b *testing.B) {
	for _, joinable := range []bool{true, false} {
		b.Run(map[bool]string{true: "joinable", false: "not joinable"}[joinable], func(b *testing.B) {
			n, to, stop := realNode(b, joinable)
			defer stop()
			j := &junkSource{Rand: rand.New(rand.NewPCG(9, 0)), captures: captures(b)}
			for t := range byte(12) { // there is no honest VR to listen to
				m := j.random(200)
				m[0], m[1], m[2], m[3] = t, 0, 0, 0
				j.seen = append(j.seen, m)
			}
			// No join hellos: each of them is answered.
			var pool []underlay.Datagram
			for len(pool) < 4096 {
				m := j.next()
				if frame.TypeOf(m) != frame.TypeJoinHello {
					pool = append(pool, underlay.Datagram{Buf: m, N: len(m), Addr: to})
				}
			}
			sender, err := underlay.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
			if err != nil {
				b.Fatal(err)
			}
			var answered atomic.Int64
			done := make(chan struct{})
			go func() {
				defer close(done)
				in := []underlay.Datagram{{Buf: make([]byte, 2048)}}
				for {
					count, err := sender.ReadBatch(in)
					if err != nil {
						return
					}
					for _, d := range in[:count] {
						answered.Add(int64(d.N))
					}
				}
			}()
			sink, err := underlay.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
			if err != nil {
				b.Fatal(err)
			}
			const burst = 32
			throw := func(count int, to netip.AddrPort, settled func(sent uint64)) time.Duration {
				before := cpuTime(b)
				for sent := 0; sent < count; {
					at := sent % len(pool)
					part := pool[at:min(at+burst, len(pool), at+count-sent)]
					for i := range part {
						part[i].Addr = to
					}
					if _, err := sender.WriteBatch(part); err != nil {
						b.Fatal(err)
					}
					sent += len(part)
					if sent%1024 < burst {
						settled(uint64(sent))
					}
				}
				settled(uint64(count))
				return cpuTime(b) - before
			}
			wait := func(uint64) { time.Sleep(time.Millisecond) }
			throw(20_000, to, wait)
			_, heap := measure()
			alone := throw(b.N, sink.LocalAddr(), wait)
			seen := n.Judged()
			b.ResetTimer()
			all := throw(b.N, to, func(uint64) {
				for before := uint64(1); before != n.Judged(); { // until the VR has caught up
					before = n.Judged()
					time.Sleep(time.Millisecond)
				}
			})
			b.StopTimer()
			_, heapAfter := measure()
			judged := n.Judged() - seen
			b.ReportMetric(float64(all-alone)/float64(b.N), "cpu-ns/datagram")
			b.ReportMetric(float64(answered.Load()), "bytes-answered")
			// Less than one by what the gate lets pass to the links, which drop it: if the kernel dropped
			// any, it is less than with few datagrams.
			b.ReportMetric(float64(judged)/float64(b.N), "judged/sent")
			b.ReportMetric(float64(heapAfter-heap)/1024, "heap-KiB")
			sender.Close()
			sink.Close()
			<-done
			if answered.Load() > 0 {
				b.Errorf("%d bytes answered", answered.Load())
			}
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// realNode runs the first VR of a federation on a UDP socket on loopback.
func realNode(b *testing.B, joinable bool) (n *node.Node, at netip.AddrPort, stop func()) {
	dir, err := state.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	founded, err := node.Found(time.Now(), node.Founding{Name: "world", VR: "a", Site: "a", UserName: "admin", Rand: &counted{}})
	if err == nil {
		err = founded.Store(dir)
	}
	if err != nil {
		b.Fatal(err)
	}
	socket, err := underlay.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		b.Fatal(err)
	}
	n, err = node.New(node.Options{
		State: dir, Socket: socket, Rand: &counted{}, Log: slog.New(slog.DiscardHandler), Software: "test", Offload: true,
		Settings: node.Settings{Kind: "auto", Joinable: joinable, PathMTU: 1500, AutoAdmit: "invite"},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	return n, socket.LocalAddr(), func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}
}
