package serfrpc

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

const (
	// ringLines is how many lines a monitor sees from before it began, as with serf.
	ringLines = 512
	// lineMax bounds a line; what is longer is cut.
	lineMax = 1024
	// monitorQueue is how many lines wait for one monitor; more are dropped and counted.
	monitorQueue = 512
)

// A Ring keeps the last log lines and hands new ones to monitors. It never waits for them:
// what a slow monitor misses is dropped, and the monitor is told how much. The zero value is
// ready for use.
type Ring struct {
	mu       sync.Mutex // guards what follows; held only for sends that do not wait
	lines    [ringLines]line
	next     int
	monitors map[*monitor]struct{}
}

// A line is one log line and its level.
type line struct {
	level slog.Level
	text  string // "" if unused
}

// A monitor gets lines of at least its level.
type monitor struct {
	level   slog.Level
	lines   chan string // Append drops when it is full
	dropped uint64
}

// Append adds a line without a line end.
func (r *Ring) Append(level slog.Level, text string) {
	text = text[:min(len(text), lineMax)]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines[r.next] = line{level, text}
	r.next = (r.next + 1) % ringLines
	for m := range r.monitors {
		m.offer(level, text)
	}
}

func (m *monitor) offer(level slog.Level, text string) {
	if level < m.level || text == "" {
		return
	}
	if m.dropped > 0 {
		text = fmt.Sprintf("[WARN] monitor: %d lines dropped\n%s", m.dropped, text)
	}
	select {
	case m.lines <- text:
		m.dropped = 0
	default:
		m.dropped++
	}
}

// watch returns a monitor that has seen the lines so far. It must be removed.
func (r *Ring) watch(level slog.Level) *monitor {
	m := &monitor{level: level, lines: make(chan string, ringLines+monitorQueue)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range ringLines {
		l := r.lines[(r.next+i)%ringLines]
		m.offer(l.level, l.text)
	}
	if r.monitors == nil {
		r.monitors = make(map[*monitor]struct{})
	}
	r.monitors[m] = struct{}{}
	return m
}

func (r *Ring) remove(m *monitor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.monitors, m)
}

// Handler returns a slog.Handler that appends to the ring and passes on to next, which may
// be nil. Lines look as serf's do: "2026/01/02 15:04:05 [INFO] message key=value".
func (r *Ring) Handler(next slog.Handler) slog.Handler { return &ringHandler{ring: r, next: next} }

type ringHandler struct {
	ring   *Ring
	next   slog.Handler
	attrs  string // " key=value" of WithAttrs
	prefix string // "group." of WithGroup
}

func (h *ringHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelDebug || h.next != nil && h.next.Enabled(ctx, level)
}

func (h *ringHandler) Handle(ctx context.Context, rec slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s [%s] %s%s", rec.Time.Format("2006/01/02 15:04:05"), levelName(rec.Level), rec.Message, h.attrs)
	rec.Attrs(func(a slog.Attr) bool {
		b.WriteString(attrText(h.prefix, a))
		return true
	})
	h.ring.Append(rec.Level, b.String())
	if h.next != nil && h.next.Enabled(ctx, rec.Level) {
		return h.next.Handle(ctx, rec)
	}
	return nil
}

func attrText(prefix string, a slog.Attr) string {
	v := a.Value.Resolve().String()
	if strings.ContainsAny(v, " \"\n") {
		v = fmt.Sprintf("%q", v)
	}
	return " " + prefix + a.Key + "=" + v
}

func (h *ringHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += attrText(h.prefix, a)
	}
	if h.next != nil {
		c.next = h.next.WithAttrs(attrs)
	}
	return &c
}

func (h *ringHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.prefix += name + "."
	if h.next != nil {
		c.next = h.next.WithGroup(name)
	}
	return &c
}

// levels are serf's levels, by which clients filter.
var levels = map[string]slog.Level{
	"TRACE": slog.LevelDebug - 4,
	"DEBUG": slog.LevelDebug,
	"INFO":  slog.LevelInfo,
	"WARN":  slog.LevelWarn,
	"ERR":   slog.LevelError,
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERR"
	case l >= slog.LevelWarn:
		return "WARN"
	case l >= slog.LevelInfo:
		return "INFO"
	case l >= slog.LevelDebug:
		return "DEBUG"
	default:
		return "TRACE"
	}
}
