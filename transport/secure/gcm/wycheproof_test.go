package gcm

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"testing"
)

type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// TestWycheproof: the vectors of keys, nonces and tags of our lengths, for registers of each width; package secure tests what New takes.
func TestWycheproof(t *testing.T) {
	text, err := os.ReadFile("../../../../shared/corpora/wycheproof/aes_gcm_test.json") // no part of the project
	if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") == "" {
		t.Skip("SKIPPED, NOT TESTED: no Wycheproof vectors in ../shared/corpora")
	}
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		TestGroups []struct {
			IVSize, KeySize, TagSize int
			Tests                    []struct {
				ID                         int `json:"tcId"`
				Result                     string
				Key, IV, AAD, Msg, CT, Tag hexBytes
			}
		}
	}
	if err := json.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	eachWidth(t, func(t *testing.T, fast func([]byte) cipher.AEAD) {
		ran := 0
		for _, g := range w.TestGroups {
			if g.IVSize != 8*nonceLen || g.KeySize != 8*keyLen || g.TagSize != 8*tagLen {
				continue
			}
			for _, test := range g.Tests {
				ran++
				s, sealed := fast(test.Key), append(bytes.Clone(test.CT), test.Tag...)
				got, err := s.Open(nil, test.IV, sealed, test.AAD)
				if valid := test.Result == "valid"; valid != (err == nil) || valid && !bytes.Equal(got, test.Msg) {
					t.Errorf("%d, %s: opens as %x, %v", test.ID, test.Result, got, err)
				}
				if test.Result == "valid" && !bytes.Equal(s.Seal(nil, test.IV, test.Msg, test.AAD), sealed) {
					t.Errorf("%d: sealed differently", test.ID)
				}
			}
		}
		if ran < 50 {
			t.Errorf("only %d vectors ran", ran)
		}
	})
}
