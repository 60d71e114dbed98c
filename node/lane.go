package node

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vine-mesh/vine/node/capture"
	"github.com/vine-mesh/vine/node/forward"
	"github.com/vine-mesh/vine/node/segment"
	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
	"github.com/vine-mesh/vine/transport/secure"
	"github.com/vine-mesh/vine/transport/underlay"
)

const (
	laneBatch = 32                          // packets moved by one system call at most
	packetMax = 9216                        // bytes of a datagram's buffer: a jumbo packet and the headers
	manyBatch = 16                          // buffers for several datagrams each: together they stay in the cache
	arenaMax  = 4 * (segment.LengthMax + 1) // bytes that are opened before they are injected
	joinLanes = 1024                        // peers whose split packets are put together at a time
)

// A snapshot is what the lanes read. It is immutable once published; a lane loads it once per
// batch, so one batch never mixes two versions.
type snapshot struct {
	forward *forward.Snapshot
	peers   map[tables.RouterID]*sendPeer
	hops    map[tables.RouterID]*hopPeer                   // routers that we have a link with, over which others can be reached
	relays  bool                                           // we relay for others
	sharers map[tables.RouterID]struct{}                   // routers of delivery sets of several; nil: there are none
	prefer  func(vn tables.VNID, b []byte) tables.RouterID // where hosts of a split LAN are; nil: none is split
}

// A sendPeer says how data goes to one router: the live part of an NSKT entry (dissertation
// table 3-6). It is immutable but for used, which the control loop clears.
type sendPeer struct {
	router   tables.RouterID
	endpoint netip.AddrPort // the path; when it is relayed, hop says where the datagram goes
	hop      *hopPeer       // nil: no relay
	sender   *secure.Sender
	index    map[tables.VNID]uint32
	used     *atomic.Bool // data was sealed since the control loop looked
}

// A grant says what a channel index that we issued stands for.
type grant struct {
	router   tables.RouterID
	vn       tables.VNID
	receiver *secure.Receiver
	endpoint netip.AddrPort // the path that the router's data should come by
	used     *atomic.Bool   // data came by that path since the control loop looked
	roamed   *atomic.Bool   // the control loop was told of another source address
}

// sendLane takes packets of one attachment's hosts, decides, seals and sends. It runs until the
// device is closed and not replaced. Between one read and the next write it allocates nothing, except for a
// packet that has to wait for a link.
func (n *Node) sendLane(at int) error {
	lane := newSendLane(n, at)
	for {
		count, err := lane.device.ReadBatch(lane.in, lane.packets)
		switch {
		case errors.Is(err, net.ErrClosed):
			if !lane.renew() {
				return nil
			}
		case err != nil:
			return err
		default:
			lane.step(count)
		}
	}
}

// renew goes on with the device that has replaced the lane's, if one has.
func (l *sendLane) renew() bool {
	device := queueOf(l.n.attachments[l.at].current(), l.number)
	replaced := device != l.device
	l.device = device
	return replaced
}

type sendLane struct {
	sealer
	at      int
	device  capture.Device // nil: it has no queue for this lane
	in      [][]byte
	packets []capture.Packet
	answer  [1]capture.Packet
	icmp    []byte
	limit   *forward.TokenBucket
	cache   forward.Cache
}

func newSendLane(n *Node, at int) *sendLane { return newQueueLane(n, at, 0) }

// newQueueLane returns the send lane of an attachment with that number.
func newQueueLane(n *Node, at, number int) *sendLane {
	l := &sendLane{
		sealer: newSealer(n, number, 2*laneBatch), at: at, device: queueOf(n.attachments[at].current(), number),
		packets: make([]capture.Packet, laneBatch), icmp: make([]byte, 0, forward.ICMPBytesMax),
		limit: forward.NewTokenBucket(forward.ICMPRate, forward.ICMPBurst),
	}
	for range laneBatch {
		l.in = append(l.in, make([]byte, segment.LengthMax))
	}
	return l
}

// A sealer seals packets for their routers and sends them in batches. It belongs to one goroutine.
type sealer struct {
	n      *Node
	number int // of the lane: what it seals has that lane's keys, and leaves by that lane's socket
	out    []underlay.Datagram
	used   int  // out[:used] is to be sent
	hint   bool // the control loop is to be told when that is done
	cut    segment.Cutter
	chop   segment.Chopper
	open   bundle
	ecn    uint8               // of what is sealed now
	whole  []underlay.Datagram // one, for a super-packet in whole; nil: none was sent yet
	frags  [][]byte            // room for the IP fragments of one packet
}

