package control

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
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

// Serve answers calls that come in by l until ctx ends, and closes l. It returns nil when ctx
// ended.
//
// The contexts of the Router's calls end with ctx, so that a wait for an outcome does not hold the VR
// up; a call that goes on for a second after that is left to itself, and its answer is lost.
func Serve(ctx context.Context, l net.Listener, r Router, log *slog.Logger) error {
	return serve(ctx, l, newServer(r, log, times{headerPatience, readPatience, idlePatience}))
}

// times are the patience with slow clients, which tests shorten.
type times struct{ header, read, idle time.Duration }

func newServer(r Router, log *slog.Logger, t times) *http.Server {
	return &http.Server{
		Handler:           guard(routes(r), log),
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
	go func() { ended <- s.Serve(netutil.LimitListener(l, connectionsMax)) }()
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

// A call answers one request with a document to be written as JSON.
type call func(r *http.Request) (status int, document any, err error)

// A resource is what stands at one path: its calls by method.
type resource map[string]call

// allow returns the methods of the resource, for the Allow header.
func (res resource) allow() string {
	var methods []string
	for m := range res {
		methods = append(methods, m)
	}
	if res[http.MethodGet] != nil {
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
	f := res[method]
	if f == nil {
		w.Header().Set("Allow", res.allow())
		writeProblem(w, plain(http.StatusMethodNotAllowed, "%s does not take %.16q", r.URL.Path, r.Method))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, bodyBytesMax)
	ctx, cancel := context.WithTimeout(r.Context(), WaitMax+answerPatience)
	defer cancel()
	status, document, err := f(r.WithContext(ctx))
	if err != nil {
		writeProblem(w, problemOf(err))
		return
	}
	writeJSON(w, status, typeJSON, document)
}

func routes(r Router) http.Handler {
	mux := http.NewServeMux()
	for path, f := range map[string]call{
		pathStatus:  get("", r.Status),
		pathMembers: get("members", all(r.Members)),
		pathSites:   get("sites", all(r.Sites)),
		pathVRs:     get("vrs", all(r.VRs)),
		pathHosts:   get("hosts", all(r.Hosts)),
		pathVNs:     get("vns", all(r.VNs)),
		pathRoutes:  get("routes", all(r.Routes)),
		pathLinks:   get("links", all(r.Links)),
		pathQueues:  get("queues", r.Queues),
		pathPaths:   func(q *http.Request) (int, any, error) { return paths(r, q) },
		pathPending: get("pending", all(r.Pending)),
		pathUsers:   get("users", all(r.Users)),
		pathVNs + "/{name}": func(q *http.Request) (int, any, error) {
			vn, err := r.VN(q.Context(), q.PathValue("name"))
			return http.StatusOK, named("vn", vn), err
		},
		pathRequests + "/{id}": func(q *http.Request) (int, any, error) { return request(r, q) },
	} {
		mux.Handle(path, resource{http.MethodGet: f})
	}
	mux.Handle(pathRequests, resource{
		http.MethodGet:  get("requests", all(r.Requests)),
		http.MethodPost: func(q *http.Request) (int, any, error) { return takes(q, "request", r.Submit) },
	})
	mux.Handle(pathDocs, resource{
		http.MethodGet:  get("documents", all(r.Documents)),
		http.MethodPost: func(q *http.Request) (int, any, error) { return takes(q, "document", r.Publish) },
	})
	mux.Handle(pathReload, resource{http.MethodPost: func(q *http.Request) (int, any, error) {
		err := r.Reload(q.Context())
		return http.StatusOK, named("reloaded", true), err
	}})
	drain := func(begin bool) call {
		return func(q *http.Request) (int, any, error) {
			if err := noBody(q); err != nil {
				return 0, nil, err
			}
			d, err := r.Drain(q.Context(), begin)
			return http.StatusOK, named("drain", d), err
		}
	}
	mux.Handle(pathDrain, resource{http.MethodGet: get("drain", r.Drained), http.MethodPost: drain(true), http.MethodDelete: drain(false)})
	mux.HandleFunc("/", func(w http.ResponseWriter, q *http.Request) {
		writeProblem(w, plain(http.StatusNotFound, "there is nothing at %.256q", q.URL.Path))
	})
	return mux
}

// named returns a document that holds v under name.
func named(name string, v any) map[string]any {
	return map[string]any{"schema_version": SchemaVersion, name: v}
}

// get makes a call of a method without arguments. With an empty name the document is the result
// itself.
func get[T any](name string, f func(context.Context) (T, error)) call {
	return func(r *http.Request) (int, any, error) {
		v, err := f(r.Context())
		if name == "" {
			return http.StatusOK, v, err
		}
		return http.StatusOK, named(name, v), err
	}
}

// all makes f return an empty list rather than none, so that the JSON never has null for a list.
func all[T any](f func(context.Context) ([]T, error)) func(context.Context) ([]T, error) {
	return func(ctx context.Context) ([]T, error) {
		list, err := f(ctx)
		if list == nil {
			list = []T{}
		}
		return list, err
	}
}

// takes answers POST requests whose body is a document: 202 when that is on disk here, which is what
// "accepted" means. what names the answer.
func takes[T any](r *http.Request, what string, f func(context.Context, []byte) (T, error)) (int, any, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != typeEnvelope {
		return 0, nil, plain(http.StatusUnsupportedMediaType, "the body must be a signed %s, sent as %s", what, typeEnvelope)
	}
	envelope, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, readError(err)
	}
	if len(envelope) == 0 {
		return 0, nil, plain(http.StatusBadRequest, "the body is empty; it must be a signed %s", what)
	}
	out, err := f(r.Context(), envelope)
	return http.StatusAccepted, named(what, out), err
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
func paths(router Router, r *http.Request) (int, any, error) {
	q := r.URL.Query()
	from, to := q.Get("from"), q.Get("to")
	if to == "" || max(len(from), len(to)) > nameBytesMax {
		return 0, nil, plain(http.StatusBadRequest, "from and to must be names or router IDs of VRs; from may be left out")
	}
	p, err := router.Paths(r.Context(), from, to)
	return http.StatusOK, named("paths", p), err
}

// readError is the error of a body that could not be read: too big, too slow or cut off.
func readError(err error) error {
	if p := problemOf(err); p.Status != http.StatusInternalServerError {
		return p
	}
	return plain(http.StatusBadRequest, "the body ended early")
}

// request answers GET requests/{id}?wait=SECONDS.
func request(router Router, r *http.Request) (int, any, error) {
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		return 0, nil, plain(http.StatusBadRequest, "%v", err)
	}
	var wait time.Duration
	if text := r.URL.Query().Get("wait"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return 0, nil, plain(http.StatusBadRequest, "wait=%.16q is not a number of seconds", text)
		}
		wait = min(time.Duration(seconds)*time.Second, WaitMax)
	}
	out, err := router.Request(r.Context(), id, wait)
	return http.StatusOK, named("request", out), err
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
func guard(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if name, _, _ := strings.Cut(r.Host, ":"); name != host && name != "localhost" {
			writeProblem(w, plain(http.StatusMisdirectedRequest, "this is the management interface of a VR: name it %q in the Host header", host))
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

// writeJSON writes v whole or, if it cannot be written as JSON, a problem.
func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		status, media = http.StatusInternalServerError, typeProblem
		body.Reset()
		enc.Encode(plain(status, "encode the answer: %v", err))
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	w.Write(body.Bytes()) // an error means that the client has gone
}
