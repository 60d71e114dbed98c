package mesh

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vine-mesh/vine/tables"
)

const (
	// wantWindow is how many documents one side asks for at a time. 64 of 1 KiB fill a path of
	// 5 Mb/s and 100 ms; 64 of the largest are 16 MiB, which is what the receiver's side of the
	// stream may have to take, one at a time.
	wantWindow = 64
	// needHigh is how many needed keys are kept before the next message of the reconciliation
	// is answered. One message names at most 820 more, so the queue stays under 2,000 keys.
	needHigh = 1024
)

// ExchangeLimits bounds what a peer may cost. The zero value of a field means its default.
type ExchangeLimits struct {
	BytesMax int64         // payload bytes taken from the peer; default 256 MiB
	TimeMax  time.Duration // from start to end; default 10 minutes
	StallMax time.Duration // without a frame taken or sent; default 30 seconds
}

func (l ExchangeLimits) withDefaults() ExchangeLimits {
	if l.BytesMax == 0 {
		// 100,000 documents of 1 KiB, twice over. A joiner of a larger mesh needs several.
		l.BytesMax = 256 << 20
	}
	if l.TimeMax == 0 {
		l.TimeMax = 10 * time.Minute
	}
	if l.StallMax == 0 {
		l.StallMax = 30 * time.Second
	}
	return l
}

// Why an exchange failed. Err wraps one of these.
var (
	ErrPeerSlow     = errors.New("mesh: the peer is too slow")
	ErrPeerEndless  = errors.New("mesh: the peer sends too much")
	ErrPeerProtocol = errors.New("mesh: the peer breaks the exchange protocol")
)

// A Wanted document is what the peer sent for a key that we asked for. It is not verified, and it
// may be of another version or even another key: Key is what was asked.
type Wanted struct {
	Key      tables.DocKey
	Envelope []byte
}

// An Exchange is one side of a meeting of two routers over one reliable byte stream: they reconcile
// their Indexes, and each fetches what it needs. Nothing arrives that was not asked for, and only
// as fast as the caller takes it: its memory is bounded by some 2,000 keys and one document.
//
//	            Handle                       Out
//	frames in ----------> Exchange ------------------> frames out
//	                          |  lookup for bodies that the peer wants
//	                          +---> Wanted documents, to be verified and put into the Index
//
// The caller writes what Out gives until it gives nothing more, whenever the stream takes more;
// feeds frames to Handle (FrameReader); calls Advance at Next; and closes the stream when Done
// says so. Whatever happens, documents already delivered stay useful.
type Exchange struct {
	recon  *Reconcile
	lookup func(tables.DocKey) []byte
	limits ExchangeLimits
	err    error

	out   []Frame         // written before any document; a few frames at most
	serve []tables.DocKey // what the peer wants, oldest first; at most wantWindow

	// need holds the keys to ask for, and asked those asked for and not answered, oldest first.
	// Invariant: busy holds exactly the keys in either; len(asked) <= wantWindow.
	need, asked []tables.DocKey
	busy        map[tables.DocKey]bool
	// held is a message of the peer that waits until need is short again.
	held *Message

	reconOver, doneSent, doneHeard bool

	started, progress time.Time
	bytesIn, bytesOut int64
	docsIn, docsOut   int
}

// NewExchange returns a side that reconciles index with the peer's. The initiator, who opened the
// stream, speaks first. lookup returns the envelope of what we hold under a key, nil if we do not.
func NewExchange(now time.Time, index *Index, initiator bool, lookup func(tables.DocKey) []byte, limits ExchangeLimits) *Exchange {
	x := &Exchange{
		recon: NewReconcile(index), lookup: lookup, limits: limits.withDefaults(),
		busy: make(map[tables.DocKey]bool), started: now, progress: now,
	}
	if initiator {
		m := x.recon.Start()
		x.out = append(x.out, Frame{FrameRecon, AppendMessage(nil, m)})
	}
	return x
}

// NewPull returns the initiator's side of an exchange that only fetches keys: what follows a
// rumour without a body. The other side is one made by NewExchange.
func NewPull(now time.Time, keys []tables.DocKey, limits ExchangeLimits) *Exchange {
	x := NewExchange(now, &Index{}, false, func(tables.DocKey) []byte { return nil }, limits)
	x.reconOver = true
	x.want(keys)
	x.settle()
	return x
}

