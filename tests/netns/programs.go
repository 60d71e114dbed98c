//go:build linux

package netns

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture/netnstest"
)

// Await asks until f says yes, and fails the test if that takes longer than limit. It returns how
// long it took.
func Await(t testing.TB, what string, limit time.Duration, f func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
	return time.Since(start)
}

// Pause lets time pass in which something must not happen.
func Pause(d time.Duration) { <-time.After(d) }

// Split runs a program in the namespace and returns its two streams.
func (s *Site) Split(t testing.TB, words ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, talk bytes.Buffer
	err = s.Do(func() error {
		c := exec.Command(words[0], words[1:]...)
		c.Stdout, c.Stderr = &out, &talk
		return c.Run()
	})
	return out.String(), talk.String(), err
}

// Ping sends one echo request and reports whether the answer came soon: no path of these tests takes
// longer than 300 ms.
func Ping(t testing.TB, from *netnstest.Namespace, to netip.Addr) bool {
	t.Helper()
	_, err := from.Exec(t, "ping", "-n", "-c", "1", "-W", "0.3", to.String())
	return err == nil
}

// AwaitPing pings until an answer comes and returns how long that took.
func AwaitPing(t testing.TB, from *netnstest.Namespace, to netip.Addr, limit time.Duration) time.Duration {
	t.Helper()
	return Await(t, fmt.Sprintf("ping %v", to), limit, func() bool { return Ping(t, from, to) })
}

// NoPing fails the test if one of several echo requests is answered.
func NoPing(t testing.TB, from *netnstest.Namespace, to netip.Addr) {
	t.Helper()
	if out, err := from.Exec(t, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", to.String()); err == nil {
		t.Errorf("%v answers, and must not:\n%s", to, out)
	}
}

// ServeHTTP serves dir at port 80 of addr in a namespace. It is plain kernel sockets: nothing of
// ViNe's is in it.
func ServeHTTP(t testing.TB, ns *netnstest.Namespace, addr netip.Addr, dir string) {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 80).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.FileServer(http.Dir(dir))}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

// Fetch gets a file by curl into a file of its own, and returns that.
func Fetch(t testing.TB, ns *netnstest.Namespace, from netip.Addr, name string) string {
	t.Helper()
	return FetchWithin(t, ns, from, name, time.Minute)
}

// FetchWithin is Fetch with a limit of time.
func FetchWithin(t testing.TB, ns *netnstest.Namespace, from netip.Addr, name string, limit time.Duration) string {
	t.Helper()
	netnstest.Require(t, "curl")
	to := filepath.Join(t.TempDir(), name)
	url := "http://" + netip.AddrPortFrom(from, 80).String() + "/" + name
	out, err := ns.Exec(t, "curl", "-sS", "--noproxy", "*", "--max-time", fmt.Sprint(limit.Seconds()), "-o", to, url)
	if err != nil {
		t.Fatalf("curl %s: %v\n%s", url, err, out)
	}
	return to
}

// RandomFile makes a file of size pseudo-random bytes.
func RandomFile(t testing.TB, path string, size int) {
	t.Helper()
	b := make([]byte, size)
	x := uint64(0x9e3779b97f4a7c15)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x >> 32)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// An SSHD is a stock ssh server on a host, and the key that opens it.
type SSHD struct {
	key, known string
}

// StartSSHD runs sshd on a host, with keys of its own.
func StartSSHD(t testing.TB, host *netnstest.Namespace, addr netip.Addr) SSHD {
	t.Helper()
	netnstest.Require(t, "ssh-keygen", "ssh", "scp")
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd"
	}
	netnstest.Require(t, sshd)
	if _, err := os.Stat("/run/sshd"); err != nil { // sshd insists on this directory
		if err := os.Mkdir("/run/sshd", 0o755); err == nil {
			t.Cleanup(func() { _ = os.Remove("/run/sshd") })
		}
	}
	dir := t.TempDir()
	s := SSHD{key: filepath.Join(dir, "user"), known: filepath.Join(dir, "known")}
	for _, name := range []string{"host", "user"} {
		host.MustExec(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name))
	}
	conf := filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf("ListenAddress %v\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nPidFile none\n"+
		"StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n",
		netip.AddrPortFrom(addr, 22), dir, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := host.Start(t, sshd, "-D", "-e", "-f", conf)
	Await(t, "sshd listens", 10*time.Second, func() bool {
		select {
		case <-p.Done():
			t.Fatalf("sshd ended: %v\n%s", p.Err(), p.Output())
		default:
		}
		return strings.Contains(p.Output(), "Server listening")
	})
	return s
}

// Copy copies a file to the host at addr by scp.
func (s SSHD) Copy(t testing.TB, from *netnstest.Namespace, path string, addr netip.Addr, to string) {
	t.Helper()
	out, err := from.Exec(t, "scp", "-q", "-F", "none", "-i", s.key, "-o", "UserKnownHostsFile="+s.known,
		"-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=20", "-o", "BatchMode=yes",
		path, "root@["+addr.String()+"]:"+to)
	if err != nil {
		t.Fatalf("scp to %v: %v\n%s", addr, err, out)
	}
}

