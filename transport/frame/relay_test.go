package frame_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
)

// "VN != 0: a data datagram; VN = 0: init, response, cookie, control, gossip." docs/wire.md
func TestRelayCarries(t *testing.T) {
	for b := range 256 {
		payload := []byte{byte(b), 0, 0, 0}
		inVN := frame.Relay{VN: 7}.Carries(payload)
		inNone := frame.Relay{}.Carries(payload)
		if want := b == 1; inVN != want {
			t.Errorf("type %d in a VN: %v", b, inVN)
		}
		if want := slices.Contains([]int{2, 3, 4, 9, 10}, b); inNone != want {
			t.Errorf("type %d in none: %v", b, inNone)
		}
	}
	if (frame.Relay{VN: 7}).Carries(nil) || (frame.Relay{}).Carries(nil) {
		t.Error("an empty payload is carried")
	}
}

func TestRelaySize(t *testing.T) {
	for size, fits := range map[int]bool{0: false, 47: false, 48: true, 65535: true, 65536: false} {
		func() {
			defer func() {
				if panicked := recover() != nil; panicked == fits {
					t.Errorf("size %d: panic %v", size, panicked)
				}
			}()
			frame.Relay{}.Append(nil, size)
		}()
	}
	whole := relayed{payload: string(make([]byte, 65535-frame.RelayOverhead))}.Append(nil)
	if _, payload, err := frame.ParseRelay(whole); err != nil || len(payload) != 65535-frame.RelayOverhead {
		t.Errorf("the longest: %d bytes, %v", len(payload), err)
	}
	// A size that is right modulo 2^16 only.
	if _, _, err := frame.ParseRelay(append(whole, make([]byte, 1<<16)...)); err != frame.ErrLength {
		t.Errorf("65,536 bytes more: %v", err)
	}
}

func TestCandidatesAreBounded(t *testing.T) {
	var c frame.Candidates
	for i := range 12 {
		c.Endpoints = append(c.Endpoints, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 8463))
		c.Relays = append(c.Relays, tables.RouterID(i+1))
	}
	f, _, err := frame.ParseControl(c.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := frame.ParseCandidates(f.Body)
	if err != nil || !slices.Equal(got.Endpoints, c.Endpoints[:8]) || !slices.Equal(got.Relays, c.Relays[:8]) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTrainLength(t *testing.T) {
	for _, n := range []int{0, 10, 11, 12, 1200} {
		if got := len(frame.AppendTrain(nil, frame.Train{Count: 1}, n)); got != max(n, frame.TrainMin) {
			t.Errorf("AppendTrain(%d) is %d bytes", n, got)
		}
	}
}

// TestGossipKind: what memberlist sends is never taken for ours.
func TestGossipKind(t *testing.T) {
	for b := range 256 {
		want := frame.GossipMemberlist
		if b == 0xd2 || b == 0xd3 {
			want = frame.GossipPayload(b)
		}
		if got := frame.GossipKind([]byte{byte(b), 1, 2}); got != want {
			t.Errorf("first byte %#x: %v", b, got)
		}
	}
	if frame.GossipKind(nil) != frame.GossipMemberlist {
		t.Error("an empty payload has a kind of ours")
	}
	full := append(frame.Gossip{Pieces: 1}.Append(nil), make([]byte, frame.GossipPieceMax-5-frame.GossipHeaderLen)...)
	if n := len(frame.AppendGossipRelay(nil, 19, full)); n != frame.GossipPieceMax {
		t.Errorf("payload of %d bytes", n)
	}
}
