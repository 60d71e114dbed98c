package forward

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// corpusFolder holds captures that nobody here wrote. It is no part of the project.
const corpusFolder = "../../../shared/corpora/pcap"

// eachFrame calls use for every frame of every capture.
func eachFrame(t *testing.T, use func(file string, link layers.LinkType, frame []byte)) {
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
		t.Skip("no captures")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		readFrames(b, func(link layers.LinkType, frame []byte) { use(filepath.Base(file), link, frame) })
	}
}

// readFrames reads what it can of a capture; many are damaged on purpose.
func readFrames(b []byte, use func(layers.LinkType, []byte)) {
	var next func() ([]byte, gopacket.CaptureInfo, error)
	var link layers.LinkType
	if r, err := pcapgo.NewReader(bytes.NewReader(b)); err == nil {
		next, link = r.ReadPacketData, r.LinkType()
	} else if r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.DefaultNgReaderOptions); err == nil {
		next, link = r.ReadPacketData, r.LinkType()
	} else {
		return
	}
	for range 100_000 {
		frame, _, err := next()
		if err != nil {
			return
		}
		use(link, frame)
	}
}

// Every frame of every capture goes through each function of the packet path: from the IP
// header that gopacket finds, and from the offsets where a link layer would put one.
func TestCapturesThroughPacketPath(t *testing.T) {
	packets, carried := 0, 0
	var drops [DropCount]int
	eachFrame(t, func(file string, link layers.LinkType, frame []byte) {
		at := [][]byte{frame}
		for _, skip := range []int{1, 4, 8, 14, 16, 18, 20, 22, 28, 36, 40, 44, 50, 54} {
			if len(frame) > skip {
				at = append(at, frame[skip:])
			}
		}
		for _, ip := range ipLayers(link, frame) {
			at = append(at, ip.bytes)
		}
		for _, b := range at {
			// Damage to the IPv4 checksum alone must not hide what lies behind.
			for _, b := range [][]byte{b, mend(bytes.Clone(b))} {
				_, drop := Parse(b)
				packets++
				drops[drop]++
				if drop == DropNone {
					carried++
				}
				checkPacket(t, b)
			}
		}
	})
	if carried < 5000 {
		t.Errorf("only %d of %d packets were good", carried, packets)
	}
	for drop, n := range drops {
		t.Logf("%-24v %d", Drop(drop), n)
	}
}

// An ipLayer is one IP header as gopacket sees it.
type ipLayer struct {
	bytes  []byte // from the header on
	four   *layers.IPv4
	six    *layers.IPv6
	behind []gopacket.Layer // the layers after it
}

func ipLayers(link layers.LinkType, frame []byte) []ipLayer {
	var found []ipLayer
	all := gopacket.NewPacket(frame, link, gopacket.DecodeOptions{NoCopy: true}).Layers()
	for i, layer := range all {
		l := ipLayer{behind: all[i+1:]}
		switch layer := layer.(type) {
		case *layers.IPv4:
			l.four = layer
		case *layers.IPv6:
			l.six = layer
		default:
			continue
		}
		l.bytes = append(bytes.Clone(layer.LayerContents()), layer.LayerPayload()...)
		found = append(found, l)
	}
	return found
}

// Where both understand a packet, both must see the same addresses, protocol and IP fragment,
// and where the parser refuses an address, gopacket must see that address.
func TestCapturesAgainstGopacket(t *testing.T) {
	compared, refused := 0, 0
	eachFrame(t, func(file string, link layers.LinkType, frame []byte) {
		for _, l := range ipLayers(link, frame) {
			b := mend(bytes.Clone(l.bytes))
			p, drop := Parse(b)
			if drop == DropBadSource || drop == DropBadDest {
				checkRefused(t, file, l, drop)
				p, drop = Parse(readdress(l, b)) // the rest must agree all the same
			}
			if drop != DropNone {
				refused++
				continue
			}
			compared++
			want := Packet{}
			var src, dst []byte
			if l.four != nil {
				src, dst = l.four.SrcIP.To4(), l.four.DstIP.To4()
				want.Proto = uint8(l.four.Protocol)
				want.Offset, want.More = int(l.four.FragOffset)*8, l.four.Flags&layers.IPv4MoreFragments != 0
				want.DF, want.TTL = l.four.Flags&layers.IPv4DontFragment != 0, l.four.TTL
			} else {
				src, dst = l.six.SrcIP.To16(), l.six.DstIP.To16()
				want.DF, want.TTL = true, l.six.HopLimit
				want.Proto, want.Offset, want.More = upper6(l)
			}
			if !bytes.Equal(p.Src.AsSlice(), src) || !bytes.Equal(p.Dst.AsSlice(), dst) ||
				p.Offset != want.Offset || p.More != want.More || p.DF != want.DF || p.TTL != want.TTL ||
				p.IPFrag != (want.Offset != 0 || want.More) || p.Proto != want.Proto {
				t.Errorf("%s: %+v; gopacket %+v of %x", file, p, want, l.bytes[:min(len(l.bytes), 80)])
			}
		}
	})
	if compared < 2500 {
		t.Errorf("only %d packets compared, %d refused", compared, refused)
	}
	t.Logf("%d compared, %d refused", compared, refused)
}

// upper6 follows gopacket's extension header layers as far as there are any.
func upper6(l ipLayer) (proto uint8, offset int, more bool) {
	proto = uint8(l.six.NextHeader)
	for _, layer := range l.behind {
		switch layer := layer.(type) {
		case *layers.IPv6HopByHop:
			proto = uint8(layer.NextHeader)
		case *layers.IPv6Routing:
			proto = uint8(layer.NextHeader)
		case *layers.IPv6Destination:
			proto = uint8(layer.NextHeader)
		case *layers.IPSecAH:
			proto = uint8(layer.NextHeader)
		case *layers.IPv6Fragment:
			return uint8(layer.NextHeader), int(layer.FragmentOffset) * 8, layer.MoreFragments
		default:
			return proto, 0, false
		}
	}
	return proto, 0, false
}

// readdress makes both addresses of the packet b, and those that gopacket saw, good ones.
func readdress(l ipLayer, b []byte) []byte {
	if l.four != nil {
		l.four.SrcIP, l.four.DstIP = net.IP{10, 0, 0, 1}, net.IP{10, 0, 0, 2}
		copy(b[12:], "\x0a\x00\x00\x01\x0a\x00\x00\x02")
		return mend(b)
	}
	l.six.SrcIP, l.six.DstIP = addr("fd00::1").AsSlice(), addr("fd00::2").AsSlice()
	copy(b[8:], l.six.SrcIP)
	copy(b[24:], l.six.DstIP)
	return b
}

// checkRefused checks that gopacket sees what an address was refused for.
func checkRefused(t *testing.T, file string, l ipLayer, drop Drop) {
	t.Helper()
	ip, dst := gopacketAddrs(l)
	switch drop {
	case DropBadSource:
	case DropBadDest:
		ip = dst
	default:
		return
	}
	if !ip.IsMulticast() && !ip.IsLoopback() && !ip.IsUnspecified() && !ip.Equal(net.IPv4bcast) {
		t.Errorf("%s: refused %v for %v", file, ip, drop)
	}
}

func gopacketAddrs(l ipLayer) (src, dst net.IP) {
	if l.four != nil {
		return l.four.SrcIP, l.four.DstIP
	}
	return l.six.SrcIP, l.six.DstIP
}
