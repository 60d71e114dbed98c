package secure

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// wycheproof is one file of the Wycheproof vectors, as far as these tests read it.
type wycheproof struct {
	NumberOfTests int
	TestGroups    []struct {
		IVSize, KeySize, TagSize int
		Tests                    []struct {
			ID      int `json:"tcId"`
			Comment string
			Flags   []string
			Result  string

			Key, IV, AAD, Msg, CT, Tag bytesHex // AEAD
			Public, Private, Shared    bytesHex // X25519
			IKM, Salt, Info, OKM       bytesHex // HKDF
			Size                       int
		}
	}
}

type bytesHex []byte

func (b *bytesHex) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// load reads a file of the corpora beside the project. It skips the test when there are none, and fails where
// CI is set.
func load(t *testing.T, name string) wycheproof {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpora", "wycheproof", name))
	if errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatal("the Wycheproof vectors are absent, and CI must have them")
		}
		t.Log("SKIPPED: the Wycheproof vectors (../shared/corpora) are absent: our AEAD, X25519 and HKDF wrappers are not checked against them")
		t.Skip("no corpora")
	}
	if err != nil {
		t.Fatal(err)
	}
	var w wycheproof
	if err := json.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// wycheproofAEAD checks a suite's AEAD as Sender and Receiver use it: in place, 12-byte nonce, 16-byte tag.
func wycheproofAEAD(t *testing.T, suite Suite, file string) {
	w := load(t, file)
	ran := 0
	for _, g := range w.TestGroups {
		if g.IVSize != 8*nonceLen || g.KeySize != 8*suite.keyBytes() || g.TagSize != 128 {
			continue // sizes that we never use
		}
		for _, test := range g.Tests {
			ran++
			aead := suite.newAEAD(test.Key)
			sealed := append(bytes.Clone(test.CT), test.Tag...)
			buf := bytes.Clone(sealed)
			out, err := aead.Open(buf[:0], test.IV, buf, test.AAD)
			switch {
			case test.Result == "invalid":
				if err == nil {
					t.Errorf("%d (%s): opens", test.ID, test.Comment)
				}
				continue
			case err != nil || !bytes.Equal(out, test.Msg):
				t.Errorf("%d (%s): %v", test.ID, test.Comment, err)
			}
			buf = append(make([]byte, 0, len(sealed)), test.Msg...)
			if got := aead.Seal(buf[:0], test.IV, buf, test.AAD); !bytes.Equal(got, sealed) {
				t.Errorf("%d (%s): sealed differently", test.ID, test.Comment)
			}
		}
	}
	t.Logf("%d of %d vectors have our sizes", ran, w.NumberOfTests)
	if ran < 50 {
		t.Errorf("only %d vectors ran", ran)
	}
}

func TestWycheproofAESGCM(t *testing.T) {
	wycheproofAEAD(t, SuiteAES128GCM, "aes_gcm_test.json")
}

func TestWycheproofChaCha20Poly1305(t *testing.T) {
	wycheproofAEAD(t, SuiteChaCha20Poly1305, "chacha20_poly1305_test.json")
}

// TestWycheproofX25519 also runs the Diffie-Hellman that the handshake uses. A shared secret of zero
// must be refused although the vectors call it acceptable.
func TestWycheproofX25519(t *testing.T) {
	w := load(t, "x25519_test.json")
	ran, refused := 0, 0
	for _, g := range w.TestGroups {
		for _, test := range g.Tests {
			if len(test.Private) != 32 || len(test.Public) != 32 {
				t.Errorf("%d: key length", test.ID)
				continue
			}
			ran++
			key := NewStaticKey([32]byte(test.Private))
			got, err := key.shared(tables.LinkKey(test.Public))
			inNoise, errNoise := curve{}.DH(test.Private, test.Public)
			if (err == nil) != (errNoise == nil) || !bytes.Equal(got, inNoise) {
				t.Errorf("%d: the handshake has another result", test.ID)
			}
			if zero := bytes.Equal(test.Shared, make([]byte, 32)); zero || test.Result == "invalid" {
				refused++
				if err == nil {
					t.Errorf("%d (%s): not refused", test.ID, test.Comment)
				}
				continue
			}
			if err != nil || !bytes.Equal(got, test.Shared) {
				t.Errorf("%d (%s): %v", test.ID, test.Comment, err)
			}
		}
	}
	t.Logf("%d vectors, %d refused", ran, refused)
	if ran != w.NumberOfTests || refused == 0 {
		t.Errorf("%d of %d vectors ran", ran, w.NumberOfTests)
	}
}

// TestWycheproofHKDF: the derivation gives what it must, and panics where it cannot give enough.
func TestWycheproofHKDF(t *testing.T) {
	w := load(t, "hkdf_sha256_test.json")
	ran := 0
	for _, g := range w.TestGroups {
		for _, test := range g.Tests {
			ran++
			var got []byte
			panics := func() (p bool) {
				defer func() { p = recover() != nil }()
				got = derive(test.IKM, test.Salt, string(test.Info), test.Size)
				return false
			}()
			if invalid := test.Result == "invalid"; panics != invalid || !invalid && !bytes.Equal(got, test.OKM) {
				t.Errorf("%d (%s): panics %v", test.ID, test.Comment, panics)
			}
		}
	}
	if ran != w.NumberOfTests {
		t.Errorf("%d of %d vectors ran", ran, w.NumberOfTests)
	}
}