// A bundle is small packets for one router and VN that wait in out[used], behind the place of the header, until the batch has no
// further one for the same.
type bundle struct {
	packets int // zero: there is none
	bytes   int
	room    int // bytes that the path carries
	peer    *sendPeer
	index   uint32
	vn      tables.VNID
	meta    [3]byte
	ecn     uint8
}

// ipFragsMax is how many IP fragments one packet can become: the longest IPv4 packet on the
// narrowest path.
const ipFragsMax = 0xffff/(forward.MinMTU/2-60) + 1

func newSealer(n *Node, number, batch int) sealer {
	l := sealer{n: n, number: number, out: newDatagrams(batch, packetMax), frags: make([][]byte, ipFragsMax)}
	for i := range l.frags {
		l.frags[i] = make([]byte, 0, 2048)
	}
	return l
}

// newDatagrams returns count datagrams with buffers of size bytes, behind which there is room to work in.
func newDatagrams(count, size int) []underlay.Datagram {
	list := make([]underlay.Datagram, count)
	for i := range list {
		list[i].Buf = make([]byte, size, size+secure.HopScratch)
	}
	return list
}

// step handles one batch of count packets: every packet is sent, delivered here, answered, left
// to the control loop or dropped with a counted reason.
func (l *sendLane) step(count int) {
	snap := l.n.snapshot.Load()
	l.cache.Prefer = snap.prefer
	for rest := l.packets[:count]; len(rest) > 0; {
		n, size := segment.Gather(rest)
		if n == 1 || !l.gathered(snap, rest[:n], size) {
			for _, p := range rest[:n] {
				l.one(snap, p)
			}
		}
		rest = rest[n:]
	}
	l.flush()
}

// gathered seals packets that can travel as a run of segments of size, with one decision for all of them. It does nothing
// if they need more than that.
func (l *sendLane) gathered(snap *snapshot, run []capture.Packet, size uint16) bool {
	d := l.cache.DecideSuper(snap.forward, l.at, run[0].Bytes, len(run[0].Bytes))
	if d.Drop != forward.DropNone || d.Local || d.Fit != forward.FitWhole {
		return false
	}
	peer := snap.peers[d.To]
	if peer == nil || peer.index[d.VN] == 0 {
		return false
	}
	l.mark(peer, run[0].Bytes)
	auth := metaOf(d.Seal)[0]
	for i, n := 0, segment.ChunkMax(run[0], d.PathMTU); i < len(run); i += n {
		chunk := run[i:min(i+n, len(run))]
		meta := frame.RunMeta(byte(positionOf(i, len(chunk), len(run))), size)
		meta[0] |= auth
		forward.DecrementTTL(chunk[0].Bytes)
		dg, room := l.free(peer)
		inner := segment.AppendChunk(dg.Buf[:room+frame.DataHeaderLen], chunk)[room+frame.DataHeaderLen:]
		l.sealed(dg, room, peer, peer.index[d.VN], d.VN, meta, inner)
	}
	return true
}

// positionOf returns the position of n segments from number i on, of so many.
func positionOf(i, n, of int) segment.Position {
	switch {
	case n == of:
		return segment.Single
	case i == 0:
		return segment.First
	case i+n == of:
		return segment.Last
	}
	return segment.Mid
}