// Handle takes the next frame from the peer. It returns the documents that the frame brought, none
// or one. After an error, which Err repeats, the stream is of no use.
func (x *Exchange) Handle(now time.Time, f Frame) ([]Wanted, error) {
	if x.err != nil {
		return nil, x.err
	}
	x.progress = now
	x.bytesIn += int64(frameHeaderLen + len(f.Payload))
	if x.bytesIn > x.limits.BytesMax {
		return nil, x.fail(ErrPeerEndless, "bytes")
	}
	var docs []Wanted
	switch f.Type {
	case FrameRecon:
		m, err := ParseMessage(f.Payload)
		if err != nil {
			return nil, x.fail(ErrPeerProtocol, "reconciliation message")
		}
		// A peer that speaks again before our last message has left us would fill out.
		if x.doneHeard || x.held != nil || x.reconOver && len(m.Items) > 0 || slices.ContainsFunc(x.out, isRecon) {
			return nil, x.fail(ErrPeerProtocol, "reconciliation out of turn")
		}
		if !x.reconOver {
			x.held = &m
		}
	case FrameWant:
		keys, err := ParseKeys(f.Payload)
		if err != nil || x.doneHeard || len(x.serve)+len(keys) > wantWindow {
			return nil, x.fail(ErrPeerProtocol, "want")
		}
		x.serve = append(x.serve, keys...)
	case FrameDoc, FrameAbsent:
		if len(x.asked) == 0 || len(f.Payload) > DocumentBytesMax || (f.Type == FrameDoc) != (len(f.Payload) > 0) {
			return nil, x.fail(ErrPeerProtocol, "document that was not asked for")
		}
		key := x.asked[0]
		x.asked = x.asked[1:]
		delete(x.busy, key)
		if f.Type == FrameDoc {
			x.docsIn++
			docs = []Wanted{{Key: key, Envelope: f.Payload}}
		}
	case FrameDone:
		if x.doneHeard || len(f.Payload) > 0 {
			return nil, x.fail(ErrPeerProtocol, "second end")
		}
		x.doneHeard = true
		if x.held == nil {
			x.reconOver = true // a pull, or a peer that gave up comparing
		}
	default:
		return nil, x.fail(ErrPeerProtocol, "unknown frame")
	}
	x.settle()
	return docs, nil
}

// Out returns the next frame to write, false if there is none for now. A document is looked up
// only here, so call Out when the stream takes more, not before.
func (x *Exchange) Out(now time.Time) (Frame, bool) {
	if x.err != nil {
		return Frame{}, false
	}
	var f Frame
	switch {
	case len(x.out) > 0:
		f = x.out[0]
		x.out = x.out[1:]
	case len(x.serve) > 0:
		f = Frame{Type: FrameAbsent}
		if body := x.lookup(x.serve[0]); len(body) > 0 && len(body) <= DocumentBytesMax {
			f = Frame{FrameDoc, body}
			x.docsOut++
		}
		x.serve = x.serve[1:]
	default:
		return Frame{}, false
	}
	x.progress = now
	x.bytesOut += int64(frameHeaderLen + len(f.Payload))
	return f, true
}

func isRecon(f Frame) bool { return f.Type == FrameRecon }

// settle does what has become possible: answer the held message, ask for more, say done.
func (x *Exchange) settle() {
	if x.held != nil && len(x.need) < needHigh {
		m := *x.held
		x.held = nil
		reply, need, _, done := x.recon.Handle(m)
		x.want(need)
		if reply != nil {
			x.out = append(x.out, Frame{FrameRecon, AppendMessage(nil, *reply)})
		} else if !m.final() {
			x.out = append(x.out, Frame{Type: FrameRecon}) // the peer waits for its turn
		}
		x.reconOver = done || x.doneHeard
	}
	// Ask in halves of the window, so that keys share frames and the peer never runs dry.
	if room := wantWindow - len(x.asked); len(x.need) > 0 && room >= wantWindow/2 {
		n := min(room, len(x.need))
		x.out = append(x.out, Frame{FrameWant, AppendKeys(nil, x.need[:n])})
		x.asked = append(x.asked, x.need[:n]...)
		if x.need = x.need[n:]; len(x.need) == 0 {
			x.need = nil
		}
	}
	if x.reconOver && x.held == nil && len(x.need)+len(x.asked) == 0 && !x.doneSent {
		x.doneSent = true
		x.out = append(x.out, Frame{Type: FrameDone})
	}
}

func (x *Exchange) want(keys []tables.DocKey) {
	for _, k := range keys {
		if !x.busy[k] {
			x.busy[k] = true
			x.need = append(x.need, k)
		}
	}
}

// Advance fails the exchange if the peer has been too slow.
func (x *Exchange) Advance(now time.Time) error {
	if next := x.Next(); x.err == nil && !next.IsZero() && !now.Before(next) {
		return x.fail(ErrPeerSlow, "deadline")
	}
	return x.err
}

// Next returns when to call Advance, the zero time when the exchange is over.
func (x *Exchange) Next() time.Time {
	if x.err != nil || x.Done() {
		return time.Time{}
	}
	stall, end := x.progress.Add(x.limits.StallMax), x.started.Add(x.limits.TimeMax)
	if end.Before(stall) {
		return end
	}
	return stall
}

// Done reports whether both sides have all they need. What Out gave must still be written.
func (x *Exchange) Done() bool {
	return x.err == nil && x.doneSent && x.doneHeard && len(x.out)+len(x.serve) == 0
}

// Err returns why the exchange failed, nil if it has not.
func (x *Exchange) Err() error { return x.err }

// Counts returns the bytes taken and given, frame headers included, and the documents received and
// sent.
func (x *Exchange) Counts() (bytesIn, bytesOut int64, docsIn, docsOut int) {
	return x.bytesIn, x.bytesOut, x.docsIn, x.docsOut
}

// fail ends the exchange and lets go of what it held.
func (x *Exchange) fail(why error, what string) error {
	x.err = fmt.Errorf("%w: %s", why, what)
	x.out, x.serve, x.need, x.asked, x.busy, x.held = nil, nil, nil, nil, nil, nil
	return x.err
}
