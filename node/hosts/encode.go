package hosts

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"

	"github.com/vine-mesh/vine/tables"
)

// format is the version of the text below.
const format = 1

type book struct {
	Format int `json:"format"`
	Ledger
}

// Encode returns the ledger as the text that Parse reads.
func (l Ledger) Encode() string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	_ = enc.Encode(book{format, l}) // of strings and numbers
	return b.String()
}

// Parse reads what Encode wrote; the empty text is an empty ledger. It refuses what no sequence of operations makes:
// two hosts with one name or address, names that are none.
func Parse(text string) (Ledger, error) {
	if text == "" {
		return Ledger{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	var b book
	if err := dec.Decode(&b); err != nil {
		return Ledger{}, fmt.Errorf("list of hosts: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Ledger{}, fmt.Errorf("list of hosts: something follows it")
	}
	if b.Format != format {
		return Ledger{}, fmt.Errorf("list of hosts: it has format %d, this program reads %d", b.Format, format)
	}
	return b.Ledger, b.Ledger.check()
}

func (l Ledger) check() error {
	addrs, ids := map[netip.Addr]bool{}, map[uint64]bool{}
	for i, h := range l.Hosts {
		switch {
		case !tables.ValidName(h.Name) || !h.Addr.IsValid() || !h.MAC.valid():
			return fmt.Errorf("list of hosts: host %.70q at %v is malformed", h.Name, h.Addr)
		case i > 0 && l.Hosts[i-1].Name >= h.Name:
			return fmt.Errorf("list of hosts: %s is out of order or there twice", h.Name)
		case addrs[h.Addr]:
			return fmt.Errorf("list of hosts: %v is given twice", h.Addr)
		}
		addrs[h.Addr] = true
	}
	for _, addr := range l.Released {
		if addrs[addr] || !addr.IsValid() {
			return fmt.Errorf("list of hosts: %v is released, and given or there twice", addr)
		}
		addrs[addr] = true
	}
	for _, r := range l.Requests {
		known := r.State == Waiting || r.State == Approved || r.State == Denied
		switch {
		case !known || r.MAC == "" || !r.MAC.valid() || !tables.ValidName(r.VN) || !tables.ValidName(r.Name):
			return fmt.Errorf("list of hosts: request %d is malformed", r.ID)
		case ids[r.ID] || r.ID > l.LastID:
			return fmt.Errorf("list of hosts: request %d is there twice or has a number that was not given", r.ID)
		}
		ids[r.ID] = true
	}
	return nil
}

func (m MAC) valid() bool {
	if m == "" {
		return true
	}
	parsed, err := ParseMAC(string(m))
	return err == nil && parsed == m
}