// one handles a packet, or a super-packet with one decision for all of its segments.
func (l *sendLane) one(snap *snapshot, p capture.Packet) {
	n := l.n
	super, longest := p.GSOSize != 0, 0 // zero: as long as its header says; there may be padding behind it
	if super {
		longest = p.SegmentLength()
	}
	d := l.cache.DecideSuper(snap.forward, l.at, p.Bytes, longest)
	switch {
	case super && (d.Drop == forward.DropTooBig || d.Drop == forward.DropNone && d.Fit != forward.FitWhole):
		if narrow, ok := segment.Narrow(p, d.PathMTU); ok {
			l.one(snap, narrow)
			return
		}
		l.each(snap, p) // each is split or answered for itself
		return
	case d.Drop != forward.DropNone:
		n.drops[d.Drop].Add(uint64(p.Segments()))
		if d.ICMP != forward.ICMPNone && l.limit.Take(time.Now()) {
			if icmp, ok := forward.AppendICMP(l.icmp[:0], snap.forward, d, p.Bytes); ok {
				l.answer[0] = capture.Packet{Bytes: icmp}
				n.attachments[l.at].inject(l.number, l.answer[:])
			}
		}
		return
	}
	p.Bytes = p.Bytes[:d.Packet.Length]
	if d.Local {
		forward.DecrementTTL(p.Bytes)
		l.answer[0] = p
		n.attachments[d.Attachment].inject(l.number, l.answer[:])
		n.local.Add(uint64(p.Segments()))
		return
	}
	peer := snap.peers[d.To]
	var index uint32
	if peer != nil {
		index = peer.index[d.VN]
	}
	switch {
	case index == 0 && super:
		l.each(snap, p) // what waits for a channel are packets
		return
	case p.Partial && !super && (index == 0 || d.Fit != forward.FitWhole):
		segment.Finish(p.Bytes)
		p.Partial = false
	}
	forward.DecrementTTL(p.Bytes)
	forward.ClampMSS(p.Bytes, d.Packet, d.PathMTU) // a partial checksum is not changed by it for good: the receiver makes it anew
	switch {
	case index == 0:
		n.wait(d, p.Bytes)
	case super:
		l.run(peer, index, d, p)
	default:
		l.seal(peer, index, d, p)
	}
}

// each handles the segments of a super-packet one by one, with whole checksums.
func (l *sendLane) each(snap *snapshot, p capture.Packet) {
	for ok := l.cut.Start(p); ok; {
		var b []byte
		if b, _, ok = l.cut.Next(); ok {
			segment.Finish(b)
			l.one(snap, capture.Packet{Bytes: b})
		}
	}
}

// run seals a super-packet as a template run, or else as the run of its segments.
func (l *sealer) run(peer *sendPeer, index uint32, d forward.Decision, p capture.Packet) {
	l.mark(peer, p.Bytes)
	if path.KindOf(peer.endpoint) == path.Streamed && len(p.Bytes) <= recordMax {
		l.record(peer, index, d, p)
		return
	}
	if count := l.chop.Start(p, d.PathMTU); count > 0 {
		l.pieces(peer, index, d, p.GSOSize, count)
		return
	}
	auth := metaOf(d.Seal)[0]
	for ok := l.cut.StartChunks(p, d.PathMTU); ok; {
		var b []byte
		var at segment.Position
		if b, at, ok = l.cut.Next(); ok {
			meta := frame.RunMeta(byte(at), p.GSOSize)
			meta[0] |= auth
			l.put(peer, index, d.VN, meta, b)
		}
	}
}

// recordMax is the longest super-packet that a stream connection carries in whole.
const recordMax = underlay.StreamDatagramMax - frame.DataHeaderLen - frame.TagLen

// record seals a super-packet in whole, for a stream connection, which nothing is lost on.
func (l *sealer) record(peer *sendPeer, index uint32, d forward.Decision, p capture.Packet) {
	l.flush() // what came before goes first
	if l.whole == nil {
		l.whole = newDatagrams(1, underlay.StreamDatagramMax)
	}
	meta := frame.RunMeta(byte(segment.Single), p.GSOSize)
	meta[0] |= metaOf(d.Seal)[0]
	dg := &l.whole[0]
	sealed, ok := l.sender(peer).Seal(dg.Buf[:0], index, meta, d.VN, p.Bytes)
	if !ok {
		l.n.spent.Add(1)
		return
	}
	dg.N, dg.Addr = len(sealed), peer.endpoint
	l.write(l.whole)
}

// pieces seals the pieces of the chopped super-packet, under consecutive counters whoever else seals for the peer: the
// receiver counts them from the first.
func (l *sealer) pieces(peer *sendPeer, index uint32, d forward.Decision, size uint16, count int) {
	run, ok := l.sender(peer).Run(count)
	if !ok {
		l.n.spent.Add(uint64(count))
		return
	}
	auth := metaOf(d.Seal)[0]
	for b, at, i, ok := l.chop.Next(); ok; b, at, i, ok = l.chop.Next() {
		meta := frame.PieceMeta(byte(at), size)
		if i > 0 {
			meta = frame.PieceMeta(byte(at), uint16(i))
		}
		meta[0] |= auth
		dg, room := l.free(peer)
		sealed, _ := run.Seal(dg.Buf[room:room], index, meta, d.VN, b)
		l.used++
		l.address(dg, peer, d.VN, len(sealed))
	}
}

