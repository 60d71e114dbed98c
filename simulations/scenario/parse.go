package scenario

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vine-mesh/vine/internal/tomlfile"
)

const (
	fileBytesMax = 1 << 20
	// vrsMax is what the model can hold.
	vrsMax = 100_000
	// timeMax bounds every time in a file.
	timeMax = 60 * 24 * time.Hour
)

var nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Parse reads a scenario. stem is its name unless the text says another. open gives it the files that the text names. The error names
// every problem found, each with its line.
func Parse(stem string, text []byte, open func(path string) ([]byte, error)) (*Scenario, error) {
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("a scenario has at most %d bytes", fileBytesMax)
	}
	var raw rawFile
	tomlfile.SetDefaults(&raw)
	lines, err := tomlfile.Decode(string(text), &raw)
	if err != nil {
		return nil, err
	}
	if raw.Name == "" {
		raw.Name = stem
	}
	c := &checker{lines: lines, open: open, files: [][]byte{text}}
	s := c.scenario(&raw)
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	h := sha256.New()
	for _, b := range c.files {
		fmt.Fprintf(h, "%d:", len(b))
		h.Write(b)
	}
	s.Hash = hex.EncodeToString(h.Sum(nil))
	return s, nil
}

// A checker turns what a file says into values, and notes what cannot be.
type checker struct {
	lines    tomlfile.Lines
	open     func(path string) ([]byte, error)
	files    [][]byte
	problems []error
}

func (c *checker) bad(key, format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("%s%s: %s", c.lines.At(key), key, fmt.Sprintf(format, args...)))
}

func (c *checker) oneOf(key, value string, allowed ...string) string {
	if !slices.Contains(allowed, value) {
		c.bad(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
	return value
}

// name checks a name that nothing else of its sort has.
func (c *checker) name(key, value string, taken map[string]bool) string {
	switch {
	case !nameRE.MatchString(value):
		c.bad(key, "%q is not a name: use a-z, 0-9 and -, at most 63", value)
	case taken[value]:
		c.bad(key, "%q stands twice", value)
	}
	taken[value] = true
	return value
}

// known checks names that must be in a set.
func (c *checker) known(key string, values []string, set map[string]bool, what string) []string {
	for _, v := range values {
		if !set[v] {
			c.bad(key, "there is no %s %q", what, v)
		}
	}
	return values
}

func (c *checker) number(key string, value, least, most int) int {
	if value < least || value > most {
		c.bad(key, "%d is not between %d and %d", value, least, most)
	}
	return value
}

// thousandths turns a factor into an integer: what decides in the model has no fractions.
func (c *checker) thousandths(key string, value, least, most float64) int64 {
	if !(value >= least && value <= most) {
		c.bad(key, "%v is not between %v and %v", value, least, most)
		return 0
	}
	return int64(value*1000 + 0.5)
}

// duration reads a time such as 90s, 5m or 2d.
func (c *checker) duration(key, text string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok && err != nil {
		d, err = time.ParseDuration(days + "h")
		d *= 24
	}
	switch {
	case err != nil || d > timeMax || d < -timeMax:
		c.bad(key, "%q is not a time such as 90s, 5m or 2d", text)
		return 0
	case d < least || d > most:
		c.bad(key, "%s is not between %v and %v", text, least, most)
		return 0
	}
	return d
}

var percentRE = regexp.MustCompile(`^([0-9]{1,3})(?:\.([0-9]{1,4}))? ?%$`)

// percent reads a share such as 5% or 0.01%.
func (c *checker) percent(key, text string) PPM {
	m := percentRE.FindStringSubmatch(text)
	if m == nil {
		c.bad(key, "%q is not a share such as 5%% or 0.01%%", text)
		return 0
	}
	p := PPM(0)
	for _, digit := range m[1] + (m[2] + "0000")[:4] {
		p = 10*p + PPM(digit-'0')
	}
	if p > 1e6 {
		c.bad(key, "%s is more than all", text)
	}
	return p
}

var bandwidthRE = regexp.MustCompile(`^([1-9][0-9]{0,8}) ?(kbit|Mbit|Gbit)$`)

// bandwidth reads a rate such as 100Mbit, 0 for none.
func (c *checker) bandwidth(key, text string) int64 {
	if text == "" {
		return 0
	}
	m := bandwidthRE.FindStringSubmatch(text)
	if m == nil {
		c.bad(key, "%q is not a bandwidth such as 512kbit, 100Mbit or 1Gbit", text)
		return 0
	}
	n := int64(0)
	for _, digit := range m[1] {
		n = 10*n + int64(digit-'0')
	}
	n *= map[string]int64{"kbit": 1e3, "Mbit": 1e6, "Gbit": 1e9}[m[2]]
	if n > 1e12 {
		c.bad(key, "%s is more than 1000Gbit", text)
	}
	return n
}

// read gives the text of a file that the scenario names.
func (c *checker) read(key, path string) (lines []string) {
	if path == "" {
		c.bad(key, "names no file")
		return nil
	}
	if c.open == nil {
		c.bad(key, "this scenario cannot name files")
		return nil
	}
	b, err := c.open(path)
	if err != nil {
		c.bad(key, "%v", err)
		return nil
	}
	c.files = append(c.files, b)
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n")
}
