package simulations

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vine-mesh/vine/simulations/scenario"
)

//go:embed *.toml
var examples embed.FS

// Names returns the names of the scenarios that come with vine, sorted.
func Names() (names []string) {
	list, err := fs.Glob(examples, "*.toml")
	if err != nil {
		panic("simulations: internal error: " + err.Error())
	}
	for _, file := range list {
		names = append(names, strings.TrimSuffix(file, ".toml"))
	}
	slices.Sort(names)
	return names
}

// A Source is a scenario and the text that it was read from.
type Source struct {
	*scenario.Scenario
	Text []byte
	// Files are those that the text names, by the names that it has for them.
	Files map[string][]byte
}

// Load reads a scenario: a file if there is one of that name, else one of those that come with vine.
func Load(name string) (Source, error) {
	text, err := os.ReadFile(name)
	if err == nil {
		dir := filepath.Dir(name)
		return load(strings.TrimSuffix(filepath.Base(name), ".toml"), text, name, func(path string) ([]byte, error) {
			if !filepath.IsLocal(path) {
				return nil, fmt.Errorf("%s is not beside the scenario", path)
			}
			return os.ReadFile(filepath.Join(dir, path))
		})
	}
	if os.IsNotExist(err) && slices.Contains(Names(), name) {
		text, err := examples.ReadFile(name + ".toml")
		if err != nil {
			return Source{}, err
		}
		return load(name, text, name, examples.ReadFile)
	}
	return Source{}, err
}

func load(stem string, text []byte, name string, open func(string) ([]byte, error)) (Source, error) {
	src := Source{Text: text, Files: map[string][]byte{}}
	var err error
	src.Scenario, err = scenario.Parse(stem, text, func(path string) ([]byte, error) {
		b, err := open(path)
		if err == nil {
			src.Files[path] = b
		}
		return b, err
	})
	if err != nil {
		return Source{}, &BadScenario{name, err}
	}
	return src, nil
}

// BadScenario says what is wrong with a scenario file.
type BadScenario struct {
	Name string
	Err  error // every problem, each with its line
}

func (e *BadScenario) Error() string {
	lines := strings.Split(e.Err.Error(), "\n")
	return e.Name + ": " + strings.Join(lines, "\n"+e.Name+": ")
}

func (e *BadScenario) Unwrap() error { return e.Err }
