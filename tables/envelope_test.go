package tables_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/tables"
	"github.com/vine-mesh/vine/tables/tablestest"
)

// samples returns one document of every kind that is kept, and an invite.
func samples() []*tables.Document {
	f := tablestest.New(7, 3)
	user := f.AddUser("ann", tables.RoleADM, "federation")
	f.SetVN("red", f.Hosts(1, 2)...)
	f.Put(tables.Site{Version: 1, Name: "s1", Contact: "Ann <ann@example.org>", Location: "Gainesville",
		Subnets: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Consent: "ask"}, f.Authority)
	f.Revoke(f.Router(3))
	now := f.Now.Unix()
	request := f.Put(tables.Request{User: tables.PublicOf(user), Op: "vn.create", Args: []byte{0xa0}, Issued: now, NotAfter: now + 60}, user)
	f.Put(tables.Receipt{Version: 1, Request: request.Hash(), State: tables.StateDone, Result: "vn2", Issued: now}, f.Authority)
	f.SignLink(f.Router(1), func(r *tables.LinkRecord) {
		r.Queues = []tables.RouterID{2}
		r.Endpoints = append(r.Endpoints, netip.MustParseAddrPort("[2001:db8::1]:8463"))
	})
	token, err := tables.NewToken(f.Random, tables.Invite{Authority: tables.PublicOf(f.Authority), Site: "s4", NotAfter: now + 60}, user)
	if err != nil {
		panic(err)
	}
	f.Put(tables.Entry{
		VN: 1, Number: 1, Version: 1, Op: "vn.create", User: tables.PublicOf(user), Request: request.Hash(), Issued: now,
		State: tables.VNActive, Seal: tables.SealEncrypt, Joined: []netip.Addr{f.Router(1).Host(1)},
		Gained: []tables.DeliverySet{{Routers: []tables.RouterID{1}, Prefixes: []netip.Prefix{f.Router(1).Block4}}}, With: 2,
	}, f.Authority)
	blue := f.SetVN("blue", f.Hosts(1)...)
	blue.Version, blue.State, blue.Into, blue.With = 2, tables.VNShutdown, 1, []tables.VNVersion{{VN: 1, Version: 2}}
	f.Put(blue, f.Authority)
	adoptions, _, err := tables.Adoptions([]tables.Digest{blueDigest(f)})
	if err != nil {
		panic(err)
	}
	return append(f.Documents(), token.Document(), tablestest.Sign(adoptions[0], f.RootKeys...))
}

func blueDigest(f *tablestest.Federation) tables.Digest {
	return f.View().Get(tables.VNKey(2)).Digest()
}

// Every kind comes back as it went, and every truncation fails.
func TestEnvelopeRoundTrip(t *testing.T) {
	seen := map[tables.Kind]bool{}
	for _, d := range samples() {
		got, err := tables.ParseDocument(d.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", d.Key(), err)
		}
		if got.Key() != d.Key() || got.Hash() != d.Hash() || got.Version() != d.Version() || !bytes.Equal(got.Bytes(), d.Bytes()) {
			t.Errorf("%s: parsed as %s", d.Key(), got.Key())
		}
		if !seen[d.Kind()] {
			for n := range d.Bytes() {
				if _, _, err := tables.ParseEnvelope(d.Bytes()[:n]); !errors.Is(err, tables.ErrFormat) {
					t.Fatalf("%s cut to %d bytes: %v", d.Key(), n, err)
				}
			}
		}
		seen[d.Kind()] = true
		if _, err := tables.ParseDocument(append(bytes.Clone(d.Bytes()), 0)); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("%s with a byte after it: %v", d.Key(), err)
		}
	}
	for k := tables.KindRoot; k.Valid(); k++ {
		if !seen[k] {
			t.Errorf("no sample of %s", k)
		}
	}
}

// Every bit of a document is covered by its form or its signature.
func TestEnvelopeTamper(t *testing.T) {
	for _, d := range samples()[:4] {
		b := bytes.Clone(d.Bytes())
		for i := range b {
			b[i] ^= 1 << (i % 8)
			if _, err := tables.ParseDocument(b); err == nil {
				t.Fatalf("%s: byte %d changed and not noticed", d.Key(), i)
			}
			b[i] ^= 1 << (i % 8)
		}
	}
}

// Several envelopes one after the other are read one by one.
func TestEnvelopeSequence(t *testing.T) {
	var all []byte
	docs := samples()
	for _, d := range docs {
		all = append(all, d.Bytes()...)
	}
	for _, d := range docs {
		e, rest, err := tables.ParseEnvelope(all)
		if err != nil || !bytes.Equal(tables.AppendEnvelope(nil, e), d.Bytes()) {
			t.Fatalf("%s: %v", d.Key(), err)
		}
		all = rest
	}
	if len(all) != 0 {
		t.Errorf("%d bytes left", len(all))
	}
}

