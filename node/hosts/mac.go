package hosts

import (
	"fmt"
	"strings"
)

// A MAC is the hardware address of a machine's network interface as six pairs of lower-case hexadecimal
// digits with colons between them; empty: not known.
type MAC string

// ParseMAC reads six bytes with colons, hyphens or nothing between them. It refuses what no interface has: a
// group address, and all zeros.
func ParseMAC(text string) (MAC, error) {
	bad := func() (MAC, error) {
		return "", fmt.Errorf("%.32q is not a MAC address such as 02:00:5e:10:00:01", text)
	}
	digits := strings.ToLower(text)
	switch len(text) {
	case 12:
	case 17:
		separator := text[2]
		if separator != ':' && separator != '-' {
			return bad()
		}
		var b strings.Builder
		for i := range len(digits) {
			if i%3 != 2 {
				b.WriteByte(digits[i])
			} else if digits[i] != separator {
				return bad()
			}
		}
		digits = b.String()
	default:
		return bad()
	}
	var pairs []string
	for i := range 12 {
		if !strings.ContainsRune("0123456789abcdef", rune(digits[i])) {
			return bad()
		}
		if i%2 == 1 {
			pairs = append(pairs, digits[i-1:i+1])
		}
	}
	if digits == "000000000000" || strings.ContainsRune("13579bdf", rune(digits[1])) {
		return "", fmt.Errorf("%.32q is not the MAC address of one machine", text)
	}
	return MAC(strings.Join(pairs, ":")), nil
}

// name makes a host name of a MAC, for machines that say none.
func (m MAC) name() string { return "host-" + strings.ReplaceAll(string(m), ":", "") }
