package node_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/capture/capturetest"
	"github.com/vine-mesh/vine/node/nodetest"
	"github.com/vine-mesh/vine/policy"
)

// TestReplace: hosts reach each other by whatever device their VR has by then, in the same session.
func TestReplace(t *testing.T) {
	inWorld(t, 91, func(t *testing.T, w *nodetest.World) {
		a := w.Found("alpha")
		b := w.Join("beta", a)
		ha, hb := a.NewHost(), b.NewHost()
		w.Must(a, policy.OpVNCreate, policy.VNCreateArgs{Name: "physics", Hosts: []netip.Addr{ha, hb}})
		reach := func(when string) {
			t.Helper()
			if !w.Reaches(a, ha, b, hb, 10*time.Second) || !w.Reaches(b, hb, a, ha, 10*time.Second) {
				t.Errorf("%s: hosts do not reach each other", when)
			}
		}
		reach("before")
		conn := a.Node.LinkWith(t.Context(), b.Joined.Router)
		fresh := func() *capturetest.ChannelDevice { return capturetest.NewChannelDevice("other", 1400) }
		replace := func(s *nodetest.Site, with *capturetest.ChannelDevice, closeFirst bool) {
			t.Helper()
			was := s.Devices[0]
			if err := s.Node.Replace(func(old []capture.Device) ([]capture.Device, error) {
				if len(old) != 1 || old[0] != was {
					t.Errorf("replacing %v", old)
				}
				if closeFirst {
					old[0].Close()
					time.Sleep(time.Second) // the lane waits
				}
				return []capture.Device{with}, nil
			}); err != nil {
				t.Error(err)
			}
			s.Devices[0] = with
			if n, err := was.WriteBatch(capture.Packets([]byte{0x45})); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the old device is open: %d, %v", n, err)
			}
		}
		for range 3 {
			replace(a, fresh(), false)
			replace(b, fresh(), true)
			reach("after")
		}
		// What fails changes nothing, but where the old device had to go.
		broken := errors.New("no such device")
		if err := a.Node.Replace(func([]capture.Device) ([]capture.Device, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("Replace = %v", err)
		}
		reach("after a failure")
		again := fresh()
		if err := a.Node.Replace(func(old []capture.Device) ([]capture.Device, error) {
			old[0].Close()
			return []capture.Device{again}, broken
		}); !errors.Is(err, broken) {
			t.Errorf("Replace = %v", err)
		}
		a.Devices[0] = again
		reach("after a failure with the old device gone")
		if now := a.Node.LinkWith(t.Context(), b.Joined.Router); now != conn {
			t.Error("the link was made anew")
		}
		// A Node that has ended takes none.
		n, late := b.Node, fresh()
		b.Stop()
		if err := n.Replace(func([]capture.Device) ([]capture.Device, error) { return []capture.Device{late}, nil }); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Replace after the end = %v", err)
		}
		if _, err := late.WriteBatch(capture.Packets([]byte{0x45})); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a device that came too late is open: %v", err)
		}
	})
}
