package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrSlow is wrapped by the error of Watch when its caller does not keep up.
var ErrSlow = errors.New("too slow for the events")

const (
	// eventsMax is how many events are kept for those who are behind, or come back: some 200 KB.
	eventsMax = 1024
	// eventsAtOnce is how many are copied while the lock is held.
	eventsAtOnce = 64
	// Heartbeat is the longest silence on a stream of events: less than the 30 s after which many translators and
	// proxies forget a connection.
	Heartbeat = 15 * time.Second
	// eventPatience is how long the client may take to receive one event.
	eventPatience = 10 * time.Second
	// streamsMax bounds the streams of events of one listener, so that they leave connections for calls.
	streamsMax = 16
)

// The kinds of Event.
const (
	EventDocument = "document" // Subject is its key; State is "stored" or "removed"
	EventLink     = "link"     // Subject is the peer; State is "up", "down" or "moved" (to another path)
	EventMember   = "member"   // Subject is the VR; State is "alive", "failed" or "left". A hint
	EventRequest  = "request"  // Subject is the request's ID; State is "pending", "done" or "refused"
	EventAlert    = "alert"    // Subject is its kind and subject; State is "raised" or "cleared"; Reason is its text
	EventLost     = "lost"     // events between the one asked for and the next are not known any more: read everything again
)

// An Event is one thing that happened. An Event without a kind says that nothing did.
type Event struct {
	ID      string    `json:"id"`   // to go on behind it; of this run of the VR
	Kind    string    `json:"kind"` // one of the kinds above
	Time    time.Time `json:"time"` // when the VR noticed
	Subject string    `json:"subject"`
	State   string    `json:"state"`
	Version uint64    `json:"version,omitempty"` // of a document
	Reason  string    `json:"reason,omitempty"`  // of a request's outcome
}

// Events is a bounded memory of what happened, which any number of goroutines may watch. Whoever falls behind
// what it holds is dropped: nobody who watches holds anybody up, and none costs memory.
type Events struct {
	run uint64 // of the VR: its boot number

	mu    sync.Mutex    // guards what follows
	next  uint64        // number of the next event, from 1
	ring  []Event       // the last ones; event n is at n % eventsMax
	woken chan struct{} // closed at the next event
	slow  uint64
	count int // who watch
}

// NewEvents returns a memory without events. run tells apart the runs of the VR.
func NewEvents(run uint64) *Events {
	return &Events{run: run, next: 1, ring: make([]Event, eventsMax), woken: make(chan struct{})}
}

// Publish adds an event and gives it its ID. It never waits for those who watch.
func (e *Events) Publish(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ev.ID = e.id(e.next)
	e.ring[e.next%eventsMax] = ev
	e.next++
	close(e.woken)
	e.woken = make(chan struct{})
}

// Counts returns how many events there were, who watches, and how many were dropped for being slow.
func (e *Events) Counts() (events uint64, watching int, slow uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.next - 1, e.count, e.slow
}

func (e *Events) id(n uint64) string { return fmt.Sprintf("%d-%d", e.run, n) }

// oldest returns the number of the oldest event that is kept.
func (e *Events) oldest() uint64 {
	if e.next <= eventsMax {
		return 1
	}
	return e.next - eventsMax
}

