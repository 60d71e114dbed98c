package scenario

import (
	"os"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/internal/tomlfile"
)

// TestDocumented: docs/simulations.md has every key of a scenario with its meaning, as it is here. VINE_UPDATE=1 writes it anew.
func TestDocumented(t *testing.T) {
	const path = "../../docs/simulations.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), "## A scenario\n")
	intro, rest, _ := strings.Cut(rest, "```toml\n")
	_, after, _ := strings.Cut(rest, "```\n")
	want := before + "## A scenario\n" + intro + "```toml\n" + string(tomlfile.AppendDefault[rawFile](nil)) + "```\n" + after
	if os.Getenv("VINE_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Error("docs/simulations.md is not as the package says: run VINE_UPDATE=1 go test ./simulations/scenario -run TestDocumented")
	}
}
