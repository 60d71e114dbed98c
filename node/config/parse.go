package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/vine-mesh/vine/internal/tomlfile"
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
	tomlfile.SetDefaults(&raw)
	lines, err := tomlfile.Decode(string(text), &raw)
	if err != nil {
		return Config{}, err
	}
	return raw.check(lines.At)
}

// AppendDefault appends a whole configuration file with every parameter, its meaning and its
// default. Parsing it gives Default.
func AppendDefault(b []byte) []byte { return tomlfile.AppendDefault[rawFile](b) }
