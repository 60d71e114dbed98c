package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// newLogger returns a standard logger, as serf and memberlist take it, that writes to l.
func newLogger(l *slog.Logger) *log.Logger {
	return log.New(logWriter{l}, "", 0)
}

// A logWriter turns lines such as "[WARN] serf: something" into records of a slog.Logger.
// Everything of serf's is at most a warning here: what it calls an error is a peer's doing.
type logWriter struct{ to *slog.Logger }

var logLevels = []struct {
	prefix string
	level  slog.Level
}{
	{"[TRACE]", slog.LevelDebug - 4},
	{"[DEBUG]", slog.LevelDebug},
	{"[INFO]", slog.LevelDebug}, // serf's info is one line per member and change
	{"[WARN]", slog.LevelInfo},
	{"[ERR]", slog.LevelWarn},
	{"[ERROR]", slog.LevelWarn},
}

// logLineMax bounds one line: some of serf's quote what a peer sent.
const logLineMax = 512

// Write implements io.Writer. It is called with one line at a time.
func (w logWriter) Write(line []byte) (int, error) {
	n := len(line)
	if w.to == nil {
		return n, nil
	}
	level := slog.LevelInfo
	for _, l := range logLevels {
		if rest, ok := bytes.CutPrefix(line, []byte(l.prefix)); ok {
			level, line = l.level, bytes.TrimLeft(rest, " ")
			break
		}
	}
	if !w.to.Enabled(context.Background(), level) {
		return n, nil
	}
	line = bytes.TrimRight(line, "\n")
	if len(line) > logLineMax {
		line = line[:logLineMax]
	}
	w.to.Log(context.Background(), level, "serf", "line", string(line))
	return n, nil
}
