package control

import (
	"context"
	"net/http"
	"time"
)

// Alerts is what is wrong with a VR and its surroundings, and how people are told.
type Alerts struct {
	Alerts []Alert `json:"alerts"`
	Hooks  []Hook  `json:"hooks"`
}

// An Alert is something wrong that has held for a while.
type Alert struct {
	Kind    string    `json:"kind"` // "vr-silent", "head-expired", "equivocation", "disk", "ending" or "no-relay"
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
	Since   time.Time `json:"since"`
}

// A Hook is one way to tell people, and what became of what it was to tell.
type Hook struct {
	Hook    string `json:"hook"` // "command", "webhook" or "mail"
	Sent    uint64 `json:"sent"`
	Failed  uint64 `json:"failed"`  // given up after some tries
	Dropped uint64 `json:"dropped"` // too many waited
	Error   string `json:"error"`   // of the latest try, empty if it went well
}

// Alerts implements Router.
func (c *Client) Alerts(ctx context.Context) (Alerts, error) {
	return read[Alerts](ctx, c, pathAlerts, "alerts", 0)
}

// TryAlerts implements Router.
func (c *Client) TryAlerts(ctx context.Context) ([]Hook, error) {
	var out struct{ Hooks []Hook }
	err := c.do(ctx, http.MethodPost, pathAlerts+"/test", nil, 0, &out)
	return out.Hooks, err
}