// Watch implements that of Router.
func (e *Events) Watch(ctx context.Context, after string, f func(Event) error) (err error) {
	e.mu.Lock()
	e.count++
	at, known := e.next, true
	if after != "" {
		at, known = e.behind(after)
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.count--
		if errors.Is(err, ErrSlow) || errors.Is(err, os.ErrDeadlineExceeded) {
			e.slow++
		}
		e.mu.Unlock()
	}()
	if !known {
		if err := f(Event{ID: e.id(at - 1), Kind: EventLost, Time: time.Now().UTC()}); err != nil {
			return err
		}
	}
	beat := time.NewTimer(Heartbeat)
	defer beat.Stop()
	for {
		batch, woken, ok := e.from(at)
		if !ok {
			return fmt.Errorf("%w: more than %d have happened meanwhile; read everything again", ErrSlow, eventsMax)
		}
		for _, ev := range batch {
			if err := f(ev); err != nil {
				return err
			}
		}
		at += uint64(len(batch))
		if len(batch) > 0 {
			beat.Reset(Heartbeat)
			continue
		}
		select {
		case <-woken:
		case <-beat.C:
			if err := f(Event{}); err != nil {
				return err
			}
			beat.Reset(Heartbeat)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// behind returns the number of the event behind the one whose ID is id, or of the next if that is not known.
func (e *Events) behind(id string) (n uint64, known bool) {
	run, number, _ := strings.Cut(id, "-")
	r, err := strconv.ParseUint(run, 10, 64)
	n, nerr := strconv.ParseUint(number, 10, 63)
	if err != nil || nerr != nil || r != e.run || n+1 < e.oldest() || n >= e.next {
		return e.next, false
	}
	return n + 1, true
}

// from returns events from number n on, and what is closed at the next one. ok is false if n is forgotten.
func (e *Events) from(n uint64) (batch []Event, woken <-chan struct{}, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n < e.oldest() {
		return nil, nil, false
	}
	for ; n < e.next && len(batch) < eventsAtOnce; n++ {
		batch = append(batch, e.ring[n%eventsMax])
	}
	return batch, e.woken, true
}

// streams bounds the streams of events of one listener.
type streams struct {
	free     chan struct{}
	patience time.Duration // how long the client may take to receive one event
}

func newStreams(patience time.Duration) *streams {
	return &streams{make(chan struct{}, streamsMax), patience}
}

// events answers GET events, with Last-Event-ID if the client was here before.
func events(s *streams, router Router, w http.ResponseWriter, r *http.Request) error {
	after := r.Header.Get("Last-Event-ID")
	if len(after) > nameBytesMax {
		return plain(http.StatusBadRequest, "Last-Event-ID has more than %d bytes", nameBytesMax)
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", typeEvents)
		return nil
	}
	select {
	case s.free <- struct{}{}:
		defer func() { <-s.free }()
	default:
		return plain(http.StatusServiceUnavailable, "%d others watch the events of this VR already: that is all it takes", streamsMax)
	}
	c := http.NewResponseController(w)
	// The body, which there should be none of, was read; what the client sends from now on is not waited for.
	c.SetReadDeadline(time.Time{})
	send := func(text []byte) error {
		if err := c.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		return c.Flush()
	}
	w.Header().Set("Content-Type", typeEvents)
	w.WriteHeader(http.StatusOK)
	if send([]byte(": events of a VR\n\n")) != nil {
		return nil // the client has gone
	}
	err := router.Watch(r.Context(), after, func(ev Event) error {
		if ev.Kind == "" {
			return send([]byte(": nothing new\n\n"))
		}
		data, err := json.Marshal(ev)
		if err != nil {
			return err
		}
		return send(fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", ev.ID, ev.Kind, data))
	})
	if err != nil && r.Context().Err() == nil { // too late for another status
		if data, jerr := json.Marshal(problemOf(err)); jerr == nil {
			send(fmt.Appendf(nil, "event: problem\ndata: %s\n\n", data))
		}
	}
	return nil
}

// Watch implements Router. It ends with an error when the VR ends the stream or is silent for three heartbeats.
func (c *Client) Watch(ctx context.Context, after string, f func(Event) error) error {
	alive, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(3*Heartbeat, func() { cancel(fmt.Errorf("%w: silence for %s", ErrUnreachable, 3*Heartbeat)) })
	defer silence.Stop()
	r, err := http.NewRequestWithContext(alive, http.MethodGet, c.base+pathEvents, nil)
	if err != nil {
		return fmt.Errorf("call VR: %w", err)
	}
	r.Header.Set("Accept", typeEvents+", "+typeProblem)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return c.callError(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return readProblem(response)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, bodyBytesMax)
	kind := ""
	for lines.Scan() {
		silence.Reset(3 * Heartbeat)
		line := lines.Bytes()
		switch field, value, _ := bytes.Cut(line, []byte(": ")); string(field) {
		case "event":
			kind = string(value)
		case "data":
			if kind == "problem" {
				p := &Problem{}
				if err := json.Unmarshal(value, p); err != nil {
					return c.strange(err)
				}
				return p
			}
			var ev Event
			if err := json.Unmarshal(value, &ev); err != nil {
				return c.strange(err)
			}
			if err := f(ev); err != nil {
				return err
			}
		case "":
			if len(line) > 0 { // a comment
				if err := f(Event{}); err != nil {
					return err
				}
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case alive.Err() != nil:
		return context.Cause(alive)
	case lines.Err() != nil:
		return c.callError(ctx, lines.Err())
	}
	return c.callError(ctx, io.EOF)
}
