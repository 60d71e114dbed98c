package tables_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// A vector is one document as docs/wire.md shows it: another implementation must give the same
// bytes.
type vector struct {
	Kind     string `json:"kind"`
	Key      string `json:"key"`
	Version  uint64 `json:"version"`
	Body     string `json:"body"`     // hexadecimal CBOR
	Hash     string `json:"hash"`     // hexadecimal body hash
	Envelope string `json:"envelope"` // hexadecimal
}

// One document of every kind, byte for byte: a change here is a change of the wire format.
func TestVectors(t *testing.T) {
	const file = "testdata/vectors.json"
	if *update {
		writeVectors(t, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != int(tables.KindAdoption) {
		t.Errorf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		d, err := tables.ParseDocument(unhex(t, v.Envelope))
		if err != nil {
			t.Errorf("%s: %v", v.Key, err)
			continue
		}
		if got := vectorOf(t, d); got != v {
			t.Errorf("%s: %+v", v.Key, got)
		}
	}
	// The same documents made today have the same bytes.
	seen := 0
	for _, d := range samples() {
		for _, v := range vectors {
			if v.Envelope == hex.EncodeToString(d.Bytes()) {
				seen++
			}
		}
	}
	if seen != len(vectors) {
		t.Errorf("only %d of the %d vectors are still made", seen, len(vectors))
	}
}

func vectorOf(t *testing.T, d *tables.Document) vector {
	t.Helper()
	e, _, err := tables.ParseEnvelope(d.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	h := d.Hash()
	return vector{d.Kind().String(), d.Key().String(), d.Version(), hex.EncodeToString(e.Body), hex.EncodeToString(h[:]), hex.EncodeToString(d.Bytes())}
}

// writeVectors takes the last sample of each kind.
func writeVectors(t *testing.T, file string) {
	t.Helper()
	last := map[tables.Kind]*tables.Document{}
	for _, d := range samples() {
		last[d.Kind()] = d
	}
	var vectors []vector
	for k := tables.KindRoot; k.Valid(); k++ {
		vectors = append(vectors, vectorOf(t, last[k]))
	}
	b, err := json.MarshalIndent(vectors, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