// mark tells the control loop that data goes to the peer, and takes note of what the packet says of congestion.
func (l *sealer) mark(peer *sendPeer, packet []byte) {
	l.ecn = forward.ECN(packet)
	if !peer.used.Load() {
		peer.used.Store(true)
		l.hint = true
	}
}

// seal appends packet to the outgoing batch, whole, in two pieces when the path is narrow, or as
// the IP fragments that a router must make of it.
func (l *sealer) seal(peer *sendPeer, index uint32, d forward.Decision, p capture.Packet) {
	l.mark(peer, p.Bytes)
	meta, packet := metaOf(d.Seal), p.Bytes
	if p.Partial {
		meta[0] |= frame.MetaPartialChecksum
	}
	switch d.Fit {
	case forward.FitWhole:
		if p.Partial || !l.bundle(peer, index, d, meta, packet) {
			l.put(peer, index, d.VN, meta, packet)
		}
	case forward.FitIPFrag:
		count, ok := forward.AppendIPFrags(l.frags, packet, d.Packet, d.PathMTU)
		if !ok {
			l.n.drops[forward.DropTooBig].Add(1)
			count = 0
		}
		for _, piece := range l.frags[:count] {
			l.put(peer, index, d.VN, meta, piece)
		}
		for i := range l.frags {
			l.frags[i] = l.frags[i][:0]
		}
	case forward.FitSplit:
		l.split(peer, index, d.VN, meta, packet)
	}
}

func metaOf(seal tables.Seal) [3]byte {
	if seal == tables.SealAuth {
		return [3]byte{frame.MetaAuthOnly}
	}
	return [3]byte{}
}

func (l *sealer) put(peer *sendPeer, index uint32, vn tables.VNID, meta [3]byte, inner []byte) {
	dg, room := l.free(peer)
	l.sealed(dg, room, peer, index, vn, meta, inner)
}

// sealed seals inner, which may lie where its ciphertext will, into the next datagram of the batch.
func (l *sealer) sealed(dg *underlay.Datagram, room int, peer *sendPeer, index uint32, vn tables.VNID, meta [3]byte, inner []byte) {
	sealed, ok := l.sender(peer).Seal(dg.Buf[room:room], index, meta, vn, inner)
	if !ok {
		l.n.spent.Add(1)
		return
	}
	l.used++
	l.address(dg, peer, vn, len(sealed))
}

// bundle puts a packet to those before it that go the same way, or begins a bundle with it. It does nothing if the packet is so
// long that hardly another has room beside it.
func (l *sealer) bundle(peer *sendPeer, index uint32, d forward.Decision, meta [3]byte, packet []byte) bool {
	if 2*len(packet) > d.PathMTU {
		return false
	}
	o := &l.open
	if o.packets == 0 || o.peer != peer || o.index != index || o.meta != meta || o.ecn != l.ecn || o.bytes+len(packet) > o.room {
		l.free(peer)
		*o = bundle{room: d.PathMTU, peer: peer, index: index, vn: d.VN, meta: meta, ecn: l.ecn}
	}
	at := peer.room() + frame.DataHeaderLen + o.bytes
	o.bytes += copy(l.out[l.used].Buf[at:], packet)
	o.packets++
	return true
}

// close seals the bundle.
func (l *sealer) close() {
	o := l.open
	if o.packets == 0 {
		return
	}
	l.open = bundle{}
	if o.packets > 1 {
		o.meta[0] |= frame.MetaBundle
	}
	dg, room, now := &l.out[l.used], o.peer.room(), l.ecn
	l.ecn = o.ecn
	l.sealed(dg, room, o.peer, o.index, o.vn, o.meta, dg.Buf[room+frame.DataHeaderLen:][:o.bytes])
	l.ecn = now
}

// free returns the next datagram of the batch, and where in it a sealed packet for the peer begins.
func (l *sealer) free(peer *sendPeer) (dg *underlay.Datagram, room int) {
	l.close()
	if l.used == len(l.out) {
		l.flush()
	}
	return &l.out[l.used], peer.room()
}

