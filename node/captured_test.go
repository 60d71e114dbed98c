package node

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/vine-mesh/vine/node/capture"
)

// capturedPackets returns the IP packets of each capture, the outermost and those in them; it skips the test, loudly, where there is
// no corpus, and fails it with CI set.
func capturedPackets(t *testing.T) (files [][][]byte) {
	t.Helper()
	names, err := filepath.Glob("../../shared/corpora/pcap/*.pcap") // no part of the project
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("no captures in ../shared/corpora/pcap")
		}
		t.Skip("SKIPPED, NOT TESTED on captures: none in ../shared/corpora/pcap")
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewReader(bytes.NewReader(b))
		if err != nil {
			continue // damaged on purpose
		}
		var packets [][]byte
		for range 1000 {
			frame, _, err := r.ReadPacketData()
			if err != nil {
				break
			}
			for _, l := range gopacket.NewPacket(frame, r.LinkType(), gopacket.DecodeOptions{NoCopy: true}).Layers() {
				if l.LayerType() == layers.LayerTypeIPv4 || l.LayerType() == layers.LayerTypeIPv6 {
					packets = append(packets, append(bytes.Clone(l.LayerContents()), l.LayerPayload()...))
				}
			}
		}
		files = append(files, packets)
	}
	return files
}

// between makes a captured packet one of two hosts. Its checksums stay wrong or become right.
func between(b []byte, src4, dst4, src6, dst6 netip.Addr, right bool) []byte {
	b = bytes.Clone(b)
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && b[0]%16 >= 5 && 4*int(b[0]%16) <= len(b):
		copy(b[12:], append(src4.AsSlice(), dst4.AsSlice()...))
		summed(b)
	case len(b) >= 40 && b[0]>>4 == 6:
		copy(b[8:], append(src6.AsSlice(), dst6.AsSlice()...))
	default:
		return b
	}
	s, faults := see(b)
	at := map[byte]int{6: 16, 17: 6}[s.proto]
	if !right || len(faults) > 0 || at == 0 || s.upper == 0 || s.more || s.length < s.upper+at+2 {
		return b
	}
	upper := b[s.upper:s.length]
	put(upper, at, 0)
	put(upper, at, 0xffff-sum16(pseudo(b, s.proto, len(upper)), upper))
	return b
}

// asSuper makes a packet what a kernel would have handed over, had it put several together to get this one; or nothing.
func asSuper(b []byte, rng *rand.Rand) (p capture.Packet, ok bool) {
	s, faults := see(b)
	if len(faults) > 0 || s.length != len(b) || s.more || s.offset > 0 || s.upper == 0 || s.v6 && s.upper > 40 {
		return p, false
	}
	head, at := s.upper+8, s.upper+6
	switch {
	case s.proto == 6 && len(b) >= s.upper+20 && b[s.upper+12]>>4 >= 5:
		head, at = s.upper+4*int(b[s.upper+12]>>4), s.upper+16
	case s.proto == 17 && len(b) >= head && word(b, s.upper+4) == len(b)-s.upper:
	default:
		return p, false
	}
	if len(b)-head < 2 {
		return p, false
	}
	p = partial(capture.Packet{Bytes: bytes.Clone(b)}, s.proto, s.upper, at)
	p.GSOSize = uint16(max((len(b)-head+63)/64, 1+rng.IntN(len(b)-head-1)))
	return p, int(p.GSOSize) < len(b)-head
}

// TestCapturesAgainstObvious: on captured packets, many of them malformed, the lanes do what the obvious VR does: as they are, between
// two hosts, with their checksums made right, and as super-packets.
func TestCapturesAgainstObvious(t *testing.T) {
	files := capturedPackets(t)
	rng := seeded(t)
	w := newTwin(t, rng)
	var seen tallyOf
	packets := 0
	for _, file := range files {
		var variants [4][]capture.Packet
		for _, b := range file {
			packets++
			variants[0] = append(variants[0], capture.Packet{Bytes: b})
			variants[1] = append(variants[1], capture.Packet{Bytes: between(b, hostA4, hostB4, hostA6, hostB6, false)})
			whole := between(b, hostA4, hostB4, hostA6, hostB6, true)
			variants[2] = append(variants[2], capture.Packet{Bytes: whole})
			if p, ok := asSuper(whole, rng); ok {
				variants[3] = append(variants[3], p)
			}
		}
		for _, list := range variants {
			for len(list) > 0 {
				n := min(len(list), 1+rng.IntN(laneBatch))
				w.anyPath(rng)
				seen.add(list[:n], w.check(t, list[:n]))
				list = list[n:]
			}
		}
	}
	t.Logf("%d captured packets, %d super-packets of them; %d packets on the far LAN", packets, seen.supers, seen.far)
	if packets < 3000 || seen.supers < 1000 || seen.far < 8000 {
		t.Error("the captures show too little")
	}
}
