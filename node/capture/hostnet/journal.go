package hostnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/vine-mesh/vine/internal/durable"
)

// journalFormat is the version of the journal file.
const journalFormat = 1

// A journal is the file that says what we have on the machine, or are about to make. Invariant:
// whatever of ours is on the machine is in the file; not all that is in the file need be there.
type journal struct {
	path string
}

type journalFile struct {
	Format int    `json:"format"`
	Boot   string `json:"boot"`
	state
}

// bootID changes when the machine starts. Nothing that we make survives that.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// load returns what the file says, nothing if there is no file or the machine has been restarted
// since.
func (j journal) load() (state, error) {
	b, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("read journal: %w", err)
	}
	var f journalFile
	if err := json.Unmarshal(b, &f); err != nil {
		return state{}, fmt.Errorf("read journal %s: %w: remove the file, and what it listed with `ip route flush table all proto %d`", j.path, err, protocol)
	}
	if f.Format != journalFormat {
		return state{}, fmt.Errorf("read journal %s: it has format %d, this program knows %d: let the version that wrote it tear down first", j.path, f.Format, journalFormat)
	}
	if f.Boot != bootID() {
		return state{}, nil
	}
	return f.state, nil
}

// save makes the file say s; it is on disk when save returns. An empty state removes the file.
func (j journal) save(s state) error {
	if s.empty() {
		if err := durable.Remove(durable.OS, j.path); err != nil {
			return fmt.Errorf("remove journal: %w", err)
		}
		return nil
	}
	b, err := json.MarshalIndent(journalFile{Format: journalFormat, Boot: bootID(), state: s}, "", "\t")
	if err == nil {
		err = durable.Replace(durable.OS, j.path, append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}
