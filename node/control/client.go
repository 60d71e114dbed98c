package control

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vine-mesh/vine/tables"
)

// ErrUnreachable is wrapped by the errors of a Client when no VR answers on the socket.
var ErrUnreachable = errors.New("no running VR answers")

// answerBytesMax bounds an answer: 10,000 members with their tags take some megabytes.
const answerBytesMax = 64 << 20

// A Client calls a running VR, through its control socket or over the network. It is a Router, and the VR's errors come
// out as they went in: to errors.Is they are ErrNotFound, ErrRefused, ErrElsewhere, ErrForbidden or ErrStale. Other answers that are no
// success are a *Problem; ErrUnreachable says that nobody answers, fs.ErrPermission that the socket
// is not ours to open.
//
// A Client may be used by several goroutines. Each call ends with its context, and after half a
// minute more than it was asked to wait.
type Client struct {
	base  string // of URLs
	where string // the VR, for messages
	http  *http.Client
}

var _ Router = (*Client)(nil)

// NewClient returns a Client of the VR whose control socket is at path. It opens nothing yet.
func NewClient(path string) *Client {
	var d net.Dialer
	return newClient("http://"+host, "the socket "+path, &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	})
}

// NewRemote returns a Client of the VR at address, https://HOST:PORT#FINGERPRINT, that shows it key. The
// fingerprint is that of the VR's identity: no other machine is talked to. It opens nothing yet.
func NewRemote(address string, key ed25519.PrivateKey) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("the address of a VR's API is https://HOST:PORT#FINGERPRINT")
	}
	pin := strings.ToLower(strings.NewReplacer("-", "", ":", "").Replace(u.Fragment))
	if len(pin) != len(tables.PublicKey{}.Fingerprint()) {
		return nil, fmt.Errorf("the address of a VR's API ends in #FINGERPRINT, that of the VR's identity: `vine status` shows it on the VR itself, and %q is none", u.Fragment)
	}
	certificate := fresh(key)
	return newClient("https://"+u.Host, u.Host, &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			NextProtos: []string{"http/1.1"},
			// No certification authority vouches for a VR: VerifyConnection holds its key against the fingerprint.
			InsecureSkipVerify: true,
			VerifyConnection: func(state tls.ConnectionState) error {
				key, err := holder(state, time.Now())
				if err == nil && key.Fingerprint() != pin {
					err = fmt.Errorf("%w: the VR there has the identity %s", errWrongVR, key.Fingerprint())
				}
				return err
			},
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() },
		},
	}), nil
}

// errWrongVR says that another machine answers than the one that was meant.
var errWrongVR = errors.New("not the VR that was meant")

func newClient(base, where string, t *http.Transport) *Client {
	// A call has a connection of its own, so there is nothing to close and no call fails because the VR has just
	// given up an idle connection.
	t.DisableKeepAlives = true
	return &Client{base: base, where: where, http: &http.Client{
		Transport:     t,
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
	return c.submit(ctx, envelope, nil)
}

// SubmitFor is Submit of a request that was made for what vn shows: if the VN is at another version now, the error
// wraps ErrStale and nothing was done.
func (c *Client) SubmitFor(ctx context.Context, envelope []byte, vn VN) (Request, error) {
	return c.submit(ctx, envelope, http.Header{"If-Match": {`"` + versionTag(vn) + `"`}})
}

func (c *Client) submit(ctx context.Context, envelope []byte, h http.Header) (Request, error) {
	var out struct{ Request Request }
	answer, err := c.get(ctx, http.MethodPost, pathRequests, envelope, 0, h)
	if err != nil {
		return out.Request, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out.Request, c.strange(err)
	}
	return out.Request, nil
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

// do makes one call and reads the JSON in the answer. wait is how long the VR was asked to take.
func (c *Client) do(ctx context.Context, method, path string, body []byte, wait time.Duration, into any) error {
	return c.doAs(ctx, method, path, typeEnvelope, body, wait, into)
}

// doAs is do with a body of another type.
func (c *Client) doAs(ctx context.Context, method, path, media string, body []byte, wait time.Duration, into any) error {
	var h http.Header
	if body != nil {
		h = http.Header{"Content-Type": {media}}
	}
	answer, err := c.get(ctx, method, path, body, wait, h)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return c.strange(err)
	}
	return nil
}

// get makes one call and returns the body of the answer.
func (c *Client) get(ctx context.Context, method, path string, body []byte, wait time.Duration, h http.Header) ([]byte, error) {
	patient, cancel := context.WithTimeout(ctx, wait+answerPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(patient, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call VR: %w", err)
	}
	if body != nil {
		r.Header.Set("Content-Type", typeEnvelope)
	}
	maps.Copy(r.Header, h)
	r.Header.Set("Accept", typeJSON+", "+typeProblem+", text/plain")
	response, err := c.http.Do(r)
	if err != nil {
		return nil, c.callError(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return nil, readProblem(response)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax+1))
	switch {
	case err != nil:
		return nil, c.callError(ctx, err)
	case len(answer) > answerBytesMax:
		return nil, c.strange(fmt.Errorf("it has more than %d bytes", answerBytesMax))
	}
	return answer, nil
}

// callError says why a call had no answer.
func (c *Client) callError(ctx context.Context, err error) error {
	var call *url.Error
	if errors.As(err, &call) {
		err = call.Err // without the URL, which says nothing about a socket
	}
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("call VR: %w", err)
	case errors.Is(err, errWrongVR):
		return fmt.Errorf("%s: %w", c.where, err)
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return fmt.Errorf("%w: the VR at %s knows no right of this key: %w", ErrForbidden, c.where, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: there is no %s", ErrUnreachable, strings.TrimPrefix(c.where, "the "))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s", ErrUnreachable, c.where)
	default:
		return fmt.Errorf("%w on %s: %w", ErrUnreachable, c.where, err)
	}
}

// strange is the error of an answer that is no answer.
func (c *Client) strange(err error) error {
	return fmt.Errorf("the answer from %s cannot be read; is it of another version of vine? %w", c.where, err)
}
