package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/segment"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

// A judge is a Device behind the receive lane that looks at what a kernel, or a host, would have to rely on.
type judge struct {
	tally
	vn                      *obviousNet
	supers, partial, single int
	wrong                   error // the first packet that must not be written, and why
}

func (j *judge) WriteBatch(list []capture.Packet) (int, error) {
	for i, p := range list {
		switch {
		case p.GSOSize > 0:
			j.supers++
		case p.Partial:
			j.partial++
		default:
			j.single++
		}
		err := j.packet(p)
		for _, other := range list[:i] {
			if overlap(p.Bytes, other.Bytes) {
				err = errors.New("lies in the same memory as another")
			}
		}
		if err != nil && j.wrong == nil {
			j.wrong = fmt.Errorf("%d bytes in segments of %d, partial %v: %w\n%x", len(p.Bytes), p.GSOSize, p.Partial, err, p.Bytes[:min(len(p.Bytes), 120)])
		}
	}
	return len(list), nil
}

func overlap(a, b []byte) bool {
	from, to := uintptr(unsafe.Pointer(unsafe.SliceData(a))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return from < to+uintptr(len(b)) && to < from+uintptr(len(a))
}

func (j *judge) packet(p capture.Packet) error {
	b := p.Bytes
	s, faults := see(b)
	switch {
	case len(faults) > 0:
		return fmt.Errorf("it is %v", faults[0])
	case s.length != len(b):
		return fmt.Errorf("its header says %d bytes", s.length)
	case s.ttl == 0:
		return errors.New("its TTL is over")
	case !within(j.vn.prefixes[laneA], s.src):
		return fmt.Errorf("source %v is not of the sender's set in %v", s.src, j.vn.id)
	case !slices.Contains(j.vn.far, s.dst):
		return fmt.Errorf("destination %v is no member of %v here", s.dst, j.vn.id)
	case !p.Partial && p.GSOSize != 0:
		return errors.New("a super-packet without a partial checksum")
	}
	if p.Partial {
		if err := offsets(p, s); err != nil {
			return err
		}
	}
	for _, w := range onWire(p) {
		if s, faults := see(w); len(faults) > 0 || s.length != len(w) {
			return fmt.Errorf("a segment is %v, %x", faults, w[:min(len(w), 120)])
		}
	}
	return nil
}

// offsets checks a packet whose checksum the kernel is to finish, and which it may have to cut.
func offsets(p capture.Packet, s sight) error {
	b := p.Bytes
	var head, sumAt int
	switch {
	case s.upper == 0 || s.more || s.offset > 0:
		return errors.New("no transport header")
	case s.proto == 6 && len(b) >= s.upper+20:
		head, sumAt = s.upper+4*int(b[s.upper+12]>>4), s.upper+16
		if head < s.upper+20 {
			return errors.New("short TCP header")
		}
	case s.proto == 17 && len(b) >= s.upper+8:
		head, sumAt = s.upper+8, s.upper+6
		if p.GSOSize > 0 && word(b, s.upper+4) != len(b)-s.upper {
			return errors.New("wrong UDP length")
		}
		if n := len(b) - head; p.GSOSize > 0 && n > 64*int(p.GSOSize) {
			return fmt.Errorf("%d bytes of UDP in more segments than a kernel takes", n)
		}
	default:
		return fmt.Errorf("checksum of protocol %d", s.proto)
	}
	if head > len(b) || p.GSOSize > 0 && len(b)-head <= int(p.GSOSize) || p.GSOSize == 0xffff {
		return fmt.Errorf("headers of %d bytes", head)
	}
	if want := sum16(pseudo(b, s.proto, len(b)-s.upper)); word(b, sumAt) != want {
		return fmt.Errorf("partial checksum %x, want %x", word(b, sumAt), want)
	}
	var h [segment.VnetLen]byte
	if !segment.ToVnet(&h, p) || int(binary.NativeEndian.Uint16(h[6:]))+int(binary.NativeEndian.Uint16(h[8:])) != sumAt ||
		p.GSOSize > 0 && int(binary.NativeEndian.Uint16(h[2:])) != head {
		return fmt.Errorf("the kernel is told %x", h)
	}
	return nil
}

// A forger is a peer with live channels that sends whatever a program of bytes says.
type forger struct {
	*twin
	lane *receiveLane
	vns  [2]*judge
	used int
	ecn  uint8 // of what is sent now
}

func newForger(t testing.TB) *forger {
	t.Helper()
	f := &forger{twin: newTwin(t, rand.New(rand.NewPCG(0, 0)))}
	for i := range f.vns {
		f.vns[i] = &judge{vn: &f.nets[i]}
		f.b.attachments[i].device = f.vns[i]
	}
	gate, err := secure.NewGate(tables.LinkKey{}, time.Unix(1e9, 0), &steady{})
	if err != nil {
		t.Fatal(err)
	}
	f.b.gate, f.b.underLoad = gate, underLoad
	f.b.directory.Store(&directory{view: tables.NewStore(tables.Hash{}).Snapshot()})
	if f.b.pouch, err = newPouch(f.b); err != nil {
		t.Fatal(err)
	}
	f.lane = f.recv[0]
	return f
}

// seal sends what a VR that does not obey seals.
func (f *forger) seal(vn tables.VNID, meta [3]byte, b []byte) {
	peer := f.a.snapshot.Load().peers[laneB]
	if len(b) > packetMax-frame.DataHeaderLen-frame.TagLen {
		return
	}
	d := f.datagram()
	if sealed, ok := peer.sender.Seal(d.Buf[:0], peer.index[vn], meta, vn, b); ok {
		d.N = len(sealed)
	}
}

// datagram returns the next of the batch.
func (f *forger) datagram() *underlay.Datagram {
	if f.used == len(f.lane.in) {
		f.step()
	}
	d := &f.lane.in[f.used]
	d.N, d.Addr, d.Segment, d.ECN = 0, endpointA, 0, f.ecn
	f.used++
	return d
}

func (f *forger) step() {
	f.lane.step(f.used)
	f.used = 0
}

// honest sends a packet as the send lane does, with these datagrams lost, and the others from somewhere on first.
func (f *forger) honest(p capture.Packet, mtu int, lost, turn int) {
	f.path(mtu, f.straight)
	f.sock.used = 0
	f.send.packets[0] = p
	f.send.packets[0].Bytes = f.send.in[0][:copy(f.send.in[0], p.Bytes)]
	f.send.step(1)
	for i := range f.sock.used {
		if i+1 != lost {
			d := f.datagram()
			d.N = copy(d.Buf, f.sock.room[(i+turn)%f.sock.used])
		}
	}
}

// run does what a program says: operations of a byte, each with three bytes, a length, and as many bytes.
func (f *forger) run(program []byte) {
	f.lane.templates, f.lane.run, f.lane.refused, f.lane.join = segment.Templates{}, openRun{}, refusal{}, forward.NewJoiner(4)
	for len(program) >= 6 {
		op, meta, n := program[0], [3]byte(program[1:4]), word(program, 4)
		program = program[6:]
		data := program[:min(n, len(program))]
		program = program[len(data):]
		f.ecn = op >> 4 & 1 * 3
		vn, src4, dst4, src6, dst6 := laneVN, hostA4, hostB4, hostA6, hostB6
		if op&0x80 != 0 {
			vn, src4, dst4, src6, dst6 = otherVN, otherA4, otherB4, otherA6, otherB6
		}
		src, dst := src4, dst4
		if op&0x40 != 0 {
			src, dst = src6, dst6
		}
		g := &flow{generator: &generator{rng: rand.New(rand.NewPCG(0, 0))}, src: src, dst: dst, ttl: 9, df: op&0x20 == 0}
		switch op & 7 {
		case 0: // whatever comes
			d := f.datagram()
			d.N = copy(d.Buf, data)
		case 1: // whatever a peer seals
			f.seal(vn, meta, data)
		case 2: // headers that pass, and anything behind them
			f.seal(vn, meta, g.packet(17, append(g.udp(0), data...)))
		case 3:
			f.seal(vn, meta, g.packet(6, append(g.tcp(0), data...)))
		case 4: // headers with something changed
			b := g.packet(pick6(meta[2]), g.tcp(int(meta[1])))
			for i, x := range data[:min(len(data), len(b))] {
				b[i] ^= x
			}
			if op&8 != 0 && len(b) >= 20 && b[0]>>4 == 4 && b[0]%16 >= 5 && 4*int(b[0]%16) <= len(b) {
				summed(b)
			}
			f.seal(vn, [3]byte{meta[0], 0, byte(len(b))}, b)
		case 5: // what honest peers send, on its way lost and overtaken
			p := superTCP(src, dst, 3000+n, 300+int(meta[0]))
			if op&8 != 0 {
				g.length = n % 600
				p = g.superUDP()
			}
			f.honest(p, pathMTUs[int(meta[1])%len(pathMTUs)], int(meta[2]&15), int(meta[2]>>4))
		case 6: // a counter that nobody sees
			peer := f.a.snapshot.Load().peers[laneB]
			peer.sender.Run(1 + int(meta[0]&3))
		case 7:
			f.step()
		}
	}
	f.step()
}

func pick6(b byte) byte { return []byte{6, 17, 1, 58, 44, 0, 43, 60}[b%8] }

// FuzzReceive: whatever datagrams come, and whatever a peer seals under whatever flags, what is written to a LAN is a packet from the
// sender's own hosts of that VN to a member of it, with offsets that are in it.
func FuzzReceive(f *testing.F) {
	for _, seed := range receiveSeeds() {
		f.Add(seed)
	}
	peer := newForger(f)
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 1<<15 {
			return
		}
		peer.run(program)
		for _, j := range peer.vns {
			if err := j.wrong; err != nil {
				j.wrong = nil
				t.Errorf("written in %v: %v", j.vn.id, err)
			}
		}
	})
}

