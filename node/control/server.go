package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/vine-mesh/vine/tables"
)

const (
	// bodyBytesMax bounds a request's body. A request document has at most 8 KiB; the rest is
	// room for what comes later.
	bodyBytesMax = 64 << 10
	// headerBytesMax bounds a request's header.
	headerBytesMax = 8 << 10
	// connectionsMax bounds the connections served at once; more wait in the kernel's queue.
	connectionsMax = 64

	headerPatience = 5 * time.Second
	readPatience   = 10 * time.Second // for a whole request
	idlePatience   = 60 * time.Second // between two requests

	// WaitMax is how long one call waits for the outcome of a request. A longer wait is cut to it;
	// the client asks again.
	WaitMax = 60 * time.Second
	// answerPatience is how long the Router may take and the response may travel, waits aside.
	answerPatience = 30 * time.Second

	// goodbye is how long calls that run may go on after the end of Serve's context.
	goodbye = time.Second
)

// Serve answers calls that come in by l, a unix socket, until ctx ends, and closes l. It returns nil when ctx
// ended. Whoever may open the socket may do what r can; see ServeTLS for the network.
//
// The contexts of the Router's calls end with ctx, so that a wait for an outcome does not hold the VR
// up; a call that goes on for a second after that is left to itself, and its answer is lost.
func Serve(ctx context.Context, l net.Listener, r Router, log *slog.Logger) error {
	return serve(ctx, netutil.LimitListener(l, connectionsMax), newServer(onSocket(r), log, usualTimes))
}

// An entrance is how callers come in: under which host names, and what the VR is to each of them.
type entrance struct {
	scheme string // of our own origin
	names  []string
	router func(*http.Request) (Router, error)
}

func onSocket(r Router) entrance {
	return entrance{"http", []string{host, "localhost"}, func(*http.Request) (Router, error) { return r, nil }}
}

// times are the patience with slow clients, which tests shorten.
type times struct{ header, read, idle, event time.Duration }

var usualTimes = times{headerPatience, readPatience, idlePatience, eventPatience}

