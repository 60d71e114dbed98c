package gossiptest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vine-mesh/vine/tables"
)

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := New(1, time.Millisecond)
		var there net.Conn
		a := sw.Attach(1, nil, nil)
		b := sw.Attach(2, nil, func(_ tables.RouterID, c net.Conn) { there = c })
		here, err := a.Dial(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_ = here.SetReadDeadline(start.Add(time.Second))
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if n, err := there.Write([]byte("bye")); n != 3 || err != nil {
			t.Error(n, err)
		}
		_ = there.Close()
		_ = here.SetReadDeadline(time.Time{})
		if got, err := io.ReadAll(here); string(got) != "bye" || err != nil {
			t.Errorf("%q %v", got, err)
		}
		if _, err := here.Write([]byte("x")); err == nil {
			t.Error("wrote to a closed stream")
		}
		b.Close()
		if _, err := a.Dial(t.Context(), 2); !errors.Is(err, ErrUnreachable) {
			t.Error(err)
		}
	})
}

func TestPacketsKeepOrderAndObeyCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		sw := New(1, time.Millisecond)
		done := make(chan struct{})
		go func() { defer close(done); sw.Run(ctx) }()
		var got int
		a := sw.Attach(1, nil, nil)
		sw.Attach(2, func(_ tables.RouterID, b []byte) { got += int(b[0]) }, nil)
		for range 10 {
			a.Send(2, []byte{1})
		}
		time.Sleep(time.Second)
		sw.Cut(func(x, y tables.RouterID) bool { return true })
		a.Send(2, []byte{100})
		time.Sleep(time.Second)
		if got != 10 {
			t.Errorf("got %d, want 10", got)
		}
		cancel()
		<-done
	})
}
