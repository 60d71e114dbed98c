package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// LANHosts is the part of a Router that is its list of the machines on its LAN. What is in it lasts: when a call that
// changes it returns without an error, the change is on the VR's disk. An error that wraps ErrRefused or ErrNotFound
// changed nothing.
type LANHosts interface {
	LANHosts(ctx context.Context) ([]LANHost, error)
	// AddHost enters a host and gives it an address. Twice the same is once.
	AddHost(ctx context.Context, ask HostAsk) (LANHost, error)
	// RemoveHost takes a host out and releases its address; it returns what it was.
	RemoveHost(ctx context.Context, name string) (LANHost, error)
	// HostRequests returns what hosts have asked for by the page of the VR.
	HostRequests(ctx context.Context) ([]HostRequest, error)
	// AnswerHost approves or denies a request. An approval gives the host an address; it does not make it a member:
	// for that the caller asks the authority.
	AnswerHost(ctx context.Context, id uint64, v HostVerdict) (HostRequest, error)
}

// A LANHost is a machine with an address of this VR's blocks.
type LANHost struct {
	Name  string     `json:"name"`
	Addr  netip.Addr `json:"addr"`
	MAC   string     `json:"mac"` // empty: not known
	Added time.Time  `json:"added"`
	VNs   []string   `json:"vns"` // that it is a member of
}

// A HostAsk is what is wished for a new host.
type HostAsk struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr,omitzero"` // invalid: the next free one
	MAC  string     `json:"mac,omitempty"`
	IPv6 bool       `json:"ipv6,omitempty"` // an address of the IPv6 block, without Addr
}

// A HostRequest is a machine's wish to be in a VN.
type HostRequest struct {
	ID     uint64     `json:"id"`
	MAC    string     `json:"mac"`
	Seen   netip.Addr `json:"seen"` // the address that it asked from
	Name   string     `json:"name"`
	VN     string     `json:"vn"`
	Asked  time.Time  `json:"asked"`
	State  string     `json:"state"`  // "waiting", "approved" or "denied"
	Reason string     `json:"reason"` // of a denial
	Addr   netip.Addr `json:"addr"`   // given to it; empty: none yet
}

// A HostVerdict answers a HostRequest.
type HostVerdict struct {
	Approve bool       `json:"approve"`
	Name    string     `json:"name,omitempty"` // with an approval: instead of the one asked for
	Addr    netip.Addr `json:"addr,omitzero"`  // with an approval; invalid: the next free one
	Reason  string     `json:"reason,omitempty"`
}

// A Standing is what the VR knows of a machine that asks at its page.
type Standing struct {
	VR, Site string
	Space    []netip.Prefix
	Blocks   []netip.Prefix // of the VR
	Hosts    []LANHost      // that the machine is, by its MAC, or else by its address
	Requests []HostRequest  // of the machine
}

const (
	pathLANHosts     = pathPrefix + "lan-hosts"
	pathHostRequests = pathPrefix + "host-requests"
)

func addHost(router Router, q *http.Request, ask HostAsk) (LANHost, error) {
	return router.AddHost(q.Context(), ask)
}

func removeHost(router Router, q *http.Request) (LANHost, error) {
	return router.RemoveHost(q.Context(), q.PathValue("name"))
}

func answerHost(router Router, q *http.Request, v HostVerdict) (HostRequest, error) {
	id, err := strconv.ParseUint(q.PathValue("id"), 10, 64)
	if err != nil {
		return HostRequest{}, plain(http.StatusBadRequest, "a host's request has a number, not %.32q", q.PathValue("id"))
	}
	return router.AnswerHost(q.Context(), id, v)
}

// readJSON reads the body of a request, which must be one JSON object with fields of v only.
func readJSON(q *http.Request, v any) error {
	if media, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || media != typeJSON {
		return plain(http.StatusUnsupportedMediaType, "the body must be sent as %s", typeJSON)
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return readError(err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return plain(http.StatusBadRequest, "the body is not what it should be: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return plain(http.StatusBadRequest, "something follows the JSON object of the body")
	}
	return nil
}

// LANHosts implements Router.
func (c *Client) LANHosts(ctx context.Context) ([]LANHost, error) {
	return read[[]LANHost](ctx, c, pathLANHosts, "lan_hosts", 0)
}

// AddHost implements Router.
func (c *Client) AddHost(ctx context.Context, ask HostAsk) (LANHost, error) {
	var out struct{ Host LANHost }
	err := c.send(ctx, http.MethodPost, pathLANHosts, ask, &out)
	return out.Host, err
}

// RemoveHost implements Router.
func (c *Client) RemoveHost(ctx context.Context, name string) (LANHost, error) {
	var out struct{ Host LANHost }
	err := c.do(ctx, http.MethodDelete, pathLANHosts+"/"+url.PathEscape(name), nil, 0, &out)
	return out.Host, err
}

// HostRequests implements Router.
func (c *Client) HostRequests(ctx context.Context) ([]HostRequest, error) {
	return read[[]HostRequest](ctx, c, pathHostRequests, "host_requests", 0)
}

// AnswerHost implements Router.
func (c *Client) AnswerHost(ctx context.Context, id uint64, v HostVerdict) (HostRequest, error) {
	var out struct {
		Request HostRequest `json:"host_request"`
	}
	err := c.send(ctx, http.MethodPost, pathHostRequests+"/"+strconv.FormatUint(id, 10), v, &out)
	return out.Request, err
}

// send makes a call with a JSON body.
func (c *Client) send(ctx context.Context, method, path string, v, into any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("call VR: %w", err)
	}
	return c.doAs(ctx, method, path, typeJSON, body, 0, into)
}