// room is how much a relay header takes in front of a sealed packet for the peer.
func (p *sendPeer) room() int {
	if path.KindOf(p.endpoint) == path.Relayed {
		return frame.RelayHeaderLen
	}
	return 0
}

// address makes the sealed packet of n bytes in dg ready to go to a peer: straight, or in a relay
// datagram. A relay whose link has just gone gets nothing: N is zero.
func (l *sealer) address(dg *underlay.Datagram, peer *sendPeer, vn tables.VNID, n int) {
	dg.N, dg.Addr, dg.ECN = n, peer.endpoint, l.ecn
	if peer.room() == 0 {
		return
	}
	dg.N = 0
	if peer.hop == nil {
		l.n.unrelayed.Add(1)
		return
	}
	whole, ok := peer.hop.sender.Wrap(dg.Buf[:frame.RelayHeaderLen+n], frame.RelayQueue, vn, l.n.self.Router, peer.router)
	if !ok {
		l.n.spent.Add(1)
		return
	}
	dg.N, dg.Addr = len(whole), peer.hop.endpoint
}

// split seals packet as two datagrams with consecutive counters.
func (l *sealer) split(peer *sendPeer, index uint32, vn tables.VNID, meta [3]byte, packet []byte) {
	l.close()
	if l.used+2 > len(l.out) {
		l.flush()
	}
	a, b := &l.out[l.used], &l.out[l.used+1]
	first, _ := forward.Split(packet)
	room := peer.room()
	sealedA, sealedB, ok := l.sender(peer).SealSplit(a.Buf[room:room], b.Buf[room:room], index, meta, vn, packet, len(first))
	if !ok {
		l.n.spent.Add(1)
		return
	}
	l.used += 2
	l.address(a, peer, vn, len(sealedA))
	l.address(b, peer, vn, len(sealedB))
}

// sender returns the Sender of the lane to a peer.
func (l *sealer) sender(peer *sendPeer) *secure.Sender { return peer.sender.On(uint8(l.number)) }

// write sends sealed packets.
func (l *sealer) write(dgs []underlay.Datagram) {
	l.n.writeOn(l.n.laneSocket(l.number), dgs)
	l.n.lanes[l.number].sent.Add(uint64(len(dgs)))
}

func (l *sealer) flush() {
	l.close()
	if l.used > 0 {
		l.write(l.out[:l.used])
		l.used = 0
	}
	if l.hint { // which wakes a thread: packets go first
		l.hint = false
		l.n.hint()
	}
}

// receiveLane reads a socket: data is opened, checked and injected; what is to be relayed goes on; gossip is
// opened and handed on; what passes the gate goes to the control loop; all else is dropped, counted,
// without an answer. It runs until the socket is closed.
func (n *Node) receiveLane(socket underlay.Socket) error {
	lane := newSocketLane(n, socket)
	for {
		count, err := socket.ReadBatch(lane.in)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		lane.finish(socket, count)
	}
}

// newSocketLane returns the receive lane of a socket.
func newSocketLane(n *Node, socket underlay.Socket) *receiveLane {
	number := slices.Index(n.more, socket) + 1 // zero for the first, and for streams
	streams := number == 0 && socket != n.socket
	count, size := underlay.BatchMax, packetMax
	if streams || n.many {
		count, size = manyBatch, underlay.OffloadBytes
	}
	l := newReceiveLane(n, newDatagrams(count, size))
	l.number, l.streams = number, streams
	return l
}

// finish takes a batch of count elements, and what more there is of a run that it ends in, and injects what was in them.
func (l *receiveLane) finish(socket underlay.Socket, count int) {
	l.take(count)
	for l.run.Unfinished() { // most often its rest is right behind
		count, err := socket.TryReadBatch(l.in)
		if count == 0 || err != nil {
			break
		}
		l.take(count)
	}
	l.flush()
}

