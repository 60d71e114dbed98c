//go:build linux

package netns_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// results is what TestTable38 publishes.
type results struct {
	cases  [6][3]figure // by case and pair; 0 is not ours
	alone  [3]figure    // PU limited, the choice alone
	slow   figure       // PU and a fourth limited, bound to UF
	fast   figure       // the same, bound to NWU
	chosen figure       // the same, free to choose

	changed                   figure // the same, after NWU's line was shaped
	chosenAfter, changedAfter time.Duration
}

func init() {
	// Other tests of the package may write documents too.
	if flag.Lookup("update") == nil {
		flag.Bool("update", false, "write the documents that tests make, such as docs/table-3-8.md")
	}
}

// updating reports whether documents are to be written.
func updating() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

const tableHead = `# Table 3-8

The dissertation's measurements with real sites (University of Florida, Northwestern, Purdue), and ours over lines of the same rates and
round trips: made in network namespaces by the impairment shim of package impair, which serialises packet by packet. Written by
` + "`go test -run TestTable38 ./tests/netns -update`" + `; ` + "`TestTable38Case0`" + ` shows first that the lines are right.

Round trip of a ping in ms and throughput of one TCP flow in Mb/s, both between hosts behind the VRs. In case 0 there are no VRs.

| case | limited | queue-VR | | UF - PU | | UF - NWU | | NWU - PU | |
|---|---|---|---|--:|--:|--:|--:|--:|--:|
| | | | | ms | Mb/s | ms | Mb/s | ms | Mb/s |
`

const tableNotes = `
Two things differ by design. A limited VR of the dissertation sends straight to a regular one and gets what comes back through its queue-VR,
so a round trip in case 2 takes one way of each. Here the site's firewall lets it open nothing but the way to the queue-VR named, both
directions go through it, and a round trip takes the sum of the two lines. And the dissertation's VRs, not the wire, limited NWU - PU.

## The choice alone

`

// write writes docs/table-3-8.md.
func (r *results) write(t *testing.T) {
	t.Helper()
	var b strings.Builder
	b.WriteString(tableHead)
	for number, theirs := range table38 {
		limited, queue := "none", ""
		if number > 0 && len(byHand[number]) > 0 {
			var names []string
			for i := len(siteNames) - 1; i >= 0; i-- {
				if q, is := byHand[number][i]; is {
					names = append(names, strings.ToUpper(siteNames[i]))
					queue = strings.ToUpper(siteNames[q])
				}
			}
			limited = strings.Join(names, ", ")
		}
		fmt.Fprintf(&b, "| %d | %s | %s | dissertation |%s\n", number, limited, queue, row(theirs))
		if number > 0 {
			fmt.Fprintf(&b, "| | | | ViNe here |%s\n", row(r.cases[number]))
		}
	}
	b.WriteString(tableNotes)
	best := r.cases[3]
	fmt.Fprintf(&b, "| PU limited, nothing named | UF - PU | | UF - NWU | | NWU - PU | |\n|---|--:|--:|--:|--:|--:|--:|\n")
	fmt.Fprintf(&b, "| | ms | Mb/s | ms | Mb/s | ms | Mb/s |\n| case 3 by hand |%s\n| the choice alone |%s\n\n", row(best), row(r.alone))
	fmt.Fprintf(&b, "| PU and a fourth site with PU's lines, both behind symmetric NAT | ms | Mb/s | share of the best by hand | found after |\n|---|--:|--:|--:|--:|\n")
	fmt.Fprintf(&b, "| by hand through UF | %.1f | %.1f | | |\n| by hand through NWU | %.1f | %.1f | | |\n", r.slow.ms, r.slow.mbits, r.fast.ms, r.fast.mbits)
	fmt.Fprintf(&b, "| the choice alone | %.1f | %.1f | %.2f | %.0f s |\n", r.chosen.ms, r.chosen.mbits, r.chosen.mbits/r.fast.mbits, r.chosenAfter.Seconds())
	fmt.Fprintf(&b, "| the choice alone, NWU - PU then shaped to 5 Mb/s | %.1f | %.1f | %.2f | %.0f s |\n", r.changed.ms, r.changed.mbits, r.changed.mbits/r.slow.mbits, r.changedAfter.Seconds())
	if err := os.WriteFile("../../docs/table-3-8.md", []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func row(list [3]figure) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, " %.1f | %.1f |", f.ms, f.mbits)
	}
	return b.String()
}
