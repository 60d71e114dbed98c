package nodetest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/node/capture/capturetest"
)

// A Flow is one host that sends numbered UDP packets to another at a steady rate.
type Flow struct {
	From, To *Site
	Src, Dst netip.Addr
	At, ToAt int     // attachments of the two hosts
	Size     int     // of the payload; zero: just the number
	Also     []*Site // VRs that share the blocks of To, and so may deliver in its place
	sent     []time.Time
	by       []*Site     // who delivered, by packet number
	texts    []string    // what was sent, by packet number
	got      []time.Time // by packet number; zero: not yet
	Twice    int         // packets that came again
	number   int
}

// A Packet is one that a host got.
type Packet struct {
	Site     *Site
	At       int // attachment
	Src, Dst netip.Addr
	Payload  string // of UDP; empty for anything else
	Bytes    []byte
}

// NewFlow returns a Flow that sends when Run runs it.
func (w *World) NewFlow(from *Site, src netip.Addr, to *Site, dst netip.Addr) *Flow {
	f := &Flow{From: from, To: to, Src: src, Dst: dst, number: len(w.flows)}
	w.flows = append(w.flows, f)
	return f
}

// Run has every flow send a packet at once and then one every interval, for d in all, and sorts what the hosts of
// all sites got into flows and strays. A flow whose sending VR is stopped sends nothing.
func (w *World) Run(d, every time.Duration, flows ...*Flow) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		for _, f := range flows {
			f.send()
		}
		time.Sleep(every)
		w.collect()
	}
}

// Settle waits for d and collects what arrives until then.
func (w *World) Settle(d time.Duration) { w.Run(d, min(d, 10*time.Millisecond)) }

func (f *Flow) send() {
	if f.From.Node == nil {
		return
	}
	text := fmt.Sprintf("flow %d %d ", f.number, len(f.sent))
	if pad := f.Size - len(text); pad > 0 {
		text += strings.Repeat("x", pad)
	}
	f.sent = append(f.sent, time.Now())
	f.got, f.by = append(f.got, time.Time{}), append(f.by, nil)
	f.texts = append(f.texts, text)
	f.From.Send(f.At, f.Src, f.Dst, text)
}

// collect takes what is there from every device, without waiting.
func (w *World) collect() {
	now := time.Now()
	for _, s := range w.Sites {
		if s.Node == nil {
			continue
		}
		for at := range s.Devices {
			for _, b := range s.drain(at) {
				w.sort(now, s, at, b)
			}
		}
	}
}

var past, _ = func() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}()

// drain returns what the device holds. A done context may win the draw though a packet is there, so
// only some failures in a row mean that there is none.
func (s *Site) drain(at int) (all [][]byte) {
	for misses := 0; misses < 20; {
		b, err := s.Devices[at].Receive(past)
		if err != nil {
			misses++
			continue
		}
		misses = 0
		all = append(all, b)
	}
	return all
}

func (w *World) sort(now time.Time, s *Site, at int, b []byte) {
	src, dst, payload, ok := capturetest.ParseUDP(b)
	p := Packet{Site: s, At: at, Src: src.Addr(), Dst: dst.Addr(), Bytes: b}
	if ok {
		p.Payload = string(payload)
	}
	var flow, n int
	if _, err := fmt.Sscanf(p.Payload, "flow %d %d ", &flow, &n); err != nil || flow >= len(w.flows) {
		w.Strays = append(w.Strays, p)
		return
	}
	f := w.flows[flow]
	if f.To != s && !slices.Contains(f.Also, s) || f.ToAt != at || f.Src != p.Src || f.Dst != p.Dst || n >= len(f.got) || p.Payload != f.texts[n] {
		w.Strays = append(w.Strays, p)
		return
	}
	if !f.got[n].IsZero() {
		f.Twice++
		return
	}
	f.got[n], f.by[n] = now, s
}

// By returns the VRs that delivered packets that were sent since a time, in order of their names.
func (f *Flow) By(since time.Time) (by []string) {
	for i, at := range f.sent {
		if !at.Before(since) && f.by[i] != nil && !slices.Contains(by, f.by[i].Name) {
			by = append(by, f.by[i].Name)
		}
	}
	slices.Sort(by)
	return by
}

// Sent returns the number of packets sent.
func (f *Flow) Sent() int { return len(f.sent) }

// Lost returns how many packets that were sent since a time have not arrived.
func (f *Flow) Lost(since time.Time) (lost int) {
	for i, at := range f.sent {
		if !at.Before(since) && f.got[i].IsZero() {
			lost++
		}
	}
	return lost
}

// FirstAfter returns how long after a time the first packet arrived that was sent since, and
// false when none has.
func (f *Flow) FirstAfter(since time.Time) (time.Duration, bool) {
	first, ok := time.Duration(0), false
	for i, at := range f.sent {
		if at.Before(since) || f.got[i].IsZero() {
			continue
		}
		if d := f.got[i].Sub(since); !ok || d < first {
			first, ok = d, true
		}
	}
	return first, ok
}

// Gap returns the longest time from one arrival to the next among the packets sent since a time, from that
// time on.
func (f *Flow) Gap(since time.Time) (gap time.Duration) {
	var came []time.Time
	for i, at := range f.sent {
		if !at.Before(since) && !f.got[i].IsZero() {
			came = append(came, f.got[i])
		}
	}
	slices.SortFunc(came, time.Time.Compare)
	last := since
	for _, at := range came {
		gap = max(gap, at.Sub(last))
		last = at
	}
	return max(gap, f.last().Sub(last))
}

// last returns when the last packet was sent, the zero time if none was.
func (f *Flow) last() (at time.Time) {
	if len(f.sent) > 0 {
		at = f.sent[len(f.sent)-1]
	}
	return at
}

// LostBetween returns how many packets that were sent from one time to another have not arrived.
func (f *Flow) LostBetween(from, to time.Time) (lost, sent int) {
	for i, at := range f.sent {
		if at.Before(from) || !at.Before(to) {
			continue
		}
		sent++
		if f.got[i].IsZero() {
			lost++
		}
	}
	return lost, sent
}