// A receiveLane takes what comes by one socket. Datagrams of one lane of a session come by one socket as a rule, but may come by
// any: so replay windows belong to whoever has the lock of their lane (Node.windows), and the rest, such as gossip pieces and what is
// relayed, to who has the last lock. A batch most often needs one of them.
type receiveLane struct {
	n       *Node
	number  int
	owned   *laneLock // held by us; nil: none
	streams bool      // it reads the stream connections
	in      []underlay.Datagram
	onward  []underlay.Datagram // to be relayed: views of in
	arena   []byte              // packets are opened into it, one behind the other
	filled  int                 // bytes of it in use
	out     [][]capture.Packet  // packets to inject, by attachment
	join    *forward.Joiner
	run     openRun
	ecn     uint8 // of the datagram that is opened now

	templates segment.Templates
	refused   refusal
}

// A refusal is the template run whose headers were refused last, and why: what comes of it is not held.
type refusal struct {
	run segment.RunID
	why forward.Drop
}

// An openRun is the run that the last datagram was of: it ends with the next of another.
type openRun struct {
	segment.Run
	index uint32 // channel index and lane of its datagrams
	next  uint64 // the counter that goes on with it
	size  uint16
	at    int // its attachment
	ecn   uint8

	template bool
	first    uint64 // counter of a template run's first piece
}

func newReceiveLane(n *Node, in []underlay.Datagram) *receiveLane {
	return &receiveLane{
		n: n, in: in, out: make([][]capture.Packet, len(n.attachments)), join: forward.NewJoiner(joinLanes),
		arena: make([]byte, arenaMax),
	}
}

// step takes one batch of count elements and injects what was in them.
func (l *receiveLane) step(count int) {
	l.take(count)
	l.flush()
}

// take judges a batch. What is to be injected waits for the flush.
func (l *receiveLane) take(count int) {
	l.n.receiving.RLock()
	defer l.n.receiving.RUnlock()
	defer l.own(nil)
	in := arrived{snapshot: l.n.snapshot.Load(), grants: *l.n.grants.Load(), hops: *l.n.hops.Load(), now: time.Now()}
	for i := range l.in[:count] {
		dg := &l.in[i]
		if !l.streams && path.Reserved(dg.Addr.Addr()) {
			l.n.forged.Add(uint64(dg.Count())) // nobody is there
			continue
		}
		l.ecn = dg.ECN
		for b := range dg.All() {
			l.datagram(&in, b, dg.Addr)
		}
	}
	if len(l.onward) > 0 {
		l.n.write(l.onward)
		l.onward = l.onward[:0]
	}
}

// A laneLock keeps lanes apart that meet. Each has a cache line of its own.
type laneLock struct {
	sync.Mutex
	_ [56]byte
}

// own takes a lock instead of the one that is held, if it is another. nil is none. A lane never holds two.
func (l *receiveLane) own(lock *laneLock) {
	if l.owned == lock {
		return
	}
	if l.owned != nil {
		l.owned.Unlock()
	}
	if lock != nil {
		lock.Lock()
	}
	l.owned = lock
}

// rest is the lock of all that is not data.
func (n *Node) rest() *laneLock { return &n.windows[frame.LanesMax] }

// flush injects what was opened.
func (l *receiveLane) flush() {
	l.endRun()
	for at, packets := range l.out {
		if len(packets) > 0 {
			l.n.attachments[at].inject(l.number, packets)
			l.out[at] = packets[:0]
		}
	}
	l.filled = 0
}

// endRun makes one packet of the open run, if there is one.
func (l *receiveLane) endRun() {
	if l.run.Open() {
		l.queue(l.run.at, l.run.Close(), l.run.ecn)
	}
}

// queue takes a packet for injection, unless the datagrams around it say that their way was congested and it cannot.
func (l *receiveLane) queue(at int, p capture.Packet, outer uint8) {
	if outer != 0 && !forward.Decapsulate(p.Bytes, outer) {
		l.n.drops[forward.DropCongestion].Add(uint64(p.Segments()))
		return
	}
	l.out[at] = append(l.out[at], p)
}

// arrived is what one batch is judged by.
type arrived struct {
	snapshot *snapshot
	grants   map[uint32]grant
	hops     map[uint32]hop
	now      time.Time
}

// datagram takes a datagram of the batch, or what was in it, come over a path.
func (l *receiveLane) datagram(in *arrived, b []byte, from netip.AddrPort) {
	switch {
	case len(b) == 0:
	case frame.Type(b[0]) == frame.TypeData:
		l.data(in.snapshot, in.grants, b, from)
	case frame.Type(b[0]) == frame.TypeGossip:
		l.own(l.n.rest())
		l.n.gossipArrived(in.now, from, b)
	case frame.Type(b[0]) == frame.TypeRelay:
		l.own(l.n.rest())
		l.relay(in, b, from)
	default:
		l.own(l.n.rest())
		l.n.controlArrived(in.now, from, b)
	}
}