func newServer(e entrance, log *slog.Logger, t times) *http.Server {
	return &http.Server{
		Handler:           guard(routes(e.router, newStreams(t.event)), e, log),
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.read,
		WriteTimeout:      t.read + WaitMax + answerPatience,
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func serve(ctx context.Context, l net.Listener, s *http.Server) error {
	s.BaseContext = func(net.Listener) context.Context { return ctx }
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		s.Close()
		return fmt.Errorf("serve management interface: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	err := s.Shutdown(last)
	if err != nil { // a call outlives its welcome
		s.Close()
	}
	<-ended
	return nil
}

// A resource is what stands at one path: its routes by method.
type resource struct {
	routes  map[string]route
	router  func(*http.Request) (Router, error) // the VR as the caller may use it
	streams *streams
}

// allow returns the methods of the resource, for the Allow header.
func (res resource) allow() string {
	methods := slices.Collect(maps.Keys(res.routes))
	if _, ok := res.routes[http.MethodGet]; ok {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// ServeHTTP implements http.Handler.
func (res resource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	route, ok := res.routes[method]
	if !ok {
		w.Header().Set("Allow", res.allow())
		writeProblem(w, plain(http.StatusMethodNotAllowed, "%s does not take %.16q", r.URL.Path, r.Method))
		return
	}
	router, err := res.router(r)
	if err != nil {
		writeProblem(w, problemOf(err))
		return
	}
	most := cmp.Or(route.most, bodyBytesMax)
	if r.ContentLength > most {
		writeProblem(w, problemOf(&http.MaxBytesError{Limit: most}))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, most)
	if err := route.check(r); err != nil {
		writeProblem(w, problemOf(err))
		return
	}
	if route.stream != nil {
		if err := route.stream(res.streams, router, w, r); err != nil {
			writeProblem(w, problemOf(err))
		}
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), WaitMax+answerPatience)
	defer cancel()
	status, document, err := route.call(router, r.WithContext(ctx))
	if err != nil {
		writeProblem(w, problemOf(err))
		return
	}
	writeAnswer(w, r, status, document)
}

// check refuses what the route has no use for: it was meant for something else.
func (rt route) check(r *http.Request) error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return plain(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	for name, values := range q {
		i := slices.IndexFunc(rt.query, func(p parameter) bool { return p.name == name })
		switch {
		case i < 0:
			return plain(http.StatusBadRequest, "%s takes no parameter %.32q", r.URL.Path, name)
		case len(values) > 1:
			return plain(http.StatusBadRequest, "the parameter %q stands %d times", name, len(values))
		}
	}
	if rt.takes == "" {
		return noBody(r)
	}
	return nil
}

// routes serves the table. router gives the VR as the caller of a request may use it.
func routes(router func(*http.Request) (Router, error), shared *streams) http.Handler {
	byPath := map[string]map[string]route{}
	for _, r := range table() {
		if byPath[r.path] == nil {
			byPath[r.path] = map[string]route{}
		}
		byPath[r.path][r.method] = r
	}
	mux := http.NewServeMux()
	for path, routes := range byPath {
		mux.Handle(path, resource{routes, router, shared})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		writeProblem(w, plain(http.StatusNotFound, "there is nothing at %.256q", q.URL.Path))
	})
	return mux
}

// submit answers POST requests: 202 when the request is on disk here, which is what "accepted" means.
func submit(router Router, r *http.Request) (int, any, error) {
	envelope, err := envelopeOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := checkMatch(router, r); err != nil {
		return 0, nil, err
	}
	out, err := router.Submit(r.Context(), envelope)
	return http.StatusAccepted, named("request", out), err
}

// publish answers POST documents, with 202 as submit does.
func publish(router Router, r *http.Request) (int, any, error) {
	envelope, err := envelopeOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := checkMatch(router, r); err != nil {
		return 0, nil, err
	}
	out, err := router.Publish(r.Context(), envelope)
	return http.StatusAccepted, named("document", out), err
}

func isEnvelope(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == typeEnvelope
}

// noBody refuses a body where there is nothing to say: it was meant for something else.
func noBody(r *http.Request) error {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return readError(err)
	}
	if n > 0 {
		return plain(http.StatusBadRequest, "%s takes no body", r.URL.Path)
	}
	return nil
}

// nameBytesMax bounds the name of a VR in a question: names have 63 bytes at most.
const nameBytesMax = 64

// paths answers GET paths?from=VR&to=VR.
func paths(router Router, r *http.Request) (Paths, error) {
	q := r.URL.Query()
	from, to := q.Get("from"), q.Get("to")
	if to == "" || max(len(from), len(to)) > nameBytesMax {
		return Paths{}, plain(http.StatusBadRequest, "from and to must be names or router IDs of VRs; from may be left out")
	}
	return router.Paths(r.Context(), from, to)
}

// readError is the error of a body that could not be read: too big, too slow or cut off.
func readError(err error) error {
	if p := problemOf(err); p.Status != http.StatusInternalServerError {
		return p
	}
	return plain(http.StatusBadRequest, "the body ended early")
}

// request answers GET requests/{id}?wait=SECONDS.
func request(router Router, r *http.Request) (Request, error) {
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		return Request{}, plain(http.StatusBadRequest, "%v", err)
	}
	var wait time.Duration
	if text := r.URL.Query().Get("wait"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return Request{}, plain(http.StatusBadRequest, "wait=%.16q is not a number of seconds", text)
		}
		wait = min(time.Duration(seconds)*time.Second, WaitMax)
	}
	return router.Request(r.Context(), id, wait)
}

func parseID(text string) (tables.Hash, error) {
	var id tables.Hash
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(id) {
		return id, errors.New("a request is named by 64 hexadecimal digits")
	}
	return tables.Hash(b), nil
}

// guard refuses what no client of ours sends, and keeps a fault in one call from ending the VR.
//
// A web page must not reach the VR through the browser of somebody who may: not by a name of its own that leads here
// (Host: the page's name), not by a form or a script (Origin: the page's, or "null").
func guard(next http.Handler, e entrance, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if !e.isOurs(r.Host) {
			writeProblem(w, plain(http.StatusMisdirectedRequest, "this is the management interface of a VR: name it %q in the Host header", e.names[0]))
			return
		}
		if !e.sameOrigin(r) {
			writeProblem(w, plain(http.StatusForbidden, "the management interface of a VR takes no calls from web pages of others"))
			return
		}
		defer func() {
			if fault := recover(); fault != nil {
				log.Error("management call failed", "path", r.URL.Path, "err", fmt.Sprint(fault))
				writeProblem(w, plain(http.StatusInternalServerError, "internal error"))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// isOurs reports whether a Host header names us. On the network an address does: no other site's name leads to it.
func (e entrance) isOurs(hostport string) bool {
	name := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		name = h
	}
	if slices.Contains(e.names, strings.ToLower(name)) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && e.scheme == "https"
}

// sameOrigin reports whether a request comes from no web page, or from one of ours.
func (e entrance) sameOrigin(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		if origin != e.scheme+"://"+r.Host {
			return false
		}
	}
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "same-origin" || site == "none"
}

// writeJSON writes v whole or, if it cannot be written as JSON, a problem.
func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	body, err := encode(v)
	if err != nil {
		status, media = http.StatusInternalServerError, typeProblem
		body, _ = encode(plain(status, "encode the answer: %v", err))
	}
	write(w, status, media, body)
}

func encode(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return body.Bytes(), err
}

func write(w http.ResponseWriter, status int, media string, body []byte) {
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // an error means that the client has gone
}
