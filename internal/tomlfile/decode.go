package tomlfile

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// Decode reads a file into *T, which holds the defaults. The error names every problem found, each with its line.
func Decode[T any](text string, into *T) (Lines, error) {
	md, err := toml.Decode(text, into)
	if err != nil {
		var pe toml.ParseError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("line %d: %s", pe.Position.Line, pe.Message)
		}
		return nil, err
	}
	lines := keyLines(text)
	var problems []error
	for _, key := range md.Undecoded() {
		name := key.String()
		hint := ""
		if near := nearest(name, Keys[T]()); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		problems = append(problems, fmt.Errorf("%sunknown key %q%s", lines.At(name), name, hint))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return lines, fillElements(reflect.ValueOf(into).Elem(), false)
}

// Lines say where the keys of a file stand.
type Lines map[string]int

// At returns "line N: " for a dotted key, or for the table around it; nothing if that is not in the file. An element of an array of tables
// is named by its number, from 0: group[2].count. Without the number it is the first that has the key.
func (l Lines) At(key string) string {
	if n := l.Of(key); n > 0 {
		return fmt.Sprintf("line %d: ", n)
	}
	return ""
}

// Of returns the line of a key as At has it, 0 for none.
func (l Lines) Of(key string) int {
	for key != "" {
		if n, ok := l[key]; ok {
			return n
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return 0
}

// keyLines finds the line on which each dotted key first stands. It reads only what a message needs: table headers and the names
// left of an equals sign.
func keyLines(text string) Lines {
	lines := Lines{}
	note := func(n int, keys ...string) {
		for _, key := range keys {
			if lines[key] == 0 {
				lines[key] = n + 1
			}
		}
	}
	count := map[string]int{}         // elements of an array so far
	plain, numbered := "", ""         // the table, with a dot behind it
	last := map[string]string{"": ""} // how the latest element of an array is called
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if array := strings.HasPrefix(line, "[["); array || strings.HasPrefix(line, "[") {
			header, _, _ := strings.Cut(strings.TrimLeft(line, "["), "]")
			header = strings.TrimSpace(header)
			name := header
			for outer := header; outer != ""; outer = outer[:max(0, strings.LastIndex(outer, "."))] {
				if called, ok := last[outer]; ok && !(array && outer == header) {
					name = called + header[len(outer):]
					break
				}
			}
			if array {
				name = fmt.Sprintf("%s[%d]", name, count[name])
				count[strings.TrimSuffix(name, name[strings.LastIndex(name, "["):])]++
				last[header] = name
			}
			note(n, header, name)
			plain, numbered = header+".", name+"."
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		name = strings.Trim(strings.TrimSpace(name), `"'`)
		note(n, plain+name, numbered+name)
	}
	return lines
}
