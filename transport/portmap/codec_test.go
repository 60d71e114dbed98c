package portmap

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

// unhex reads bytes written with blanks, lines and comments.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "//")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	us      = netip.MustParseAddr("192.168.7.2")
	gateway = netip.MustParseAddr("192.168.7.1")
	wan     = netip.MustParseAddr("5.5.5.1")
	secret  = nonce{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
)

// rfcPCPRequest is a MAP request for UDP port 4789 (RFC 6887 figures 2 and 9).
const rfcPCPRequest = `
	02             // Version = 2
	01             // R = 0, Opcode = 1, MAP
	0000           // Reserved
	00001c20       // Requested Lifetime, 7200 s
	00000000 00000000 0000ffff c0a80702 // PCP Client's IP Address, ::ffff:192.168.7.2
	01020304 05060708 090a0b0c          // Mapping Nonce
	11             // Protocol, 17
	000000         // Reserved
	12b5           // Internal Port
	12b5           // Suggested External Port
	00000000 00000000 0000ffff 00000000 // Suggested External IP Address, ::ffff:0.0.0.0`

// rfcPCPAnswer answers it (figures 3 and 10).
const rfcPCPAnswer = `
	02             // Version = 2
	81             // R = 1, Opcode = 1
	00             // Reserved
	00             // Result Code
	00000e10       // Lifetime, 3600 s
	00000064       // Epoch Time, 100 s
	00000000 00000000 00000000          // Reserved
	01020304 05060708 090a0b0c          // Mapping Nonce
	11             // Protocol
	000000         // Reserved
	12b5           // Internal Port
	1f90           // Assigned External Port, 8080
	00000000 00000000 0000ffff 05050501 // Assigned External IP Address`

// rfcNATPMP are the messages of RFC 6886 sections 3.2 and 3.3.
const (
	rfcNATPMPAddress       = `00 00`
	rfcNATPMPAddressAnswer = `
	00             // Vers = 0
	80             // OP = 128 + 0
	0000           // Result Code
	00000064       // Seconds Since Start of Epoch
	05050501       // External IPv4 Address`
	rfcNATPMPRequest = `
	00             // Vers = 0
	01             // OP = 1, UDP
	0000           // Reserved
	12b5           // Internal Port
	12b5           // Suggested External Port
	00001c20       // Requested Port Mapping Lifetime in Seconds`
	rfcNATPMPAnswer = `
	00             // Vers = 0
	81             // OP = 128 + 1
	0000           // Result Code
	00000064       // Seconds Since Start of Epoch
	12b5           // Internal Port
	1f90           // Mapped External Port
	00000e10       // Port Mapping Lifetime in Seconds`
	rfcNATPMPVersion = `00 81 0001 00000064` // unsupported version: an error may end here
)

func TestPCPBytes(t *testing.T) {
	want := pcpMapping{secret, Port{UDP, 4789}, netip.AddrPortFrom(netip.IPv4Unspecified(), 4789)}
	if got := appendPCPMap(nil, 7200, us, want); !bytes.Equal(got, unhex(t, rfcPCPRequest)) {
		t.Errorf("request:\n%x", got)
	}
	a, err := parsePCPAnswer(unhex(t, rfcPCPAnswer))
	if err != nil {
		t.Fatal(err)
	}
	if a.op != pcpMap || a.result != 0 || a.lifetime != 3600 || a.epoch != 100 || len(a.options) != 0 ||
		a.mapping != (pcpMapping{secret, Port{UDP, 4789}, netip.AddrPortFrom(wan, 8080)}) {
		t.Errorf("answer: %+v", a)
	}
	// ANNOUNCE has no body (section 14.1).
	announce := append([]byte{2, 0, 0, 0, 0, 0, 0, 0}, unhex(t, "00000000 00000000 0000ffff c0a80702")...)
	if got := appendPCPHeader(nil, pcpAnnounce, 0, us); !bytes.Equal(got, announce) {
		t.Errorf("announce: %x", got)
	}
}

