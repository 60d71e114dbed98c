package serfrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// clientsMax bounds the clients: people and their scripts. More are closed at once.
	clientsMax = 16
	// requestMax bounds a request with its header. The largest is a query of 1 KiB with
	// filters.
	requestMax = 64 << 10
	// requestTimeout bounds how long a request takes to come in once it has begun, the
	// handshake included, so that silent connections do not keep places.
	requestTimeout = 5 * time.Second
	// idleTimeout closes a client that asks nothing and watches nothing.
	idleTimeout = 5 * time.Minute
	// writeTimeout closes a client that does not read.
	writeTimeout = 10 * time.Second
	// streamsMax bounds the streams and running queries of one client.
	streamsMax = 8
	// pendingMax bounds the queries that one client may still answer.
	pendingMax = 64
	// eventBuffer is how many events wait for one stream; more are dropped.
	eventBuffer = 256
	// queryBurst and queryEvery limit the queries of all clients: each costs every member
	// an answer.
	queryBurst = 5
	queryEvery = 500 * time.Millisecond
	// queryTimeoutMax bounds how long a query runs. Members drop longer ones.
	queryTimeoutMax = time.Minute
)

// A Server serves the serf RPC. Its fields are set before Run and not changed after.
type Server struct {
	Serf Serf
	// Listener is where clients connect. Run closes it.
	Listener net.Listener
	// Token, if not empty, is what clients must present ("serf -rpc-auth").
	Token string
	// Vine returns the section "vine" of "serf info". It must not wait. It may be nil.
	Vine func() map[string]string
	// Logs feeds "serf monitor". It may be nil.
	Logs *Ring
	// Log is told of refused clients. It may be nil.
	Log *slog.Logger

	mu      sync.Mutex // guards what follows
	clients map[*client]struct{}
	queries int       // left to ask now
	asked   time.Time // when queries was last filled up
}

// Run serves clients until ctx ends, and returns when the last has been closed. It returns
// nil then, else the error that stopped it.
func (s *Server) Run(ctx context.Context) error {
	if !loopback(s.Listener.Addr()) && s.Token == "" {
		_ = s.Listener.Close()
		return fmt.Errorf("serf rpc on %v: needs a token outside of loopback", s.Listener.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = s.Listener.Close() })
	defer stop()
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("serf rpc: %w", err)
			}
			// Out of descriptors, or the client was gone already: go on, but do not spin.
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(acceptPause):
			}
			continue
		}
		c := newClient(s, conn)
		if !s.add(c) {
			_ = conn.Close()
			if s.Log != nil {
				s.Log.Warn("serf rpc client refused", "reason", "too many clients", "max", clientsMax)
			}
			continue
		}
		running.Go(func() {
			defer s.remove(c)
			c.run(ctx)
		})
	}
}

// acceptPause keeps a failing Accept from using a whole processor.
const acceptPause = 100 * time.Millisecond

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func (s *Server) add(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.clients) >= clientsMax {
		return false
	}
	if s.clients == nil {
		s.clients = make(map[*client]struct{})
	}
	s.clients[c] = struct{}{}
	return true
}

func (s *Server) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// mayQuery takes one query from what clients may ask now.
func (s *Server) mayQuery(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.IsZero() {
		s.queries, s.asked = queryBurst, now
	}
	if n := int(now.Sub(s.asked) / queryEvery); n > 0 {
		s.queries = min(queryBurst, s.queries+n)
		s.asked = s.asked.Add(time.Duration(n) * queryEvery)
	}
	if s.queries == 0 {
		return false
	}
	s.queries--
	return true
}
