package real

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
)

// Between the bubble and the rest of the child there are only atomics: a channel from outside would stop virtual time.
type outside struct {
	virtual atomic.Int64 // nanoseconds so far
	packets atomic.Uint64
	stop    atomic.Bool // end early
}

// Child is what a child does: it reads an order from standard input, runs it, tells on descriptor 3 how far it is and what it has, and exits.
func Child() {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil || o.Scenario == nil {
		fmt.Fprintln(os.Stderr, "this is a part of `vine sim run`, and not for people:", err)
		os.Exit(2)
	}
	pipe := json.NewEncoder(os.NewFile(3, "parent"))
	var out outside
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-asked
		out.stop.Store(true)
	}()
	var whole atomic.Bool // nothing but the result comes now
	told := make(chan struct{})
	go func() {
		defer close(told)
		last := int64(-1)
		for !whole.Load() {
			if now := out.virtual.Load(); now != last {
				last = now
				if pipe.Encode(word{Virtual: time.Duration(now), Packets: out.packets.Load()}) != nil {
					out.stop.Store(true) // nobody listens
				}
			}
			time.Sleep(200 * time.Millisecond)
		}
	}()
	testing.Init()
	if err := flag.CommandLine.Parse([]string{"-test.timeout=0"}); err != nil {
		os.Exit(2)
	}
	var got result.Run
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: o.Scenario.Name, F: func(t *testing.T) {
		t.Run("run", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, o.Scenario, o.Seed, &out, func(r result.Run) { got = r }) })
		})
		whole.Store(true)
		<-told
		if got.Scenario != "" {
			if err := pipe.Encode(word{Run: &got}); err != nil {
				t.Error(err)
			}
		}
	}}}, nil, nil)
}