func TestNATPMPBytes(t *testing.T) {
	if got := appendNATPMPAddress(nil); !bytes.Equal(got, unhex(t, rfcNATPMPAddress)) {
		t.Errorf("address: %x", got)
	}
	if got := appendNATPMPMap(nil, Port{UDP, 4789}, 4789, 7200); !bytes.Equal(got, unhex(t, rfcNATPMPRequest)) {
		t.Errorf("map: %x", got)
	}
	if a, err := parseNATPMPAnswer(unhex(t, rfcNATPMPAddressAnswer)); err != nil || a != (natpmpAnswer{epoch: 100, address: wan}) {
		t.Errorf("address: %+v, %v", a, err)
	}
	want := natpmpAnswer{op: 1, epoch: 100, port: Port{UDP, 4789}, external: 8080, lifetime: 3600}
	if a, err := parseNATPMPAnswer(unhex(t, rfcNATPMPAnswer)); err != nil || a != want {
		t.Errorf("map: %+v, %v", a, err)
	}
	if a, err := parseNATPMPAnswer(unhex(t, rfcNATPMPVersion)); err != nil || !a.short || a.result != 1 {
		t.Errorf("error: %+v, %v", a, err)
	}
}

// TestTruncated cuts every answer short: none parses.
func TestTruncated(t *testing.T) {
	for _, text := range []string{rfcPCPAnswer, rfcNATPMPAddressAnswer, rfcNATPMPAnswer, rfcNATPMPVersion} {
		b := unhex(t, text)
		for n := range b {
			_, errPCP := parsePCPAnswer(b[:n])
			_, errNATPMP := parseNATPMPAnswer(b[:n])
			if errPCP == nil || errNATPMP == nil {
				t.Errorf("%x parses", b[:n])
			}
		}
	}
	// A request is no answer.
	if _, err := parsePCPAnswer(unhex(t, rfcPCPRequest)); !errors.Is(err, errNoAnswer) {
		t.Errorf("a PCP request: %v", err)
	}
	if _, err := parseNATPMPAnswer(unhex(t, rfcNATPMPRequest)); !errors.Is(err, errNoAnswer) {
		t.Errorf("a NAT-PMP request: %v", err)
	}
	if _, err := parsePCPAnswer(unhex(t, rfcNATPMPVersion)); !errors.Is(err, errVersion{0}) {
		t.Errorf("the answer of a NAT-PMP server: %v", err)
	}
}

// append encodes an answer, as a server does.
func (a pcpAnswer) append(b []byte) []byte {
	b = append(b, pcpVersion, a.op|pcpAnswered, 0, a.result)
	b = binary.BigEndian.AppendUint32(b, a.lifetime)
	b = binary.BigEndian.AppendUint32(b, a.epoch)
	b = append(b, make([]byte, 12)...)
	if a.op == pcpMap {
		b = a.mapping.append(b)
	}
	return append(b, a.options...)
}

