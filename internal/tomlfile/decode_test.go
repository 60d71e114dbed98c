package tomlfile

import (
	"strings"
	"testing"
)

type file struct {
	Name  string `toml:"name" doc:"Of the thing." def:"\"none\""`
	Group []struct {
		Count *int `toml:"count" doc:"How many." def:"1"`
		Churn struct {
			Kind string `toml:"kind" doc:"How." def:"\"much\""`
		} `toml:"churn" doc:"Comes and goes."`
		Step []struct {
			At int `toml:"at" doc:"When." def:"0"`
		} `toml:"step" doc:"In turn."`
	} `toml:"group" doc:"Some."`
}

const text = `name = "x"
[[group]]
count = 1
[group.churn]
kind = "a"
[[group]]
count = 2
churn = { kind = "b" }
[[group.step]]
at = 1
[[group.step]]
at = 2
`

// TestLines: each element of an array of tables has lines of its own, what is not there those of what is around it.
func TestLines(t *testing.T) {
	var f file
	lines, err := Decode(text, &f)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{
		"name": 1, "group": 2, "group.count": 3, "group[0]": 2, "group[0].count": 3, "group[0].churn": 4, "group[0].churn.kind": 5, "group[1]": 6,
		"group[1].count": 7, "group[1].churn.kind": 8, "group[1].churn": 8, "group[1].step[0]": 9, "group[1].step[0].at": 10,
		"group[1].step[1].at": 12, "group[1].absent": 6, "absent": 0,
	} {
		if got := lines.Of(key); got != want {
			t.Errorf("%s: line %d, want %d", key, got, want)
		}
	}
	if f.Group[1].Churn.Kind != "b" || len(f.Group[1].Step) != 2 {
		t.Errorf("%+v", f)
	}
}

// TestDefaults: what is not in the file is as the tags say, and every unknown key is named with its line.
func TestDefaults(t *testing.T) {
	var f file
	SetDefaults(&f)
	_, err := Decode("[[group]]\ncout = 1\n[other]\nx = 1\n", &f)
	if err == nil || !strings.Contains(err.Error(), `line 2: unknown key "group.cout"; did you mean "group.count"?`) || !strings.Contains(err.Error(), `line 4: unknown key "other.x"`) || f.Name != "none" {
		t.Errorf("%v, %+v", err, f)
	}
	f = file{}
	if _, err := Decode("[[group]]\n[[group]]\ncount = 0\nchurn.kind = \"x\"\n", &f); err != nil || *f.Group[0].Count != 1 || *f.Group[1].Count != 0 ||
		f.Group[0].Churn.Kind != "much" || f.Group[1].Churn.Kind != "x" {
		t.Errorf("%+v, %v", f, err)
	}
	if whole := string(AppendDefault[file](nil)); !strings.Contains(whole, "# Of the thing.\nname = \"none\"\n") {
		t.Errorf("%s", whole)
	}
}
