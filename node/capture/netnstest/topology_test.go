//go:build linux

package netnstest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listenUDP opens a socket in a namespace.
func listenUDP(t *testing.T, ns *Namespace, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// hears sends a datagram from c to a server and returns where the server says it came from.
func hears(t *testing.T, c, server *net.UDPConn) netip.AddrPort {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte("hello"), server.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, from, err := server.ReadFromUDPAddrPort(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func TestNAT(t *testing.T) {
	for _, symmetric := range []bool{false, true} {
		t.Run(fmt.Sprintf("symmetric %v", symmetric), func(t *testing.T) {
			core, gw := NewCore(t), New(t)
			wan := core.Attach(t, gw, "wan0")
			lan := NewLAN(t, gw, "lan0", 7, 1)
			gw.Forward(t)
			gw.NAT(t, "wan0", symmetric)
			host := lan.Hosts[0]
			host.Run(t, "ip route add default via "+lan.V4.String())

			client := listenUDP(t, host, netip.MustParseAddrPort("192.168.7.11:4242"))
			one := listenUDP(t, core.Namespace, netip.AddrPortFrom(wan.Core4, 1001))
			two := listenUDP(t, core.Namespace, netip.AddrPortFrom(wan.Core4, 1002))
			from1, from2 := hears(t, client, one), hears(t, client, two)
			if from1.Addr() != wan.V4 || from2.Addr() != wan.V4 {
				t.Errorf("the core sees %v and %v, want the gateway's %v", from1, from2, wan.V4)
			}
			if same := from1 == from2; same == symmetric {
				t.Errorf("two destinations see %v and %v", from1, from2)
			}
		})
	}
}

func TestShape(t *testing.T) {
	Require(t, "iperf3")
	core, a, b := NewCore(t), New(t), New(t)
	core.Attach(t, a, "wan0")
	wan := core.Attach(t, b, "wan0")
	core.Shape(t, wan.Far, "20mbit")
	server := b.Start(t, "iperf3", "-s", "-1", "--forceflush")
	listening := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(server.Output(), "listening") {
		select {
		case <-tick.C:
		case <-listening:
			t.Fatalf("iperf3 does not listen:\n%s", server.Output())
		}
	}
	var r struct {
		End struct {
			SumReceived struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(a.MustExec(t, "iperf3", "-J", "-t", "1", "-c", wan.V4.String())), &r); err != nil {
		t.Fatal(err)
	}
	if bits := r.End.SumReceived.Bits; bits == 0 || bits > 25e6 {
		t.Errorf("%.1f Mbit/s went through a link of 20", bits/1e6)
	}
}

// leaver is the environment variable that makes TestNothingOutlivesTheTest play the test that ends
// without cleaning up.
const leaver = "VINE_NETNSTEST_LEAVER"

// TestNothingOutlivesTheTest: a test binary that is killed takes its namespaces' processes along.
func TestNothingOutlivesTheTest(t *testing.T) {
	if os.Getenv(leaver) != "" {
		ns := New(t)
		p := ns.Start(t, "sleep", "1000")
		fmt.Printf("sleeper %d\n", p.PID())
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	Require(t, "sleep")
	c := exec.Command(os.Args[0], "-test.run", "^TestNothingOutlivesTheTest$")
	c.Env = append(os.Environ(), leaver+"=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for lines := bufio.NewScanner(out); lines.Scan() && pid == 0; {
		_, _ = fmt.Sscanf(lines.Text(), "sleeper %d", &pid)
	}
	_ = c.Wait()
	if pid == 0 {
		t.Fatal("the sleeper was never started")
	}
	end := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// A dead process that nobody has waited for yet has no program any more.
		if program, _ := os.Readlink(filepath.Join("/proc", fmt.Sprint(pid), "exe")); !strings.Contains(program, "sleep") && !strings.Contains(program, "coreutils") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d has outlived the test that started it", pid)
		}
		<-tick.C
	}
}

// TestProcessesOfTheNamespace: what left its process group is found by the namespace it is in.
func TestProcessesOfTheNamespace(t *testing.T) {
	Require(t, "setsid", "sleep")
	ns := New(t)
	ns.MustExec(t, "setsid", "-f", "sleep", "1000")
	if list := ns.Processes(t); len(list) != 1 || !strings.HasSuffix(list[0], " sleep") {
		t.Errorf("processes: %q", list)
	}
	ns.sweep(t)
	end := time.Now().Add(10 * time.Second)
	for len(ns.Processes(t)) > 0 {
		if time.Now().After(end) {
			t.Fatal("the sleeper lives on")
		}
	}
}
