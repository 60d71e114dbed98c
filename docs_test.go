package vine

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vine-mesh/vine/tables"
)

// documents returns every Markdown file of the project by its slash-separated path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.ToSlash(path)] = string(text)
		}
	}
	if len(found) < 10 {
		t.Fatalf("only %d documents found: the test runs in the wrong place", len(found))
	}
	return found
}

// TestDocsNameRealTests keeps the documents from promising tests that do not exist.
func TestDocsNameRealTests(t *testing.T) {
	list, _ := sources(t, true)
	real := map[string]bool{}
	for _, s := range list {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				real[f.Name.Name] = true
			}
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[A-Z0-9]\\w*)`")
	for path, text := range documents(t) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if !real[m[1]] {
				t.Errorf("%s names %s: there is no such test", path, m[1])
			}
		}
	}
}

// TestDocsLinks looks for the files that documents link to, and for the Go files that they name.
func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	source := regexp.MustCompile("`([\\w-]+(?:/[\\w-]+)+\\.go)`")
	for path, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
		for _, m := range source.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s names %s: %v", path, m[1], err)
			}
		}
	}
}

// TestGoroutineTable compares the table of goroutines in docs/architecture.md with the code: each
// file has as many rows as it starts goroutines.
func TestGoroutineTable(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| [^|]+ \\| `([\\w/-]+\\.go)` \\|").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]]++
	}
	starts := map[string]int{}
	list, _ := sources(t, false)
	for _, s := range list {
		if strings.HasSuffix(s.dir, "test") || strings.HasPrefix(s.dir, "tests/") {
			continue // packages of fakes
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				starts[s.dir+"/"+s.name]++
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Go" {
					starts[s.dir+"/"+s.name]++
				}
			}
			return true
		})
	}
	for file, n := range starts {
		if rows[file] != n {
			t.Errorf("%s starts %d goroutines, docs/architecture.md has %d rows for it: say there who owns what and when it stops", file, n, rows[file])
		}
	}
	for file := range rows {
		if starts[file] == 0 {
			t.Errorf("docs/architecture.md has a goroutine of %s, which starts none", file)
		}
	}
}

// TestConfigDocumented wants every key of the configuration, with its default, in docs/config.md.
func TestConfigDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	types := structs(t, "node/config/raw.go")
	var keys int
	var walk func(typ, prefix string)
	walk = func(typ, prefix string) {
		for _, f := range types[typ].List {
			tag := tagOf(t, f)
			key := prefix + tag.Get("toml")
			inner := strings.TrimPrefix(fmt.Sprint(name(f.Type)), "[]")
			if types[inner] != nil {
				walk(inner, key+".")
				continue
			}
			keys++
			row := fmt.Sprintf("| `%s` | `%s` |", key, tag.Get("def"))
			if !strings.Contains(string(text), row) {
				t.Errorf("docs/config.md has no row that starts with %s", row)
			}
		}
	}
	walk("rawFile", "")
	if keys < 15 {
		t.Errorf("only %d keys found in raw.go", keys)
	}
}

// TestWireNamesEveryField wants every kind of document and every field of its body, with its
// number, in docs/wire.md.
func TestWireNamesEveryField(t *testing.T) {
	b, err := os.ReadFile("docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for k := tables.KindRoot; k.Valid(); k++ {
		if !strings.Contains(text, fmt.Sprintf("\n| %d | %s |", k, k)) {
			t.Errorf("docs/wire.md has no row for kind %d, %s", k, k)
		}
	}
	for typ, fields := range structs(t, "tables/body.go") {
		_, part, ok := strings.Cut(text, "**"+typ+"**")
		if !ok {
			t.Errorf("docs/wire.md has no **%s**", typ)
			continue
		}
		part, _, _ = strings.Cut(part, "\n**")
		for _, f := range fields.List {
			number, _, _ := strings.Cut(tagOf(t, f).Get("cbor"), ",")
			field := f.Names[0].Name
			if !strings.Contains(part, "| "+number+" | "+field+" |") && !strings.Contains(part, " "+number+" "+field) {
				t.Errorf("docs/wire.md: %s lacks field %s %s", typ, number, field)
			}
		}
	}
}

// structs returns the struct types with tagged fields that a file declares.
func structs(t *testing.T, path string) map[string]*ast.FieldList {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*ast.FieldList{}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok && len(s.Fields.List) > 0 && s.Fields.List[0].Tag != nil {
				found[spec.Name.Name] = s.Fields
			}
		}
		return true
	})
	return found
}

func tagOf(t *testing.T, f *ast.Field) reflect.StructTag {
	t.Helper()
	text, err := strconv.Unquote(f.Tag.Value)
	if err != nil {
		t.Fatal(err)
	}
	return reflect.StructTag(text)
}

// name returns the name of a type, with "[]" before it for a slice.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.ArrayType:
		return "[]" + name(e.Elt)
	}
	return ""
}
