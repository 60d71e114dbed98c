package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// A Notice is what a hook is given, as JSON.
type Notice struct {
	Federation string    `json:"federation"`
	VR         string    `json:"vr"`
	Site       string    `json:"site"`
	Kind       string    `json:"kind"`
	Subject    string    `json:"subject"`
	Text       string    `json:"text"`
	State      string    `json:"state"` // "raised" or "cleared"
	Since      time.Time `json:"since"` // when it began
	Time       time.Time `json:"time"`  // of the change
}

// title is the notice in a line.
func (n Notice) title() string {
	title := fmt.Sprintf("%s: %s", n.VR, n.Kind)
	if n.Subject != "" {
		title += " " + n.Subject
	}
	if n.State == "cleared" {
		title += " is over"
	}
	return title
}

const (
	// queueMax bounds the notices that wait for a hook. The newest beyond are dropped, and counted.
	queueMax = 64
	// patience bounds one try.
	patience = 15 * time.Second
)

// pauses are those after a try that failed; then the notice is given up.
var pauses = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}

// A hook is one way to tell people.
type hook interface {
	name() string
	send(ctx context.Context, n Notice) error
}

// A Notifier passes notices on to its hooks. New starts nothing. Its methods may be called from any goroutine.
type Notifier struct {
	log     *slog.Logger
	workers []*worker
}

type worker struct {
	hook
	queue chan Notice
	pause func(ctx context.Context, d time.Duration)

	mu     sync.Mutex // guards status
	status Status
}

// A Status is what became of a hook's notices.
type Status struct {
	Hook    string `json:"hook"` // "command", "webhook" or "mail"
	Sent    uint64 `json:"sent"`
	Failed  uint64 `json:"failed"`  // given up after some tries
	Dropped uint64 `json:"dropped"` // too many waited
	Error   string `json:"error"`   // of the latest try, empty if it went well
}

// New returns a Notifier for hooks, which have been checked.
func New(h Hooks, log *slog.Logger) *Notifier {
	n := &Notifier{log: log}
	add := func(h hook) {
		n.workers = append(n.workers, &worker{hook: h, queue: make(chan Notice, queueMax), pause: sleep, status: Status{Hook: h.name()}})
	}
	if len(h.Command) > 0 {
		add(command(h.Command))
	}
	if h.Webhook != "" {
		add(newWebhook(h.Webhook, h.WebhookKey))
	}
	if h.Mail.Server != "" {
		add(h.Mail)
	}
	return n
}

// Tell hands a notice to every hook. It does not wait.
func (n *Notifier) Tell(notice Notice) {
	for _, w := range n.workers {
		select {
		case w.queue <- notice:
		default:
			w.note(func(s *Status) { s.Dropped++ })
		}
	}
}

// Statuses returns what became of the notices so far.
func (n *Notifier) Statuses() []Status {
	list := []Status{}
	for _, w := range n.workers {
		w.note(func(s *Status) { list = append(list, *s) })
	}
	return list
}

// Try sends a notice through every hook once, all at the same time, and returns what came of it: a Status with Sent or Failed 1.
func (n *Notifier) Try(ctx context.Context, notice Notice) []Status {
	list := make([]Status, len(n.workers))
	var wait sync.WaitGroup
	for i, w := range n.workers {
		wait.Go(func() {
			list[i] = Status{Hook: w.name(), Sent: 1}
			if err := w.once(ctx, notice); err != nil {
				list[i] = Status{Hook: w.name(), Failed: 1, Error: err.Error()}
			}
		})
	}
	wait.Wait()
	return list
}

// Run passes notices on until ctx ends. What waits then is lost.
func (n *Notifier) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	for _, w := range n.workers {
		wait.Go(func() { w.run(ctx, n.log) })
	}
	wait.Wait()
	<-ctx.Done() // also without hooks: the VR ends with the first of its parts
	return nil
}

func (w *worker) run(ctx context.Context, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case notice := <-w.queue:
			err := w.persist(ctx, notice)
			if err != nil && ctx.Err() == nil {
				log.Warn("nobody was told of an alert", "by", w.name(), "alert", notice.title(), "err", err)
			}
		}
	}
}

// persist tries until it works or there have been enough tries.
func (w *worker) persist(ctx context.Context, notice Notice) error {
	for i := 0; ; i++ {
		err := w.once(ctx, notice)
		w.note(func(s *Status) {
			s.Error = ""
			switch {
			case err == nil:
				s.Sent++
			default:
				s.Error = err.Error()
				if i == len(pauses) {
					s.Failed++
				}
			}
		})
		if err == nil || i == len(pauses) || ctx.Err() != nil {
			return err
		}
		w.pause(ctx, pauses[i])
	}
}

func (w *worker) once(ctx context.Context, notice Notice) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return w.send(ctx, notice)
}

func (w *worker) note(f func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.status)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
