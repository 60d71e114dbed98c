package tomlfile

import "strings"

// nearest returns the known key closest to name, or "" when none is close. A key in the wrong
// table counts as close: people forget the table more often than they mistype.
func nearest(name string, known []string) string {
	last := name[strings.LastIndex(name, ".")+1:]
	best, bestDistance := "", len(name)/3+2
	for _, key := range known {
		d := distance(name, key)
		if key[strings.LastIndex(key, ".")+1:] == last {
			d = 1
		}
		if d < bestDistance {
			best, bestDistance = key, d
		}
	}
	return best
}

// distance returns the Levenshtein distance between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
