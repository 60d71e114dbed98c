package forward

import (
	"bytes"
	"strings"
	"testing"
)

// TestECN holds Decapsulate against the table of RFC 6040, Section 4.2, read from its text.
func TestECN(t *testing.T) {
	codes := map[string]uint8{"Not-ECT": 0, "ECT(1)": 1, "ECT(0)": 2, "CE": 3}
	table := `
Not-ECT | Not-ECT | Not-ECT | Not-ECT | drop
ECT(0)  | ECT(0)  | ECT(0)  | ECT(1)  | CE
ECT(1)  | ECT(1)  | ECT(1)  | ECT(1)  | CE
CE      | CE      | CE      | CE      | CE`
	outers := []string{"Not-ECT", "ECT(0)", "ECT(1)", "CE"}
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		cells := strings.Split(line, "|")
		inner := codes[strings.TrimSpace(cells[0])]
		for i, outer := range outers {
			want := strings.TrimSpace(cells[i+1])
			for _, b := range [][]byte{udp("172.16.0.10", "172.16.10.11", 100), udp("fd00::1", "fd00::2", 100)} {
				v6 := b[0]>>4 == 6
				for dscp := range uint8(4) {
					set := func(ecn uint8) []byte {
						p := bytes.Clone(b)
						if v6 {
							p[0], p[1] = 0x60|dscp, ecn<<4|0x0f
						} else {
							p[1] = dscp<<2 | ecn
							sum(p)
						}
						return p
					}
					p := set(inner)
					if ECN(p) != inner {
						t.Fatalf("%x has codepoint %d, want %d", p[:2], ECN(p), inner)
					}
					ok := Decapsulate(p, codes[outer])
					if ok != (want != "drop") {
						t.Errorf("inner %d, outer %s: %v, want %s", inner, outer, ok, want)
					}
					if ok && !bytes.Equal(p, set(codes[want])) {
						t.Errorf("inner %d, outer %s: %x, want %x", inner, outer, p[:20], set(codes[want])[:20])
					}
				}
			}
		}
	}
	for i, want := range [][]uint8{{0, 1, 2, 3}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}} {
		for k, w := range want {
			if got := WorseECN(uint8(i), uint8(k)); got != w {
				t.Errorf("%d and %d make %d, want %d", i, k, got, w)
			}
		}
	}
}

// sum makes the checksum of an IPv4 header right.
func sum(b []byte) {
	b[10], b[11] = 0, 0
	s := uint32(0)
	for i := 0; i < 20; i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	b[10], b[11] = byte(^s>>8), byte(^s)
}