// Forms that say the same otherwise are refused: there is one encoding.
func TestEnvelopeOneEncoding(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	sign := func(kind tables.Kind, body string) tables.Envelope {
		raw, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		e := tables.Envelope{Kind: kind, Body: raw, Signatures: []tables.Signature{{Key: tables.PublicOf(key)}}}
		copy(e.Signatures[0].Signature[:], ed25519.Sign(key, tables.AppendPreAuth(nil, kind, raw)))
		return e
	}
	const good = "a4 01 01 02 07 03 80 04 80" // manifest 1 of vn7
	if _, err := sign(tables.KindManifest, good).Document(); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"long integer":         "a4 01 1801 02 07 03 80 04 80",
		"key twice":            "a5 01 01 01 01 02 07 03 80 04 80",
		"keys out of order":    "a4 02 07 01 01 03 80 04 80",
		"unknown field":        "a5 01 01 02 07 03 80 04 80 05 00",
		"missing field":        "a3 01 01 02 07 03 80",
		"null for empty":       "a4 01 01 02 07 03 f6 04 80",
		"indefinite list":      "a4 01 01 02 07 03 9fff 04 80",
		"indefinite map":       "bf 01 01 02 07 03 80 04 80 ff",
		"tag":                  "c1 a4 01 01 02 07 03 80 04 80",
		"tagged field":         "a4 01 c1 01 02 07 03 80 04 80",
		"float":                "a4 01 f93c00 02 07 03 80 04 80",
		"negative":             "a4 01 20 02 07 03 80 04 80",
		"VN ID of 33 bits":     "a4 01 01 02 1b0000000100000007 03 80 04 80",
		"nested too deep":      "a4 01 01 02 07 03 81818181818181 80 04 80",
		"text for list":        "a4 01 01 02 07 03 60 04 80",
		"bytes after the body": good + "00",
		"empty":                "",
		"a list":               "84 01 07 80 80",
	} {
		if _, err := sign(tables.KindManifest, body).Document(); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, host := range map[string]string{
		"4 in 6":        "50 00000000000000000000ffff0ac00101",
		"zone":          "52 fe800000000000000000000000000001 6574",
		"no address":    "40",
		"3 bytes":       "43 0ac001",
		"unspecified":   "44 00000000",
		"multicast":     "44 e0000001",
		"text":          "69 31302e3139322e302e31",
		"array":         "84 0a 18c0 01 01",
		"with a prefix": "45 0ac0010118",
	} {
		if _, err := sign(tables.KindRoster, "a4 01 01 02 07 03 6161 04 81"+host).Document(); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("host: %s: %v", name, err)
		}
	}
	for name, prefix := range map[string]string{
		"host bits":  "45 0ac0010118",
		"too long":   "45 0ac0010121",
		"no length":  "44 0ac00101",
		"4 in 6":     "51 00000000000000000000ffff0ac0010078",
		"multicast":  "45 e000000018",
		"wrong size": "46 0ac001001818",
	} {
		if _, err := sign(tables.KindFragment, "a4 01 01 02 07 03 8101 04 81"+prefix).Document(); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("prefix: %s: %v", name, err)
		}
	}
}

func TestEnvelopeSignatures(t *testing.T) {
	f := tablestest.Found(1, 3)
	e, err := tables.SealBody(f.RootBody(), f.RootKeys...)
	if err != nil {
		t.Fatal(err)
	}
	a, b := e.Signatures[0], e.Signatures[1]
	for name, sigs := range map[string][]tables.Signature{
		"none":         nil,
		"same twice":   {a, a},
		"out of order": {b, a},
		"wrong key":    {{Key: a.Key, Signature: b.Signature}},
		"zero":         {{Key: a.Key}},
		"17 of them":   make([]tables.Signature, 17),
	} {
		e.Signatures = sigs
		if d, err := tables.ParseDocument(tables.AppendEnvelope(nil, e)); err == nil {
			t.Errorf("%s: accepted with signers %v", name, d.Signers())
		}
	}
}

func TestSizeLimits(t *testing.T) {
	f := tablestest.New(1, 1)
	now := f.Now.Unix()
	request := tables.Request{User: f.Router(1).Key(), Op: "join", Args: make([]byte, 9<<10), Issued: now, NotAfter: now + 60}
	if _, err := tables.Sign(request, f.Router(1).Identity); !errors.Is(err, tables.ErrTooBig) {
		t.Errorf("request of 9 KiB: %v", err)
	}
	roster := tables.Roster{Version: 1, VN: 1, Site: "s1"}
	a := netip.MustParseAddr("10.192.0.1")
	for range 40_000 {
		roster.Hosts = append(roster.Hosts, a)
		a = a.Next()
	}
	if _, err := tables.Sign(roster, f.Authority); err != nil {
		t.Errorf("roster of 40,000 hosts: %v", err)
	}
	for range 20_000 {
		roster.Hosts = append(roster.Hosts, a)
		a = a.Next()
	}
	if _, err := tables.Sign(roster, f.Authority); !errors.Is(err, tables.ErrTooBig) {
		t.Errorf("roster of 60,000 hosts: %v", err)
	}
}

