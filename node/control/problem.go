package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
)

// A Problem is an error as it travels: problem details (RFC 9457). The server sends them, and the
// Client returns them as errors.
//
// To errors.Is a Problem is what the Router's error was: one of the errors named below.
type Problem struct {
	Type   string `json:"type"` // "about:blank", or one of the types below
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// The types of problem that a program may want to tell apart.
const (
	ProblemNotFound  = "urn:vine:problem:not-found" // ErrNotFound
	ProblemRefused   = "urn:vine:problem:refused"   // ErrRefused
	ProblemElsewhere = "urn:vine:problem:elsewhere" // ErrElsewhere
	ProblemForbidden = "urn:vine:problem:forbidden" // ErrForbidden
	ProblemStale     = "urn:vine:problem:stale"     // ErrStale
)

const typeBlank = "about:blank"

// Error returns the detail, or the title when there is none.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("the VR answered %d %s", p.Status, p.Title)
	}
	return p.Detail
}

// Is reports whether target is what the type says.
func (p *Problem) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return p.Type == ProblemNotFound
	case ErrRefused:
		return p.Type == ProblemRefused
	case ErrElsewhere:
		return p.Type == ProblemElsewhere
	case ErrForbidden:
		return p.Type == ProblemForbidden
	case ErrStale:
		return p.Type == ProblemStale
	}
	return false
}

// plain returns a problem that its status says all about, but for the detail.
func plain(status int, format string, args ...any) *Problem {
	return &Problem{Type: typeBlank, Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// problemOf turns an error into a problem. Each kind of error has its status here and nowhere else.
func problemOf(err error) *Problem {
	var p *Problem
	var tooBig *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, ErrNotFound):
		return &Problem{ProblemNotFound, "Not found", http.StatusNotFound, err.Error()}
	case errors.Is(err, ErrRefused):
		return &Problem{ProblemRefused, "Refused", http.StatusUnprocessableEntity, err.Error()}
	case errors.Is(err, ErrElsewhere):
		return &Problem{ProblemElsewhere, "Not known here", http.StatusMisdirectedRequest, err.Error()}
	case errors.Is(err, ErrForbidden):
		return &Problem{ProblemForbidden, "Forbidden", http.StatusForbidden, err.Error()}
	case errors.Is(err, ErrStale):
		return &Problem{ProblemStale, "Changed meanwhile", http.StatusPreconditionFailed, err.Error()}
	case errors.As(err, &tooBig):
		return plain(http.StatusRequestEntityTooLarge, "the body is longer than %d bytes", tooBig.Limit)
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return plain(http.StatusServiceUnavailable, "the VR is stopping")
	case errors.Is(err, context.DeadlineExceeded):
		return plain(http.StatusServiceUnavailable, "the VR is too busy to answer in time")
	case errors.As(err, &timeout) && timeout.Timeout():
		return plain(http.StatusRequestTimeout, "the body did not come in time")
	default:
		return plain(http.StatusInternalServerError, "%v", err)
	}
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	writeJSON(w, p.Status, typeProblem, p)
}

// readProblem reads the problem in a response. What is none becomes one.
func readProblem(r *http.Response) *Problem {
	p := &Problem{}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	err := json.NewDecoder(io.LimitReader(r.Body, bodyBytesMax)).Decode(p)
	if media != typeProblem || err != nil {
		return &Problem{Type: typeBlank, Title: http.StatusText(r.StatusCode), Status: r.StatusCode}
	}
	p.Status = r.StatusCode
	return p
}
