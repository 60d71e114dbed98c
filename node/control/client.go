package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// ErrUnreachable is wrapped by the errors of a Client when no VR answers on the socket.
var ErrUnreachable = errors.New("no running VR answers")

// answerBytesMax bounds an answer: 10,000 members with their tags take some megabytes.
const answerBytesMax = 64 << 20

// A Client calls a running VR through its control socket. It is a Router, and the VR's errors come
// out as they went in: to errors.Is they are ErrNotFound, ErrRefused or ErrElsewhere. Other answers that are no
// success are a *Problem; ErrUnreachable says that nobody answers, fs.ErrPermission that the socket
// is not ours to open.
//
// A Client may be used by several goroutines. Each call ends with its context, and after half a
// minute more than it was asked to wait.
type Client struct {
	path string
	http *http.Client
}

var _ Router = (*Client)(nil)

// NewClient returns a Client of the VR whose control socket is at path. It opens nothing yet.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{path: path, http: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
			// A call has a connection of its own, so there is nothing to close and no call fails
			// because the VR has just given up an idle connection.
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Status implements Router.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, pathStatus, nil, 0, &s)
	return s, err
}

// Members implements Router.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	return read[[]Member](ctx, c, pathMembers, "members", 0)
}

// Sites implements Router.
func (c *Client) Sites(ctx context.Context) ([]Site, error) {
	return read[[]Site](ctx, c, pathSites, "sites", 0)
}

// VRs implements Router.
func (c *Client) VRs(ctx context.Context) ([]VR, error) {
	return read[[]VR](ctx, c, pathVRs, "vrs", 0)
}

// Hosts implements Router.
func (c *Client) Hosts(ctx context.Context) ([]Host, error) {
	return read[[]Host](ctx, c, pathHosts, "hosts", 0)
}

// VNs implements Router.
func (c *Client) VNs(ctx context.Context) ([]VN, error) {
	return read[[]VN](ctx, c, pathVNs, "vns", 0)
}

// VN implements Router.
func (c *Client) VN(ctx context.Context, name string) (VN, error) {
	return read[VN](ctx, c, pathVNs+"/"+url.PathEscape(name), "vn", 0)
}

// Routes implements Router.
func (c *Client) Routes(ctx context.Context) ([]Route, error) {
	return read[[]Route](ctx, c, pathRoutes, "routes", 0)
}

// Links implements Router.
func (c *Client) Links(ctx context.Context) ([]Link, error) {
	return read[[]Link](ctx, c, pathLinks, "links", 0)
}

// Queues implements Router.
func (c *Client) Queues(ctx context.Context) (Queues, error) {
	return read[Queues](ctx, c, pathQueues, "queues", 0)
}

// Paths implements Router.
func (c *Client) Paths(ctx context.Context, from, to string) (Paths, error) {
	return read[Paths](ctx, c, pathPaths+"?"+url.Values{"from": {from}, "to": {to}}.Encode(), "paths", 0)
}

// Drain implements Router.
func (c *Client) Drain(ctx context.Context, begin bool) (Drain, error) {
	method := http.MethodPost
	if !begin {
		method = http.MethodDelete
	}
	var out struct{ Drain Drain }
	err := c.do(ctx, method, pathDrain, nil, 0, &out)
	return out.Drain, err
}

// Drained implements Router.
func (c *Client) Drained(ctx context.Context) (Drain, error) {
	return read[Drain](ctx, c, pathDrain, "drain", 0)
}

// Pending implements Router.
func (c *Client) Pending(ctx context.Context) ([]Pending, error) {
	return read[[]Pending](ctx, c, pathPending, "pending", 0)
}

// Documents implements Router.
func (c *Client) Documents(ctx context.Context) ([][]byte, error) {
	return read[[][]byte](ctx, c, pathDocs, "documents", 0)
}

// Submit implements Router.
func (c *Client) Submit(ctx context.Context, envelope []byte) (Request, error) {
	var out struct{ Request Request }
	err := c.do(ctx, http.MethodPost, pathRequests, envelope, 0, &out)
	return out.Request, err
}

// Users implements Router.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	return read[[]User](ctx, c, pathUsers, "users", 0)
}

// Requests implements Router.
func (c *Client) Requests(ctx context.Context) ([]OpenRequest, error) {
	return read[[]OpenRequest](ctx, c, pathRequests, "requests", 0)
}

// Publish implements Router.
func (c *Client) Publish(ctx context.Context, envelope []byte) (Published, error) {
	var out struct{ Document Published }
	err := c.do(ctx, http.MethodPost, pathDocs, envelope, 0, &out)
	return out.Document, err
}

// Request implements Router. It waits at most WaitMax, in whole seconds.
func (c *Client) Request(ctx context.Context, id tables.Hash, wait time.Duration) (Request, error) {
	wait = min(wait, WaitMax).Truncate(time.Second)
	path := pathRequests + "/" + hex.EncodeToString(id[:])
	if wait > 0 {
		path += "?wait=" + strconv.Itoa(int(wait/time.Second))
	}
	return read[Request](ctx, c, path, "request", wait)
}

// Reload implements Router.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, pathReload, nil, 0, nil)
}

// read gets a document and returns what it holds under name.
func read[T any](ctx context.Context, c *Client, path, name string, wait time.Duration) (T, error) {
	var v T
	var document map[string]json.RawMessage
	if err := c.do(ctx, http.MethodGet, path, nil, wait, &document); err != nil {
		return v, err
	}
	if err := json.Unmarshal(document[name], &v); err != nil {
		return v, c.strange(err)
	}
	return v, nil
}

// do makes one call. wait is how long the VR was asked to take.
func (c *Client) do(ctx context.Context, method, path string, body []byte, wait time.Duration, into any) error {
	patient, cancel := context.WithTimeout(ctx, wait+answerPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(patient, method, "http://"+host+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call VR: %w", err)
	}
	r.Header.Set("Accept", typeJSON+", "+typeProblem)
	if body != nil {
		r.Header.Set("Content-Type", typeEnvelope)
	}
	response, err := c.http.Do(r)
	if err != nil {
		return c.callError(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return readProblem(response)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax+1))
	switch {
	case err != nil:
		return c.callError(ctx, err)
	case len(answer) > answerBytesMax:
		return c.strange(fmt.Errorf("it has more than %d bytes", answerBytesMax))
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return c.strange(err)
	}
	return nil
}

// callError says why a call had no answer.
func (c *Client) callError(ctx context.Context, err error) error {
	var call *url.Error
	if errors.As(err, &call) {
		err = call.Err // without the URL, which says nothing about a socket
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("call VR: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no socket %s", ErrUnreachable, c.path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s", ErrUnreachable, c.path)
	default:
		return fmt.Errorf("%w on %s: %w", ErrUnreachable, c.path, err)
	}
}

// strange is the error of an answer that is no answer.
func (c *Client) strange(err error) error {
	return fmt.Errorf("the answer from %s cannot be read; is it of another version of vine? %w", c.path, err)
}