// data opens a data packet and, if its sender may send it, queues it for injection.
func (l *receiveLane) data(snap *snapshot, grants map[uint32]grant, b []byte, from netip.AddrPort) {
	n := l.n
	header, _, err := frame.ParseDataHeader(b)
	if err != nil {
		n.junk.Add(1)
		return
	}
	g, ok := grants[header.Index&^(frame.LanesMax-1)]
	if !ok {
		n.junk.Add(1)
		return
	}
	if seal, _ := snap.forward.Seal(g.vn); header.Meta[0]&frame.MetaAuthOnly != 0 && seal != tables.SealAuth {
		n.junk.Add(1) // a VN that encrypts takes nothing in the clear
		return
	}
	if relay, router := path.RelayOf(from); relay != 0 && router != g.router {
		n.refused.Add(1) // the relay names another router
		return
	}
	place, head, joins := l.place(header, len(b)-frame.DataHeaderLen-frame.TagLen)
	l.own(&n.windows[header.Lane()])
	packet, err := g.receiver.On(header.Lane()).Open(place, b, g.vn)
	if err != nil {
		if joins {
			l.run.Undo()
		}
		n.junk.Add(1)
		return
	}
	n.lanes[l.number].received.Add(1)
	if from == g.endpoint {
		if !g.used.Load() {
			g.used.Store(true)
			n.hint()
		}
	} else if !g.roamed.Swap(true) {
		n.roamed(g.router, from)
	}
	if joins {
		before := l.run.Len()
		if !l.run.Keep(packet, segment.Position(header.Meta[0]&frame.MetaRunMask)) {
			n.drops[forward.DropHeader].Add(1)
		}
		l.run.next++
		l.run.ecn = forward.WorseECN(l.run.ecn, l.ecn)
		l.filled += l.run.Len() - before
		return
	}
	l.endRun()
	if header.Meta[0]&frame.MetaTemplate != 0 {
		l.piece(snap, g, header, head, packet)
		return
	}
	l.filled += len(packet)
	if header.Meta[0]&frame.MetaSplit != 0 {
		packet, ok = l.join.Add(l.arena[l.filled:l.filled], forward.Piece{
			Peer: g.router, Lane: uint32(header.Lane()), Session: header.Index, VN: g.vn,
			Counter: header.Counter, Second: header.Meta[0]&frame.MetaSplitLast != 0, Bytes: packet,
		})
		if !ok {
			return
		}
		l.filled += len(packet)
	}
	if header.Meta[0]&frame.MetaBundle == 0 {
		l.one(snap, g, header, packet)
		return
	}
	for len(packet) > 0 {
		size := forward.LengthOf(packet)
		if size == 0 || size > len(packet) {
			size = len(packet) // it is dropped for that
		}
		l.one(snap, g, header, packet[:size:size])
		packet = packet[size:]
	}
}

// one takes a packet that was opened, if its sender may send it.
func (l *receiveLane) one(snap *snapshot, g grant, header frame.DataHeader, packet []byte) {
	at, drop := l.n.arrived(snap.forward, g.router, g.vn, packet)
	if drop != forward.DropNone {
		p := capture.Packet{Bytes: packet, GSOSize: header.SegmentSize()} // a chunk is several packets
		l.n.drops[drop].Add(uint64(p.Segments()))
		return
	}
	if _, several := snap.sharers[g.router]; several {
		l.n.senders.note(g.vn, g.router, packet)
	}
	if drop = l.accept(header, at, packet); drop != forward.DropNone {
		l.n.drops[drop].Add(1)
	}
}

