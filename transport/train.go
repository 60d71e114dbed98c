package transport

import (
	"net/netip"
	"time"

	"github.com/vine-mesh/vine/transport/frame"
	"github.com/vine-mesh/vine/transport/path"
)

// A trainState is the train that this side has sent, and the one that it receives. One of each at a time:
// trains are rare (path.Chooser.NeedTrain).
type trainState struct {
	id     uint32         // of the last one sent
	at     netip.AddrPort // over this way
	sent   int
	bytes  int
	ends   time.Time // when its report is given up; zero: none is waited for
	record path.TrainRecord
	from   netip.AddrPort // where the one that is received comes from
	done   bool           // it was reported: what comes of it later is not
	report time.Time      // when it is reported, though some of it may be missing; zero: none comes in
}

func (ts *trainState) due() time.Time { return earliest(ts.ends, ts.report) }

// sendTrain sends a few datagrams back to back over a way that carries nothing, so that the far side sees
// how far apart the narrowest line sets them.
func (c *conn) sendTrain(now time.Time, at netip.AddrPort) {
	ts := &c.paths.train
	if !ts.ends.IsZero() {
		return
	}
	w := c.way(at)
	if w == nil {
		return
	}
	packets, size := path.PlanTrain(w.there.Measure(now).Rate.Bits)
	size = min(size, datagramBytesMax)
	ts.id, ts.at, ts.sent, ts.ends = uint32(c.links.random64()), at, packets, now.Add(trainPatience)
	for i := range packets {
		f := frame.AppendTrain(nil, frame.Train{ID: ts.id, Index: uint16(i), Count: uint16(packets)},
			size-frame.ControlHeaderLen-frame.TagLen)
		c.emitTo(at, f)
	}
}

// onTrain takes one datagram of the peer's train.
func (c *conn) onTrain(now time.Time, from netip.AddrPort, t frame.Train, n int) {
	ts := &c.paths.train
	switch id, any := ts.record.ID(); {
	case !any || id != t.ID:
		ts.record, ts.from, ts.done = path.TrainRecord{}, from, false
	case ts.done || from != ts.from:
		return
	}
	ts.record.Arrived(c.links.arrived, t.ID, int(t.Index), int(t.Count), n)
	ts.report = now.Add(trainQuiet)
	if ts.record.Complete() {
		ts.report = now
	}
}

// advanceTrain reports a train that has come to its end, and gives one up that is not reported.
func (c *conn) advanceTrain(now time.Time) {
	ts := &c.paths.train
	if !ts.report.IsZero() && !now.Before(ts.report) {
		r := ts.record.Report()
		id, _ := ts.record.ID()
		ts.report, ts.done = time.Time{}, true
		if w := c.way(ts.from); w != nil {
			w.back.Trained(now, r)
		}
		c.answer(ts.from, frame.TrainReport{
			ID: id, Received: uint16(r.Received), Bytes: uint32(r.Bytes), Span: uint32(r.Span.Microseconds()),
		}.Append(nil))
	}
	if !ts.ends.IsZero() && !now.Before(ts.ends) {
		ts.ends = time.Time{}
	}
}

// onTrainReport takes what the far side saw of our train.
func (c *conn) onTrainReport(now time.Time, r frame.TrainReport) {
	ts := &c.paths.train
	if ts.ends.IsZero() || r.ID != ts.id || int(r.Received) > ts.sent {
		return
	}
	ts.ends = time.Time{}
	if w := c.way(ts.at); w != nil {
		w.there.Trained(now, path.TrainReport{
			Sent: ts.sent, Received: int(r.Received), Bytes: int(r.Bytes), Span: time.Duration(r.Span) * time.Microsecond,
		})
	}
	c.paths.next = now
}