// An Iperf is the part of iperf3's report that tests look at.
type Iperf struct {
	Error string `json:"error"`
	End   struct {
		SumReceived struct {
			Bytes         float64 `json:"bytes"`
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
		Sum struct {
			Packets     int     `json:"packets"`
			LostPackets int     `json:"lost_packets"`
			Bits        float64 `json:"bits_per_second"`
		} `json:"sum"`
	} `json:"end"`
	Intervals []IperfInterval `json:"intervals"` // of the client
	Server    struct {
		Intervals []IperfInterval `json:"intervals"`
	} `json:"server_output_json"` // with --get-server-output
}

// An IperfInterval is a part of the time, a second if nothing else was asked for.
type IperfInterval struct {
	Sum struct {
		Bytes   float64 `json:"bytes"`
		Start   float64 `json:"start"`
		Seconds float64 `json:"seconds"`
		Omitted bool    `json:"omitted"`
	} `json:"sum"`
}

// throughputSkip is how much of a flow does not count as its throughput: TCP looks for the rate meanwhile.
const throughputSkip = time.Second

// StartThroughput starts a TCP flow that Throughput reads. It lasts throughputSkip longer than d. RENO fills
// a line's queue whatever the machine's own algorithm is, and does not take a busy machine for a full line.
func StartThroughput(t testing.TB, from, to *netnstest.Namespace, addr netip.Addr, d time.Duration, words ...string) *netnstest.Process {
	t.Helper()
	// A sender's buffer of 4 MB, which is usual, is less than the line and its queue hold at 1 Gbit/s.
	from.Sysctl(t, "net/ipv4/tcp_wmem", "4096 16384 33554432")
	words = append([]string{"-t", fmt.Sprint(d.Seconds()), "-O", fmt.Sprint(throughputSkip.Seconds()), "-C", "reno", "--get-server-output"}, words...)
	return StartIperf(t, from, to, addr, words...)
}

// Throughput waits for the flow's end and returns how many millions of bits per second its receiver got. What
// the queues held when the sender stopped does not count.
func Throughput(t testing.TB, p *netnstest.Process) float64 {
	t.Helper()
	bits, seconds := 0.0, 0.0
	for _, i := range Report(t, p).Server.Intervals {
		// The last, broken one is when the queues run dry.
		if i.Sum.Omitted || i.Sum.Seconds < 0.9 {
			continue
		}
		bits += 8 * i.Sum.Bytes
		seconds += i.Sum.Seconds
	}
	if seconds == 0 {
		t.Fatalf("iperf3 tells nothing of the receiver:\n%s", tail(p.Output(), 20))
	}
	return bits / seconds / 1e6
}

// ServeIperf runs an iperf3 server for one client.
func ServeIperf(t testing.TB, ns *netnstest.Namespace, addr netip.Addr, words ...string) *netnstest.Process {
	t.Helper()
	netnstest.Require(t, "iperf3", "ss")
	Await(t, "the iperf3 before has ended", 20*time.Second, func() bool { return !listens(ns, addr, 5201) })
	p := ns.Start(t, append([]string{"iperf3", "-s", "-1", "-J", "-B", addr.String()}, words...)...)
	Await(t, "iperf3 listens", 10*time.Second, func() bool { return listens(ns, addr, 5201) })
	return p
}

// listens reports whether somebody accepts TCP connections there. It asks the kernel and does not
// connect, for iperf3 would take that for its client.
func listens(ns *netnstest.Namespace, addr netip.Addr, port int) bool {
	out, err := ns.Output("ss -Hltn sport = :" + fmt.Sprint(port))
	return err == nil && strings.Contains(out, addr.String())
}

// StartIperf starts an iperf3 client against a server that is started here too.
func StartIperf(t testing.TB, from, to *netnstest.Namespace, addr netip.Addr, words ...string) *netnstest.Process {
	t.Helper()
	ServeIperf(t, to, addr)
	return from.Start(t, append([]string{"iperf3", "-J", "-c", addr.String(), "--connect-timeout", "10000"}, words...)...)
}

// Report waits for an iperf3 process and parses its report.
func Report(t testing.TB, p *netnstest.Process) (r Iperf) {
	t.Helper()
	err := p.Err()
	if jerr := json.Unmarshal([]byte(p.Output()), &r); jerr != nil || err != nil || r.Error != "" {
		t.Fatalf("iperf3: %v, %v, %s\n%s", err, jerr, r.Error, tail(p.Output(), 20))
	}
	return r
}

// Pings is what ping says at its end.
type Pings struct {
	Sent, Received int
	Min, Avg, Max  time.Duration
}

// PingMany sends n echo requests, one every interval.
func PingMany(t testing.TB, from *netnstest.Namespace, to netip.Addr, n int, interval time.Duration) Pings {
	t.Helper()
	return PingsOf(t, StartPings(t, from, to, n, interval))
}

// StartPings starts what PingMany does.
func StartPings(t testing.TB, from *netnstest.Namespace, to netip.Addr, n int, interval time.Duration) *netnstest.Process {
	t.Helper()
	return from.Start(t, "ping", "-n", "-q", "-c", fmt.Sprint(n), "-i", fmt.Sprint(interval.Seconds()), "-W", "1", to.String())
}

// PingsOf waits for the end of a ping and reads what it says.
func PingsOf(t testing.TB, p *netnstest.Process) (r Pings) {
	t.Helper()
	_ = p.Err() // ping fails when nothing is answered; the numbers say so too
	var avg [3]float64
	for line := range strings.Lines(p.Output()) {
		_, _ = fmt.Sscanf(line, "%d packets transmitted, %d received", &r.Sent, &r.Received)
		_, _ = fmt.Sscanf(line, "rtt min/avg/max/mdev = %f/%f/%f/", &avg[0], &avg[1], &avg[2])
	}
	if r.Sent == 0 {
		t.Fatalf("ping said\n%s", p.Output())
	}
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	r.Min, r.Avg, r.Max = ms(avg[0]), ms(avg[1]), ms(avg[2])
	return r
}