// place returns where a datagram's packet of so many bytes is to be opened: as the next segment or piece of the open run if its
// header says so, else behind all that is there, and behind head bytes for the headers of a piece that lacks them. What the
// header says is proven only by opening it.
func (l *receiveLane) place(header frame.DataHeader, length int) (place []byte, head int, joins bool) {
	at, template := segment.Position(header.Meta[0]&frame.MetaRunMask), header.Meta[0]&frame.MetaTemplate != 0
	bare := template && at == segment.Mid
	if at > segment.First && header.Index == l.run.index && header.Counter == l.run.next && template == l.run.template {
		if template && runOf(header).Counter == l.run.first || !template && header.SegmentSize() == l.run.size {
			if place, joins = l.run.Room(length, bare); joins {
				return place, 0, true
			}
		}
	}
	room := length + forward.MinMTU // two pieces may make a packet behind this one
	if at == segment.First || template {
		room = segment.LengthMax // what becomes of it
	}
	if l.filled+room > len(l.arena) {
		l.flush()
	}
	if bare {
		head = l.templates.Head(runOf(header))
	}
	return l.arena[l.filled+head : l.filled+head], head, false
}

// runOf returns which template run a piece is of.
func runOf(header frame.DataHeader) segment.RunID {
	return segment.RunID{Index: header.Index, Counter: header.Counter - uint64(header.PieceIndex())}
}

// piece takes an opened piece of a template run that does not follow the one before: the first, or what comes after a loss or
// has been overtaken. A piece without headers lies behind head bytes for them, or is held if they have not come.
func (l *receiveLane) piece(snap *snapshot, g grant, header frame.DataHeader, head int, b []byte) {
	id, at := runOf(header), segment.Position(header.Meta[0]&frame.MetaRunMask)
	if id == l.refused.run {
		l.n.drops[l.refused.why].Add(1)
		return
	}
	size := header.SegmentSize()
	if at == segment.Mid {
		if head == 0 {
			l.n.drops[forward.DropHeadless].Add(uint64(l.templates.Hold(id, b, header.PieceIndex())))
			return
		}
		b = l.arena[l.filled : l.filled+head+len(b)]
		size, _ = l.templates.Complete(id, b, header.PieceIndex())
	}
	l.filled += len(b)
	attachment, drop := l.n.arrived(snap.forward, g.router, g.vn, b)
	if _, several := snap.sharers[g.router]; several && drop == forward.DropNone {
		l.n.senders.note(g.vn, g.router, b)
	}
	if drop == forward.DropNone {
		switch at {
		case segment.First:
			l.templates.First(id, b, size)
		case segment.Last:
			size = l.templates.Last(id, b, header.PieceIndex())
		}
		if !l.run.StartTemplate(b, size) {
			drop = forward.DropHeader
		}
	}
	if drop != forward.DropNone {
		l.refused = refusal{id, drop}
		l.n.drops[drop].Add(1)
		return
	}
	l.run.index, l.run.next, l.run.template, l.run.first, l.run.at = header.Index, header.Counter+1, true, id.Counter, attachment
	l.run.ecn = l.ecn
	if at == segment.Last {
		l.endRun()
	}
	if l.templates.Holds(id) {
		l.release(id, attachment)
	}
}

// release queues the held pieces of a run whose headers have come.
func (l *receiveLane) release(id segment.RunID, attachment int) {
	l.endRun()
	for ok := true; ok; {
		if l.filled+segment.LengthMax > len(l.arena) {
			l.flush()
		}
		var p capture.Packet
		if p, ok = l.templates.Release(id, l.arena[l.filled:l.filled]); ok {
			l.filled += len(p.Bytes)
			l.queue(attachment, p, l.ecn)
		}
	}
}

// accept queues a packet for injection, or opens a run with it.
func (l *receiveLane) accept(header frame.DataHeader, at int, packet []byte) forward.Drop {
	p := capture.Packet{Bytes: packet}
	switch pos, size := segment.Position(header.Meta[0]&frame.MetaRunMask), header.SegmentSize(); {
	case size != 0:
		if ok := pos == segment.Single && l.run.StartWhole(packet, size) || pos != segment.Single && l.run.Start(packet, size, pos); !ok {
			return forward.DropHeader
		}
		l.run.index, l.run.next, l.run.size, l.run.at = header.Index, header.Counter+1, size, at
		l.run.template, l.run.ecn = false, l.ecn
		return forward.DropNone
	case header.Meta[0]&frame.MetaPartialChecksum != 0:
		if !segment.Seed(packet) {
			return forward.DropHeader
		}
		p.Partial = true
	}
	l.queue(at, p, l.ecn)
	return forward.DropNone
}
