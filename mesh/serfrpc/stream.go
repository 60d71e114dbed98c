package serfrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	errTooMany = errors.New("too many streams on this connection")
	errRate    = errors.New("too many queries; try again in a second")
)

// begin registers a stream, so that stop finds it. It returns its context.
func (c *client) begin(ctx context.Context, seq uint64, monitor bool) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.streams[seq]; ok {
		return nil, errors.New(errStreamExists)
	}
	if len(c.streams) >= streamsMax {
		return nil, errTooMany
	}
	for _, s := range c.streams {
		if monitor && s.monitor {
			return nil, errors.New(errMonitorExists)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	c.streams[seq] = stream{cancel, monitor}
	return ctx, nil
}

// stop ends a stream, if there is one.
func (c *client) stop(seq uint64) {
	c.mu.Lock()
	s, ok := c.streams[seq]
	delete(c.streams, seq)
	c.mu.Unlock()
	if ok {
		s.cancel()
	}
}

// start answers the request of a stream and then lets task send. A task that cannot send
// closes the connection.
func (c *client) start(seq uint64, task func() error) error {
	if err := c.send(seq, "", nil); err != nil {
		return err
	}
	c.tasks.Go(func() {
		defer c.stop(seq)
		if err := task(); err != nil {
			_ = c.conn.Close()
		}
	})
	return nil
}

// monitor sends log lines.
func (c *client) monitor(ctx context.Context, seq uint64, req monitorRequest) error {
	name := strings.ToUpper(req.LogLevel)
	level, ok := levels[name]
	if !ok {
		return c.send(seq, fmt.Sprintf("Unknown log level: %.16q", name), nil)
	}
	ctx, err := c.begin(ctx, seq, true)
	if err != nil {
		return c.send(seq, err.Error(), nil)
	}
	return c.start(seq, func() error {
		if c.server.Logs == nil {
			<-ctx.Done()
			return nil
		}
		m := c.server.Logs.watch(level)
		defer c.server.Logs.remove(m)
		for {
			select {
			case <-ctx.Done():
				return nil
			case text := <-m.lines:
				if err := c.send(seq, "", &logRecord{text}); err != nil {
					return err
				}
			}
		}
	})
}

// A filter chooses events: a type, or a type and a name.
type filter struct{ typ, name string }

// parseFilters reads "member-join,query:uptime". "*" and nothing mean all.
func parseFilters(s string) ([]filter, error) {
	if s == "" {
		return []filter{{"*", ""}}, nil
	}
	var all []filter
	for _, part := range strings.Split(s, ",") {
		if len(all) >= 16 {
			return nil, errors.New(errFilter)
		}
		typ, name, named := strings.Cut(part, ":")
		switch typ {
		case "user", "query":
		case "member-join", "member-leave", "member-failed", "member-update", "member-reap", "*":
			if named {
				return nil, errors.New(errFilter)
			}
		default:
			return nil, errors.New(errFilter)
		}
		all = append(all, filter{typ, name})
	}
	return all, nil
}

func (f filter) match(e Event) bool {
	return f.typ == "*" || f.typ == e.Type && (f.name == "" || f.name == e.Name)
}

// stream sends events.
func (c *client) stream(ctx context.Context, seq uint64, req streamRequest) error {
	filters, err := parseFilters(req.Type)
	if err != nil {
		return c.send(seq, err.Error(), nil)
	}
	ctx, err = c.begin(ctx, seq, false)
	if err != nil {
		return c.send(seq, err.Error(), nil)
	}
	events, err := c.server.Serf.Watch(ctx, eventBuffer)
	if err != nil {
		c.stop(seq)
		return c.send(seq, err.Error(), nil)
	}
	return c.start(seq, func() error {
		for e := range events {
			for _, f := range filters {
				if !f.match(e) {
					continue
				}
				if err := c.send(seq, "", c.record(e)); err != nil {
					c.stop(seq)
					for range events {
						// Watch closes it, now that its context has ended.
					}
					return err
				}
				break
			}
		}
		return nil
	})
}

// record returns the body that tells of an event. A query can be answered from then on.
func (c *client) record(e Event) any {
	if e.Type != "query" {
		return &memberRecord{e.Type, e.Members}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for id, q := range c.pending {
		if now.After(q.Deadline) {
			delete(c.pending, id)
		}
	}
	c.lastID++
	if len(c.pending) < pendingMax {
		c.pending[c.lastID] = e
	}
	return &queryEventRecord{e.Type, c.lastID, e.Time, e.Name, e.Payload}
}

// respond answers a query that the client was told of.
func (c *client) respond(req respondRequest) error {
	c.mu.Lock()
	q, ok := c.pending[req.ID]
	c.mu.Unlock()
	if !ok || q.Respond == nil {
		return errors.New(errQueryID)
	}
	return q.Respond(req.Payload)
}

// query asks the members and sends their answers as they come.
func (c *client) query(ctx context.Context, seq uint64, req queryRequest) error {
	if strings.HasPrefix(req.Name, "_serf_") && req.Name != "_serf_ping" {
		return c.send(seq, "refused: queries named _serf_ are serf's own", nil)
	}
	if req.Timeout < 0 || req.Timeout > queryTimeoutMax {
		return c.send(seq, fmt.Sprintf("a query runs for at most %v", queryTimeoutMax), nil)
	}
	if !c.server.mayQuery(time.Now()) {
		return c.send(seq, errRate.Error(), nil)
	}
	ctx, err := c.begin(ctx, seq, false)
	if err != nil {
		return c.send(seq, err.Error(), nil)
	}
	answers, err := c.server.Serf.Query(ctx, Query{
		Name:        req.Name,
		Payload:     req.Payload,
		FilterNodes: req.FilterNodes,
		FilterTags:  req.FilterTags,
		RequestAck:  req.RequestAck,
		Timeout:     req.Timeout,
	})
	if err != nil {
		c.stop(seq)
		return c.send(seq, err.Error(), nil)
	}
	return c.start(seq, func() error {
		var failed error
		for a := range answers {
			if failed != nil {
				continue // Query closes it, now that its context has ended
			}
			rec := &queryRecord{Type: "response", From: a.From, Payload: a.Payload}
			if a.Ack {
				rec = &queryRecord{Type: "ack", From: a.From}
			}
			if failed = c.send(seq, "", rec); failed != nil {
				c.stop(seq)
			}
		}
		if failed != nil || ctx.Err() != nil {
			return failed
		}
		return c.send(seq, "", &queryRecord{Type: "done"})
	})
}
