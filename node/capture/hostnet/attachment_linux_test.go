package hostnet

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/capture/netnstest"
	"github.com/vine-mesh/vine/node/capture/tun"
)

// Two hosts with one address, on two attachments: each talks through its own TUN device only.
func TestSameAddressOnTwoAttachments(t *testing.T) {
	m := newMachine(t)
	m.lan2.Run(t, "ip addr add 192.168.2.5/24 dev eth0")
	if err := writeSysctl("ipv4/conf/all/rp_filter", "1"); err != nil { // strict, but for what Apply changes
		t.Fatal(err)
	}
	m.ns.Run(t, "ip link set eth1 down\nip link set eth1 up\nip addr add fd01::2/64 dev eth1") // as after a cable was pulled
	devices := []*tun.Device{openTUN(t, "vine0"), openTUN(t, "vine1")}
	s, err := Apply(plan2(), m.journal)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	local := netip.MustParseAddrPort("10.192.1.5:4001")
	remote := netip.MustParseAddrPort("10.200.0.9:4002")
	var conns []*net.UDPConn
	for i, lan := range []*netnstest.Namespace{m.lan, m.lan2} {
		h, err := HostSetup(netip.PrefixFrom(local.Addr(), 24), netip.MustParseAddr([]string{"192.168.1.2", "192.168.2.2"}[i]), space...)
		if err != nil {
			t.Fatal(err)
		}
		err = lan.Do(func() error {
			if err := h.Apply(); err != nil {
				return err
			}
			c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local))
			conns = append(conns, c)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conns[i].Close() }()
	}
	for i, d := range devices {
		name := []byte(d.Name())
		// Outward: what host i sends comes out of device i.
		if _, err := conns[i].WriteToUDPAddrPort(name, remote); err != nil {
			t.Fatal(err)
		}
		bufs, pkts := [][]byte{make([]byte, d.MTU())}, make([]capture.Packet, 1)
		for seen := false; !seen; {
			if _, err := d.ReadBatch(bufs, pkts); err != nil {
				t.Fatal(err)
			}
			src, dst, payload, ok := capturetest.ParsePacket(pkts[0])
			if seen = ok && src == local && dst == remote; seen && string(payload) != d.Name() {
				t.Errorf("%s captured the packet of %s", d.Name(), payload)
			}
		}
		// Inward: what is written to device i reaches host i.
		if _, err := d.WriteBatch(capture.Packets(capturetest.AppendUDP(nil, remote, local, name))); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if err := conns[i].SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, from, err := conns[i].ReadFromUDPAddrPort(b)
		if err != nil || from != remote || string(b[:n]) != d.Name() {
			t.Errorf("the host of %s received %q from %v, %v", d.Name(), b[:n], from, err)
		}
	}
}

// Without the right to change the network, the error says so and nothing is left.
func TestWithoutCapability(t *testing.T) {
	m := newMachine(t)
	openTUN(t, "vine0")
	err := m.ns.Do(func() error {
		// Capabilities belong to the thread, and this one ends with the function.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		_, err := Apply(plan1(), m.journal)
		if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("Apply: %v", err)
		}
		h, err := HostSetup(netip.MustParsePrefix("10.192.1.5/24"), netip.MustParseAddr("192.168.1.1"), space...)
		if err == nil {
			err = h.Apply()
		}
		if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("Host.Apply: %v", err)
		}
		if _, err := tun.Open("vine1", 1420); err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
			t.Errorf("tun.Open: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Teardown(m.journal); err != nil {
		t.Errorf("Teardown: %v", err)
	}
}