// receiveSeeds are programs that reach every way through the receive lane.
func receiveSeeds() (all [][]byte) {
	op := func(op, a, b, c byte, data ...byte) []byte {
		return append([]byte{op, a, b, c, byte(len(data) >> 8), byte(len(data))}, data...)
	}
	body := slices.Repeat([]byte{1, 2, 3, 5, 8}, 100)
	for _, way := range []byte{0, 0x10, 0x20, 0x40, 0x50, 0x80, 0xc0} {
		all = append(all,
			slices.Concat(op(way|5, 100, 5, 0, body...), op(way|5, 100, 5, 3, body...), op(way|5, 0, 5, 0x31, body...), op(way|7, 0, 0, 0)),
			slices.Concat(op(way|5|8, 1, 5, 0, body...), op(way|5|8, 1, 5, 0x12, body...)),
			slices.Concat(op(way|5, 1, 0, 0, body...), op(way|5|8, 1, 0, 2, body...)),
			slices.Concat(op(way|2, 0, 0, 0, body...), op(way|2, 0x40, 0, 0, body...), op(way|2, 4, 0, 0, body...), op(way|2, 4, 0, 1, body...), op(way|2, 5, 1, 0, body[:256]...),
				op(way|2, 6, 1, 0, body[:256]...), op(way|2, 7, 1, 0, body[:99]...)),
			slices.Concat(op(way|3, 0x85, 1, 44, body...), op(way|1, 0x86, 0, 1, body...), op(way|6, 1, 0, 0), op(way|1, 0x86, 0, 3, body...), op(way|3, 0x87, 0, 4, body...)),
			slices.Concat(op(way|1, 0x86, 0, 1, body...), op(way|1, 0x86, 0, 2, body...), op(way|3, 0x87, 0, 3, body...)),
			slices.Concat(op(way|1, 0x86, 0, 1, body...), op(way|6, 1, 0, 0), op(way|1, 0x86, 0, 1, body...)),
			op(way|4|8, 4, 100, 0, 0, 0, 0, 4),                     // bytes behind the packet
			op(way|4|8, 4, 100, 0, append(make([]byte, 14), 3)...), // from another site, IPv4
			op(way|4|8, 4, 100, 0, append(make([]byte, 15), 3)...), // and IPv6
			op(way|4|8, 4, 100, 0, append(make([]byte, 19), 7)...), // to another host
			slices.Concat(op(way|2, 8, 0, 0, body...), op(way|1, 0x18, 0, 0, body...)),
			slices.Concat(op(way|4, 4, 100, 0, 0, 0, 0, 0, 0, 1), op(way|4|8, 5, 100, 1, 0, 0, 0, 0, 0, 1), op(way|0x20, 4, 0, 0, body...)),
		)
	}
	return append(all, slices.Concat(op(0, 0, 0, 0, 1, 0), op(0, 0, 0, 0, append([]byte{11}, body...)...), op(0, 0, 0, 0, append([]byte{10}, body...)...)))
}

// TestForgerReaches: the seeds of FuzzReceive get packets of every kind written, and dropped for what a peer can do wrong.
func TestForgerReaches(t *testing.T) {
	f := newForger(t)
	for _, seed := range receiveSeeds() {
		f.run(seed)
	}
	for _, j := range f.vns {
		if j.wrong != nil {
			t.Error(j.wrong)
		}
		if j.supers < 5 || j.partial < 5 || j.single < 3 {
			t.Errorf("%d super-packets, %d with partial checksums and %d others written in %v", j.supers, j.partial, j.single, j.vn.id)
		}
	}
	for _, d := range []forward.Drop{forward.DropShort, forward.DropHeader, forward.DropForeignSource, forward.DropTrailing, forward.DropHeadless} {
		if f.b.drops[d].Load() == 0 {
			t.Errorf("nothing dropped for %v", d)
		}
	}
}
