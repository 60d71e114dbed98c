package control

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// An Entry is one change of a VN, from its log.
type Entry struct {
	Number  uint64    `json:"number"`
	Version uint64    `json:"version"` // of the VN after the change
	Time    time.Time `json:"time"`    // when it was signed
	Op      string    `json:"op"`
	User    string    `json:"user"`    // who asked: a name, or a fingerprint if the user has none
	Request string    `json:"request"` // 64 hexadecimal digits
	With    string    `json:"with"`    // the other VN of a merge or split; empty if there is none
	Changes
	State string `json:"state"` // after the change
	Seal  string `json:"seal"`  // after the change
}

// Changes are what one state of a VN has and another has not.
type Changes struct {
	Joined   []netip.Addr   `json:"joined"`
	Left     []netip.Addr   `json:"left"`
	Gained   []Set          `json:"gained"`
	Lost     []Set          `json:"lost"`
	Switched []netip.Prefix `json:"switched"` // disabled in one of them
}

// A VNState is what a VN consisted of at one time.
type VNState struct {
	Name     string         `json:"name"`
	Entry    uint64         `json:"entry"` // of its log, after which this was so
	State    string         `json:"state"`
	Seal     string         `json:"seal"`
	Sets     []Set          `json:"sets"`
	Hosts    []netip.Addr   `json:"hosts"`
	Disabled []netip.Prefix `json:"disabled"` // prefixes that are kept and not used
}

// A Plan is what an operation would do if it were asked for now. Nothing has been asked for.
type Plan struct {
	State  string   `json:"state"` // "done": it would be; "refused" or "pending", with a reason
	Reason string   `json:"reason"`
	VNs    []VNPlan `json:"vns"`
	Gained Pairs    `json:"pairs_gained"` // of hosts that would reach each other and do not now
	Lost   Pairs    `json:"pairs_lost"`   // and the other way round
}

// A VNPlan is what would become of one VN.
type VNPlan struct {
	Before VNState `json:"before"`
	After  VNState `json:"after"`
	Changes
}

// Pairs are pairs of hosts: all are counted, the first are named.
type Pairs struct {
	Count uint64          `json:"count"`
	First [][2]netip.Addr `json:"first"`
}

// VNLog implements Router.
func (c *Client) VNLog(ctx context.Context, name string) ([]Entry, error) {
	return read[[]Entry](ctx, c, pathVNs+"/"+url.PathEscape(name)+"/log", "log", 0)
}

// VNAt implements Router.
func (c *Client) VNAt(ctx context.Context, name string, number uint64) (VNState, error) {
	return read[VNState](ctx, c, pathVNs+"/"+url.PathEscape(name)+"/log/"+strconv.FormatUint(number, 10), "vn", 0)
}

// Plan implements Router.
func (c *Client) Plan(ctx context.Context, envelope []byte) (Plan, error) {
	var out struct{ Plan Plan }
	err := c.do(ctx, http.MethodPost, pathPlans, envelope, 0, &out)
	return out.Plan, err
}

func vnLog(router Router, q *http.Request) ([]Entry, error) {
	list, err := router.VNLog(q.Context(), q.PathValue("name"))
	if list == nil {
		list = []Entry{}
	}
	return list, err
}

func vnAt(router Router, q *http.Request) (VNState, error) {
	number, err := strconv.ParseUint(q.PathValue("number"), 10, 64)
	if err != nil {
		return VNState{}, plain(http.StatusBadRequest, "%.32q is not the number of an entry", q.PathValue("number"))
	}
	return router.VNAt(q.Context(), q.PathValue("name"), number)
}

// plan answers POST plans.
func plan(router Router, q *http.Request) (int, any, error) {
	envelope, err := envelopeOf(q)
	if err != nil {
		return 0, nil, err
	}
	if err := checkMatch(router, q); err != nil {
		return 0, nil, err
	}
	p, err := router.Plan(q.Context(), envelope)
	return http.StatusOK, named("plan", p), err
}

// envelopeOf reads the request document that is the body of q.
func envelopeOf(q *http.Request) ([]byte, error) {
	if !isEnvelope(q.Header.Get("Content-Type")) {
		return nil, plain(http.StatusUnsupportedMediaType, "the body must be a signed document, sent as %s", typeEnvelope)
	}
	envelope, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, readError(err)
	}
	if len(envelope) == 0 {
		return nil, plain(http.StatusBadRequest, "the body is empty; it must be a signed document")
	}
	return envelope, nil
}
