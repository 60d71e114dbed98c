package node

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlantedFaults: the comparison with the obvious VR, or the seeds of FuzzReceive, find each of these faults of the packet path. The sources stay as they are:
// the go command is told to take others in their place.
func TestPlantedFaults(t *testing.T) {
	if !night() {
		t.Skip("SKIPPED, NOT TESTED: builds the package once for each fault; VINE_NIGHT=1 runs it")
	}
	for _, fault := range []struct{ what, file, right, wrong string }{
		{"identification of a segment", "segment/cut.go", "binary.BigEndian.Uint16(c.header[4:])+uint16(c.count)", "binary.BigEndian.Uint16(c.header[4:])+uint16(c.count)&1"},
		{"PSH in all segments but the last", "segment/cut.go", "if !last {", "if last {"},
		{"PSH and FIN lost at the end of a run", "segment/join.go", "p.Bytes[r.l.upper+13] |= r.flags", ""},
		{"CWR in all segments", "segment/cut.go", "if !first {", "if false {"},
		{"TTL of gathered packets", "lane.go", "forward.DecrementTTL(chunk[0].Bytes)", ""},
		{"TTL of packets that stay here", "lane.go", "forward.DecrementTTL(p.Bytes)\n\t\tl.answer[0] = p", "l.answer[0] = p"},
		{"TTL without its checksum", "forward/ttl.go", "binary.BigEndian.PutUint16(b[10:], check)", "_ = check"},
		{"no MSS clamp", "lane.go", "forward.ClampMSS(p.Bytes, d.Packet, d.PathMTU)", "_ = 0"},
		{"MSS at an odd place", "forward/mss.go", "if at%2 != 0 {", "if false {"},
		{"MSS of IPv6 as of IPv4", "forward/mss.go", "tcpHeaderLen - ipv6HeaderLen", "tcpHeaderLen - ipv4HeaderLen"},
		{"damaged packets gathered", "segment/gather.go", "return p.Partial || l.intact(p.Bytes)", "return true"},
		{"packets of another TTL gathered", "segment/gather.go", "string(first[6:10]) == string(b[6:10])", "string(first[6:8]) == string(b[6:8])"},
		{"packets of other identifications gathered", "segment/gather.go", "first[6]&dontFragment != 0 ||", "true ||"},
		{"a bundle of two VNs", "lane.go", "o.index != index || o.meta != meta ||", ""},
		{"a saved piece not put back", "segment/join.go", "copy(r.buf[r.n-r.l.head:r.n], r.saved[:])", ""},
		{"sequence number of the last piece", "segment/template.go", "c.l.advance(piece, uint32(c.at-c.l.head))", "c.l.advance(piece, uint32(c.at))"},
		{"UDP checksum of zero", "segment/packet.go", "if sum == 0 && l.proto == protoUDP {", "if false {"},
		{"options of later IP fragments", "forward/ipfrag.go", "if options[0]&optionCopied != 0 {", "if true {"},
		{"offset of IP fragments of IP fragments", "forward/ipfrag.go", "header, offset := first, p.Offset", "header, offset := first, 0"},
		{"MTU that a host is told", "forward/icmp.go", "uint16(min(d.TooBig, 0xffff))", "uint16(d.TooBig-1)"},
		{"answers to errors", "forward/icmp.go", "if d.ICMP == ICMPNone || !p.Src.IsValid() || p.Length > len(b) || !mayAnswer(b[:p.Length], p) {", "if false {"},
		{"padding taken for a part of the packet", "lane.go", "super, longest := p.GSOSize != 0, 0", "super, longest := p.GSOSize != 0, len(p.Bytes)"},
		{"pieces of a refused run held", "lane.go", "l.refused = refusal{id, drop}", ""},
		{"what is remembered outlives its snapshot", "forward/cache.go", "if c.of != s {", "if c.of == nil {"},
		{"source of another router", "forward/decide.go", "if !ok || from == s.self || !slices.Contains(set.routers, from) {", "if !ok || len(set.routers) > 1 && !slices.Contains(set.routers, from) {"},
		{"bytes behind a packet", "forward/decide.go", "if p.Length != len(b) {", "if false {"},
		{"the peer's partial checksum", "segment/join.go", "r.l.seed(p.Bytes)", ""},
		{"too many segments of UDP", "segment/join.go", "return segments(n, size) <= udpSegmentsMax", "return true"},
		{"packets in each other's memory", "lane.go", "l.filled += len(packet)\n\tif header", "if header"},
		{"sequence number of what follows a loss", "segment/template.go", "x.seq+uint32((index-x.index)*length)", "x.seq+uint32((index-x.index+1)*length)"},
		{"headers of another run", "segment/template.go", "if x := &t.list[i]; x.id == id && x.l.head > 0 {", "if x := &t.list[i]; x.l.head > 0 {"},
		{"PSH of a lost end", "segment/template.go", "x.header[l.upper+13] &^= tcpFIN | tcpPSH | tcpCWR", ""},
		{"held pieces forgotten", "lane.go", "if l.templates.Holds(id) {", "if false {"},
		{"a run that goes on over a gap", "lane.go", "header.Counter == l.run.next && template == l.run.template", "header.Counter >= l.run.next && template == l.run.template"},
		{"halves of two packets", "forward/split.go", "if slot.base == base && slot.second != piece.Second {", "if slot.second != piece.Second {"},
		{"a bundle for a relayed path at another's place", "lane.go", "at := peer.room() + frame.DataHeaderLen + o.bytes", "at := frame.DataHeaderLen + o.bytes"},
		{"congestion not told in IPv6", "forward/ecn.go", "b[1] = b[1]&^0x30 | ecn<<4", ""},
		{"congestion that cannot be told", "lane.go", "if outer != 0 && !forward.Decapsulate(p.Bytes, outer) {", "if outer != 0 && !forward.Decapsulate(p.Bytes, outer) && false {"},
		{"segments of a guessed length split", "lane.go", "if narrow, ok := segment.Narrow(p, d.PathMTU); ok {", "if narrow, ok := segment.Narrow(p, d.PathMTU); ok && p.GSOSize == 0 {"},
		{"no replay window", "../transport/secure/replay.go", "func (w *window) accept(c uint64) bool {", "func (w *window) accept(c uint64) bool {\n\tif c < 1<<40 {\n\t\treturn true\n\t}"},
	} {
		t.Run(fault.what, func(t *testing.T) {
			source, err := filepath.Abs(fault.file)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(text, []byte(fault.right)) {
				t.Fatalf("%s has no %q any more", fault.file, fault.right)
			}
			dir := t.TempDir()
			wrong, overlay := filepath.Join(dir, "wrong.go"), filepath.Join(dir, "overlay.json")
			replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: wrong}})
			if err != nil {
				t.Fatal(err)
			}
			for name, b := range map[string][]byte{wrong: bytes.ReplaceAll(text, []byte(fault.right), []byte(fault.wrong)), overlay: replace} {
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-run", "AgainstObvious$|FuzzReceive", ".")
			cmd.Env = append(os.Environ(), "VINE_NIGHT=")
			out, err := cmd.CombinedOutput()
			switch {
			case err == nil:
				t.Error("nothing found")
			case !strings.Contains(string(out), "--- FAIL: "):
				t.Fatalf("%s", out)
			}
		})
	}
}
