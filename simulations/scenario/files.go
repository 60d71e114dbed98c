package scenario

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// regionsMax bounds a latency matrix.
const regionsMax = 500

// matrix reads latencies between regions: a first line of names, then a line for each with its milliseconds to all of them. Text after a # is a
// comment.
func (c *checker) matrix(key, path string) (regions []string, rows [][]time.Duration) {
	for n, line := range c.read(key, path) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case regions == nil:
			regions = words
			if len(words) > regionsMax {
				c.bad(key, "%s line %d: more than %d regions", path, n+1, regionsMax)
				return nil, nil
			}
		case len(rows) == len(regions):
			c.bad(key, "%s line %d: more lines than regions", path, n+1)
			return nil, nil
		case words[0] != regions[len(rows)] || len(words) != len(regions)+1:
			c.bad(key, "%s line %d: want %s and its %d latencies", path, n+1, regions[len(rows)], len(regions))
			return nil, nil
		default:
			row := make([]time.Duration, len(regions))
			for i, w := range words[1:] {
				ms, err := strconv.ParseFloat(w, 64)
				if err != nil || !(ms >= 0 && ms <= 10_000) {
					c.bad(key, "%s line %d: %q is not milliseconds from 0 to 10000", path, n+1, w)
					return nil, nil
				}
				row[i] = time.Duration(ms * 1e6)
			}
			rows = append(rows, row)
		}
	}
	if len(rows) != len(regions) {
		c.bad(key, "%s: %d regions and %d lines of latencies", path, len(regions), len(rows))
		return nil, nil
	}
	return regions, rows
}

// changesMax bounds a trace.
const changesMax = 2_000_000

// trace reads when VRs of a group come and go: SECONDS VR up|down|leave, in the order of time. All are up at the start unless their first
// change is up.
func (c *checker) trace(key, path string, g *Group) (list []Change) {
	last := time.Duration(0)
	up := map[string]bool{}
	for n, line := range c.read(key, path) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		fail := func(why string) []Change {
			c.bad(key, "%s line %d: %s", path, n+1, why)
			return nil
		}
		if len(words) != 3 || !slices.Contains([]string{"up", "down", "leave"}, words[2]) {
			return fail("want SECONDS VR up|down|leave")
		}
		seconds, err := strconv.ParseFloat(words[0], 64)
		if err != nil || !(seconds >= 0 && seconds <= timeMax.Seconds()) {
			return fail(strconv.Quote(words[0]) + " is not a time in seconds")
		}
		at := time.Duration(seconds*1e6) * time.Microsecond
		if at < last {
			return fail("it is before the line above")
		}
		last = at
		if number, ok := strings.CutPrefix(words[1], g.Name+"-"); !ok {
			return fail(strconv.Quote(words[1]) + " is not a VR of group " + g.Name)
		} else if i, err := strconv.Atoi(number); err != nil || i < 1 || i > g.Count || strconv.Itoa(i) != number {
			return fail(strconv.Quote(words[1]) + " is not a VR of group " + g.Name)
		}
		rises := words[2] == "up"
		if was, known := up[words[1]]; known && was == rises {
			return fail(words[1] + " is so already")
		}
		up[words[1]] = rises
		if len(list) == changesMax {
			return fail("more than 2,000,000 changes")
		}
		list = append(list, Change{At: at, VR: words[1], What: words[2]})
	}
	return list
}
