package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrInUse is wrapped by the error of Listen when a process answers on the socket.
var ErrInUse = errors.New("a running VR answers on the socket")

const (
	socketMode = 0o660
	// pathBytesMax is the longest path of a unix socket on Linux (sun_path holds 108 bytes, one of
	// them zero); other systems have a few less and say so themselves.
	pathBytesMax = 107
	// provePatience bounds the proof that nobody answers on a socket. A process that lives accepts
	// at once, or has a full queue, which is an answer too.
	provePatience = 2 * time.Second
)

// Listen makes the unix socket at path with mode 0660, and its directory with mode 0755 if there is
// none. A socket that a crash left is removed, after a call to it was refused: which the system does
// only when no process has it open. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	if len(path) > pathBytesMax {
		return nil, fmt.Errorf("control socket: the path %.24q... has %d bytes; the system takes %d", path, len(path), pathBytesMax)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// On Linux the file gets the socket's own mode less the umask, so there is no moment at
		// which others may connect. Elsewhere this may fail; the chmod below does it.
		return c.Control(func(fd uintptr) { syscall.Fchmod(int(fd), socketMode) })
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // the umask may have taken the group's right
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// removeStale removes a socket at path that no process has open.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is no socket; move it away", path)
	}
	conn, err := net.DialTimeout("unix", path, provePatience)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%s: %w", path, ErrInUse)
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist): // removed meanwhile
		return nil
	default:
		return fmt.Errorf("%s: cannot tell whether it is in use: %w", path, err)
	}
}
