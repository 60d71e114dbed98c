package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// bitsText makes a cell of bits per second with three digits; "" for none.
func bitsText(bits int64) string {
	if bits <= 0 {
		return ""
	}
	v, unit := float64(bits), "b/s"
	for _, next := range []string{"kb/s", "Mb/s", "Gb/s", "Tb/s"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, next
	}
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + " " + unit
}

// rateText makes a cell of a measured bandwidth: how much, whether it is an estimate or only a lower bound, measured by
// what, and how long ago.
func rateText(bits int64, kind, by string, age float64) string {
	if bits <= 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s, %s, %s)", bitsText(bits), kind, by, ageText(age))
}

// ageText makes a cell of a span in seconds that may be nothing.
func ageText(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 0:
		return "never"
	case d < 99500*time.Millisecond:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 100*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", d.Hours()/24)
}

// sinceText makes a cell of how long ago something began.
func sinceText(now, since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return ageText(max(0, now.Sub(since).Seconds()))
}

// bytesText makes a cell of a number of bytes.
func bytesText(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " B"
	}
	return strings.Replace(bitsText(int64(min(n, 1<<62))), "b/s", "B", 1)
}

// lossText makes a cell of a share of lost packets.
func lossText(share float64) string {
	switch {
	case share <= 0:
		return "0 %"
	case share < 0.001:
		return "<0.1 %"
	}
	return strconv.FormatFloat(share*100, 'f', 1, 64) + " %"
}

// millisText makes a cell of milliseconds, 0 meaning unknown.
func millisText(ms float64) string { return seconds(ms / 1000) }
