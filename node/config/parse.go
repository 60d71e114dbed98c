package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// fileBytesMax bounds a configuration file; a real one has a few hundred bytes.
const fileBytesMax = 1 << 20

// Default returns the configuration of an empty file.
func Default() Config {
	c, err := Parse(strings.NewReader(""))
	if err != nil {
		panic("config: internal error: the defaults are wrong: " + err.Error())
	}
	return c
}

// Load reads the file at path. When optional is set, an absent file counts as empty.
func Load(path string, optional bool) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && optional {
		return Default(), nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("open configuration: %w", err)
	}
	defer f.Close()
	c, err := Parse(f)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads a configuration. The error names every problem found, each with its line.
func Parse(r io.Reader) (Config, error) {
	text, err := io.ReadAll(io.LimitReader(r, fileBytesMax+1))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > fileBytesMax {
		return Config{}, fmt.Errorf("configuration is larger than %d bytes", fileBytesMax)
	}
	var raw rawFile
	if err := defaults(&raw); err != nil {
		return Config{}, err
	}
	md, err := toml.Decode(string(text), &raw)
	if err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return Config{}, fmt.Errorf("line %d: %s", pe.Position.Line, pe.Message)
		}
		return Config{}, err
	}
	lines := keyLines(string(text))
	where := func(key string) string {
		if n, ok := lines[key]; ok {
			return fmt.Sprintf("line %d: ", n)
		}
		return ""
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		var problems []error
		for _, key := range unknown {
			name := key.String()
			hint := ""
			if near := nearest(name, knownKeys()); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			problems = append(problems, fmt.Errorf("%sunknown key %q%s", where(name), name, hint))
		}
		return Config{}, errors.Join(problems...)
	}
	return raw.check(where)
}

// defaults fills raw from the def tags.
func defaults(raw *rawFile) error {
	_, err := toml.Decode(string(appendFields(nil, reflect.TypeOf(*raw), "", false)), raw)
	if err != nil {
		return fmt.Errorf("config: internal error: %w", err)
	}
	return nil
}

// AppendDefault appends a whole configuration file with every parameter, its meaning and its
// default. Parsing it gives Default.
func AppendDefault(b []byte) []byte {
	return appendFields(b, reflect.TypeFor[rawFile](), "", true)
}

// appendFields writes the fields of t as TOML. Lists of tables have no default entry: with
// comments they are shown commented out.
func appendFields(b []byte, t reflect.Type, prefix string, comments bool) []byte {
	for f := range fields(t) {
		if f.Type.Kind() == reflect.Struct || f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			continue
		}
		if comments {
			b = fmt.Appendf(b, "# %s\n", f.Tag.Get("doc"))
		}
		b = fmt.Appendf(b, "%s = %s\n", f.Tag.Get("toml"), f.Tag.Get("def"))
	}
	for f := range fields(t) {
		name := prefix + f.Tag.Get("toml")
		switch {
		case f.Type.Kind() == reflect.Struct:
			if comments {
				b = fmt.Appendf(b, "\n# %s\n", f.Tag.Get("doc"))
			}
			b = fmt.Appendf(b, "[%s]\n", name)
			b = appendFields(b, f.Type, name+".", comments)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && comments:
			b = fmt.Appendf(b, "\n# %s\n# [[%s]]\n", f.Tag.Get("doc"), name)
			for line := range strings.Lines(string(appendFields(nil, f.Type.Elem(), "", comments))) {
				b = fmt.Appendf(b, "# %s", strings.TrimPrefix(line, "# "))
			}
		}
	}
	return b
}

func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// knownKeys returns every key that a file may hold, dotted.
func knownKeys() []string {
	var keys []string
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for f := range fields(t) {
			key := prefix + f.Tag.Get("toml")
			keys = append(keys, key)
			ft := f.Type
			if ft.Kind() == reflect.Slice {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				walk(ft, key+".")
			}
		}
	}
	walk(reflect.TypeFor[rawFile](), "")
	return keys
}

// keyLines finds the line on which each dotted key first stands. It reads only what a message
// needs: table headers and the names left of an equals sign.
func keyLines(text string) map[string]int {
	lines := map[string]int{}
	table := ""
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			header, _, _ := strings.Cut(strings.TrimLeft(line, "["), "]")
			table = strings.TrimSpace(header) + "."
			if key := strings.TrimSuffix(table, "."); lines[key] == 0 {
				lines[key] = n + 1
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		key := table + strings.Trim(strings.TrimSpace(name), `"'`)
		if lines[key] == 0 {
			lines[key] = n + 1
		}
	}
	return lines
}

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
