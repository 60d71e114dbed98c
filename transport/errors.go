package transport

import "errors"

// Why a stream ended early: the Err of StreamClosed.
var (
	ErrStreamReset  = errors.New("stream reset by the peer")
	ErrStreamAbort  = errors.New("stream reset here")
	ErrStreamIdle   = errors.New("stream made no progress")
	ErrLinkDown     = errors.New("link went down")
	ErrStreamBudget = errors.New("stream budget of the join conversation is spent")
)