// append encodes an answer, as a server does.
func (a natpmpAnswer) append(b []byte) []byte {
	b = append(b, natpmpVersion, a.op+natpmpAnswered)
	b = binary.BigEndian.AppendUint16(b, a.result)
	b = binary.BigEndian.AppendUint32(b, a.epoch)
	switch {
	case a.short:
		return b
	case a.op == natpmpAddress:
		v := a.address.As4()
		return append(b, v[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, a.port.Port)
	b = binary.BigEndian.AppendUint16(b, a.external)
	return binary.BigEndian.AppendUint32(b, a.lifetime)
}

// FuzzPCP checks that an answer that parses is encoded to the same bytes, those aside that nobody looks at.
func FuzzPCP(f *testing.F) {
	f.Add(unhex(f, rfcPCPAnswer))
	f.Add(append(unhex(f, rfcPCPAnswer), 1, 2, 0, 0))
	f.Add(pcpAnswer{op: pcpAnnounce, epoch: 5}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parsePCPAnswer(b)
		if err != nil {
			return
		}
		b = bytes.Clone(b)
		b[2] = 0
		clear(b[12:24])
		if a.op == pcpMap {
			clear(b[37:40])
		}
		if got := a.append(nil); !bytes.Equal(got, b) {
			t.Errorf("\n got %x\nwant %x", got, b)
		}
	})
}

// FuzzNATPMP checks that an answer that parses is encoded to the same bytes.
func FuzzNATPMP(f *testing.F) {
	for _, text := range []string{rfcNATPMPAddressAnswer, rfcNATPMPAnswer, rfcNATPMPVersion} {
		f.Add(unhex(f, text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseNATPMPAnswer(b)
		if err != nil {
			return
		}
		if got := a.append(nil); !bytes.Equal(got, b) {
			t.Errorf("\n got %x\nwant %x", got, b)
		}
	})
}

// FuzzIGD checks that no answer to a search and no description leads us away from the gateway.
func FuzzIGD(f *testing.F) {
	f.Add([]byte(ssdpAnswer("http://192.168.7.1:80/d.xml")), []byte(description("", "/ctl")))
	f.Add([]byte(ssdpAnswer("http://192.168.7.1@5.5.5.2/d.xml")), []byte(description("http://5.5.5.2/", "ctl")))
	f.Fuzz(func(t *testing.T, answer, xml []byte) {
		if location, err := parseSSDP(answer); err == nil && len(location) > locationBytesMax {
			t.Errorf("location of %d bytes", len(location))
		}
		root, err := parseDescription(xml)
		if err != nil {
			return
		}
		list, _ := services(root, mustURL("http://192.168.7.1/d.xml"), func(u *url.URL) error { return onGateway(u, gateway) })
		if len(list) > servicesMax {
			t.Errorf("%d services", len(list))
		}
		for _, s := range list {
			if a, err := netip.ParseAddr(s.control.Hostname()); err != nil || a.Unmap() != gateway || s.control.Scheme != "http" {
				t.Errorf("control URL %v", &s.control)
			}
		}
	})
}

func TestEpoch(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		before uint32
		after  time.Duration
		server uint32
		want   bool
	}{
		{"same pace", 1000, time.Minute, 1060, false},
		{"a second back is reordering", 1000, 0, 999, false},
		{"back", 1000, time.Minute, 998, true},
		{"restarted", 1000, time.Minute, 30, true},
		{"restarted and older than before", 10, time.Hour, 600, true},
		{"6 % slow", 1000, 1000 * time.Second, 1940, false},
		{"10 % slow", 1000, 1000 * time.Second, 1900, true},
		{"10 % fast", 1000, 1000 * time.Second, 2100, true},
		{"two seconds of rounding", 1000, 10 * time.Second, 1008, false},
		{"clock at its end", 1<<32 - 10, time.Minute, 50, true},
	} {
		var e epoch
		if e.observe(at, c.before) {
			t.Errorf("%s: the first answer tells of a restart", c.name)
		}
		if got := e.observe(at.Add(c.after), c.server); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"5.5.5.1": true, "203.0.113.1": true, "::ffff:5.5.5.1": true, "2600::1": true,
		"10.0.0.1": false, "192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false, "100.127.255.255": false,
		"0.0.0.0": false, "::": false, "127.0.0.1": false, "169.254.1.1": false, "224.0.0.1": false, "255.255.255.255": false,
		"0.1.2.3": false, "198.18.0.1": false, "240.0.0.1": false, "fd00::1": false, "fe80::1": false, "::ffff:10.0.0.1": false,
		"100.63.255.255": true, "100.128.0.0": true,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public %v", text, got)
		}
	}
	if public(netip.Addr{}) {
		t.Error("no address is public")
	}
}
