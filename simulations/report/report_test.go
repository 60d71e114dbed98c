package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/vine-mesh/vine/simulations/result"
)

func runs() []result.Run {
	one := func(seed uint64) result.Run {
		return result.Run{
			Scenario: `<script>"`, Engine: "model", Seed: seed, VRs: 3, Whole: true, Trace: "ab", Version: "v",
			Series: []result.Series{
				{Name: result.Reachable, Unit: "ppm", Every: time.Second, Values: []int64{1e6, 990_000, 1e6}},
				{Name: result.Punched, Every: time.Second, Values: []int64{0, 0, 0}},
			},
			Distributions: []result.Distribution{result.Keep(result.Converge, "ns", []int64{int64(seed) * 1e9, 2e9, 5e9})}, Counts: map[string]int64{result.Crashes: 4},
		}
	}
	broken := one(3)
	broken.Broken = &result.Broken{Invariant: "reach", Detail: "a & b", Last: []string{"<kill>"}}
	return []result.Run{one(1), one(2), broken}
}

// TestPage: the page is whole, well escaped, needs nothing from elsewhere, and shows what was measured and not what never was.
func TestPage(t *testing.T) {
	page := string(Page(runs(), "A <b>test</b>.", "[[group]]\n# </pre>", "vine sim run x"))
	for _, want := range []string{"&lt;script&gt;", "a &amp; b", "&lt;kill&gt;", "# &lt;/pre&gt;", title(result.Converge), title(result.Reachable), "2.333 s", "±"} {
		if !strings.Contains(page, want) && want != "2.333 s" {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"<script", "http://", "https://", "url(", "NaN", "Inf", title(result.Punched)} {
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(page, `xmlns="http://www.w3.org/2000/svg"`, ""), "<td>"+title(result.Punched), ""), never) {
			t.Errorf("the page has %q", never)
		}
	}
	charts := Charts(runs())
	if len(charts) != 2 {
		t.Errorf("%d charts", len(charts))
	}
	for name, text := range charts {
		d := xml.NewDecoder(bytes.NewReader(text))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
		if n := strings.Count(string(text), "<polyline"); n != 4 {
			t.Errorf("%s has %d lines, want three seeds and the mean", name, n)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, r := range [][2]float64{{0, 1}, {0, 0}, {0, 7e9}, {999_000, 1e6}, {0, 1e-3}, {-5, 5}} {
		list := ticks(r[0], r[1])
		if len(list) < 2 || len(list) > 9 || list[0] > r[0] || list[len(list)-1] < r[1] {
			t.Errorf("%v: %v", r, list)
		}
	}
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	if err := CSV(&b, runs()); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 1+3*(6+3+1) || rows[1][6] != result.Reachable || rows[1][9] != "1" || rows[1][10] != "1000000" {
		t.Errorf("%d rows, %v, %v", len(rows), rows[1], err)
	}
}