// The pre-authentication encoding of the DSSE specification, on a body of two bytes.
func TestPreAuth(t *testing.T) {
	got := string(tables.AppendPreAuth(nil, tables.KindVN, []byte("hi")))
	if want := "DSSEv1 31 application/vnd.vine.vn.v1+cbor 2 hi"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Wycheproof: signatures that must verify do, and wrong or malleable ones do not.
func TestVerifyWycheproof(t *testing.T) {
	const file = "../../shared/corpora/wycheproof/ed25519_test.json"
	b, err := os.ReadFile(file)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("vectors are absent in CI: %v", err)
		}
		t.Logf("NOT RUN: no vectors at %s", file)
		t.Skip("vectors are absent")
	}
	var vectors struct {
		TestGroups []struct {
			PublicKey struct{ PK string }
			Tests     []struct {
				TcID             int
				Comment          string
				Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range vectors.TestGroups {
		key := unhex(t, g.PublicKey.PK)
		for _, tc := range g.Tests {
			n++
			got := len(key) == 32 && tables.Verify(tables.PublicKey(key), unhex(t, tc.Msg), unhex(t, tc.Sig))
			if got != (tc.Result == "valid") {
				t.Errorf("test %d (%s): %v, want %s", tc.TcID, tc.Comment, got, tc.Result)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d vectors", n)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A key of small order verifies one signature for every message: such keys are refused.
func TestVerifySmallOrder(t *testing.T) {
	for _, y := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		key := tables.PublicKey(unhex(t, y))
		sig := make([]byte, 64)
		sig[0] = 1 // R the neutral element, S zero
		for m := range byte(20) {
			if tables.Verify(key, []byte{m}, sig) {
				t.Fatalf("key %s verifies", y)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{"a", "0", "-", "uf-acis", strings.Repeat("a", 63)} {
		if !tables.ValidName(s) {
			t.Errorf("%q refused", s)
		}
	}
	for _, s := range []string{
		"", strings.Repeat("a", 64), "A", "a.b", "a_b", "a b", "a/b", "..", "../../etc/passwd", "a\x00", "a\n", "\x1b[31m",
		"ä", "а" /* Cyrillic */, "a\u200b", "a\u202eb", "ａ", "%2e", "$(id)", "a;b", "'", "\"", "`", "a\\b", "C:", "*", "~",
		"a\xff", "\xed\xa0\x80", "true ", "a=b", "{a}", "a,b", "<a>", "a|b", "a&b", "a?b", "a#b", "a@b", "a:b", "1.2.3.4", "::1",
	} {
		if tables.ValidName(s) {
			t.Errorf("%q accepted", s)
		}
		f := tablestest.Found(1, 1)
		vn := tables.VN{Version: 1, ID: 1, Name: s, State: tables.VNActive, Home: tables.PublicOf(f.Authority), Seal: tables.SealAuth}
		if _, err := tables.Sign(vn, f.Authority); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("VN called %q is signed: %v", s, err)
		}
		if s != "" && tables.ValidScope("site/"+s) {
			t.Errorf("scope of site %q accepted", s)
		}
	}
}

// Text for people must not be able to drive a terminal or read otherwise than it is.
func TestTextFields(t *testing.T) {
	f := tablestest.Found(1, 1)
	for _, s := range []string{"\x1b[2J", "a\nb", "\u202egpj.exe", "\xff", "a\u009bb", strings.Repeat("x", 257)} {
		if _, err := tables.Sign(tables.Site{Version: 1, Name: "a", Contact: s, Consent: "ask"}, f.Authority); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("contact %q: %v", s, err)
		}
	}
}

func TestSetID(t *testing.T) {
	if got := tables.SetID([]tables.RouterID{4, 10, 3}); got != "3+4+10" {
		t.Error(got)
	}
	f := tablestest.Found(1, 1)
	for _, set := range []string{"", "0", "+", "3+", "+3", "4+3", "3+3", "03", "4294967296", "3 4", "3+4294967295x", "-1"} {
		m := tables.Manifest{Version: 1, VN: 1, Fragments: []tables.FragmentLeaf{{Set: set, Version: 1}}}
		if _, err := tables.Sign(m, f.Authority); !errors.Is(err, tables.ErrFormat) {
			t.Errorf("set %q: %v", set, err)
		}
	}
}
