package tomlfile

import (
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	const text = "seeds = 3\n[network]\nloss = \"1%\"\n[[group]]\nname = \"a\"\ncount = 1\n[[group]]\nname = \"b\"\nchurn = { kind = \"none\" }\n"
	for key, tt := range map[string]struct{ value, want string }{
		"seeds":                {"7", "seeds = 7"},
		"network.loss":         {"5%", `loss = "5%"`},
		"network.latency.kind": {"ring", `kind = "ring"`},
		"group.a.count":        {"100", "count = 100"},
		"group.b.churn.kind":   {`"flash"`, `kind = "flash"`},
	} {
		got, err := Set(text, key, tt.value)
		if err != nil || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %v\n%s", key, err, got)
		}
	}
	for _, key := range []string{"group.c.count", "seeds.x", "group.a"} {
		if got, err := Set(text, key, "1"); err == nil {
			t.Errorf("%s:\n%s", key, got)
		}
	}
}
