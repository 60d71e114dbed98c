package vine

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/vine-mesh/vine"

// A room is one package: what it may import of this module, which third-party modules have their
// home in it, and whether it is pure. docs/architecture.md says why.
type room struct {
	imports string // packages of this module, without the module path
	homes   string // third-party modules, by prefix
	pure    bool
}

// rooms is the import table. A package that is not listed fails the test.
var rooms = map[string]room{
	"bench":                    {pure: true},
	"bench/cost":               {imports: "bench tables/fib", homes: "golang.org/x/crypto"},
	"bench/lab":                {imports: "bench bench/netns", homes: "golang.org/x/sys"},
	"bench/netns":              {homes: "golang.org/x/sys"},
	"tables":                   {pure: true, homes: "github.com/fxamacker/cbor/v2 golang.org/x/crypto"},
	"tables/fib":               {pure: true, homes: "github.com/gaissmai/bart"},
	"tables/tablestest":        {imports: "tables"},
	"policy":                   {pure: true, imports: "tables"},
	"policy/policytest":        {imports: "policy tables"},
	"transport":                {pure: true, imports: "tables transport/frame transport/path transport/secure"},
	"transport/frame":          {pure: true, imports: "tables"},
	"transport/path":           {pure: true, imports: "tables"},
	"transport/secure":         {pure: true, imports: "tables transport/frame transport/secure/gcm", homes: "github.com/flynn/noise golang.org/x/crypto"},
	"transport/secure/gcm":     {pure: true, homes: "golang.org/x/sys"},
	"transport/underlay":       {imports: "internal/poll transport/path", homes: "golang.org/x/sys golang.org/x/net github.com/coder/websocket"},
	"transport/portmap":        {homes: "github.com/huin/goupnp github.com/vishvananda"},
	"transport/transporttest":  {imports: "transport/underlay"},
	"internal/tomlfile":        {pure: true, homes: "github.com/BurntSushi/toml"},
	"mesh":                     {pure: true, imports: "tables"},
	"mesh/gossip":              {imports: "tables mesh/serfrpc", homes: "github.com/hashicorp"},
	"mesh/gossip/gossiptest":   {imports: "tables mesh/gossip"},
	"mesh/serfrpc":             {homes: "github.com/hashicorp/go-msgpack"},
	"node":                     {imports: "internal/poll tables policy transport transport/frame transport/secure transport/underlay mesh mesh/gossip mesh/serfrpc node/alert node/capture node/control node/forward node/hosts node/notify node/relay node/segment node/state node/vr transport/path", homes: "golang.org/x/sync golang.org/x/sys"},
	"node/nodetest":            {imports: "tables policy transport/transporttest transport/underlay node node/capture node/capture/capturetest node/control node/state"},
	"node/alert":               {pure: true},
	"node/notify":              {},
	"node/capture":             {imports: "internal/poll node/segment"},
	"node/capture/capturetest": {imports: "node/capture node/segment"},
	"node/capture/netnstest":   {imports: "bench/netns"},
	"node/capture/hostnet":     {imports: "internal/durable node/hosts", homes: "github.com/vishvananda github.com/google/nftables golang.org/x/sys"},
	"node/capture/netstack":    {imports: "node/capture node/segment", homes: "gvisor.dev/gvisor"},
	"node/capture/nfqueue":     {imports: "internal/poll node/capture node/capture/raw node/segment", homes: "github.com/mdlayher/netlink golang.org/x/sys"},
	"node/capture/raw":         {imports: "internal/poll node/capture node/capture/vnet node/segment", homes: "golang.org/x/net golang.org/x/sys"},
	"node/capture/tun":         {imports: "internal/poll node/capture node/capture/vnet", homes: "github.com/songgao/water golang.org/x/sys"},
	"node/capture/vnet":        {imports: "internal/poll node/capture node/segment", homes: "golang.org/x/sys"},
	"node/config":              {imports: "internal/tomlfile node/notify"},
	"node/control":             {imports: "tables", homes: "golang.org/x/sys golang.org/x/net github.com/prometheus"},
	"node/control/controltest": {homes: "github.com/santhosh-tekuri/jsonschema"},
	"node/forward":             {pure: true, imports: "tables tables/fib"},
	"node/gateway":             {imports: "tables node/forward node/lease", homes: "golang.org/x/net golang.org/x/sys"},
	"node/hostpage":            {imports: "node/control node/hosts", homes: "golang.org/x/sys"},
	"node/hosts":               {pure: true, imports: "tables"},
	"node/lease":               {pure: true, imports: "tables"},
	"node/relay":               {pure: true, imports: "tables"},
	"node/scale":               {pure: true},
	"node/segment":             {pure: true},
	"node/state":               {imports: "internal/durable"},
	"node/vr":                  {pure: true, imports: "tables"},
	"simulations":              {imports: "simulations/result simulations/real simulations/scenario simulations/sim", homes: "golang.org/x/sys"},
	"simulations/real":         {imports: "node/control node/nodetest policy simulations/result simulations/scenario tables transport/transporttest"},
	"simulations/report":       {imports: "simulations/result"},
	"simulations/result":       {pure: true},
	"simulations/scenario":     {pure: true, imports: "internal/tomlfile"},
	"simulations/sim":          {pure: true, imports: "mesh simulations/result simulations/scenario tables transport/frame transport/path"},
	"tests/impair":             {homes: "golang.org/x/sys"},
	"tests/netns":              {imports: "bench node/capture/netnstest tests/impair"},
}

// impure are the packages that a pure package may not import: with them come goroutines, clocks,
// I/O or randomness of its own.
var impure = []string{"net", "os", "sync", "context", "crypto/rand", "log", "log/slog", "syscall", "os/exec"}

// clocks are the functions of package time that read the clock or wait for it.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// source is one parsed Go file that is not a test.
type source struct {
	dir  string // slash-separated, relative to the root
	name string
	text []byte
	file *ast.File
}

func sources(t *testing.T, tests bool) (list []source, files *token.FileSet) {
	t.Helper()
	files = token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") != tests && !tests {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(files, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		list = append(list, source{path.Dir(filepath.ToSlash(p)), filepath.Base(p), text, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 50 {
		t.Fatalf("only %d files found: the test runs in the wrong place", len(list))
	}
	return list, files
}

func TestImports(t *testing.T) {
	list, _ := sources(t, false)
	for _, s := range list {
		if s.dir == "cmd/vine" || strings.HasPrefix(s.dir, "internal/") || s.dir == "." {
			continue // the command wires everything together
		}
		r, ok := rooms[s.dir]
		if !ok {
			t.Errorf("package %s is not in the import table", s.dir)
			continue
		}
		for _, spec := range s.file.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			switch own, ours := strings.CutPrefix(p, module+"/"); {
			case ours && !slices.Contains(strings.Fields(r.imports), own):
				t.Errorf("%s/%s imports %s: not in the import table", s.dir, s.name, own)
			case !ours && strings.Contains(strings.Split(p, "/")[0], ".") && !atHome(r, p):
				t.Errorf("%s/%s imports %s, which has its home elsewhere", s.dir, s.name, p)
			case r.pure && slices.Contains(impure, p):
				t.Errorf("%s/%s imports %s: the package is pure", s.dir, s.name, p)
			}
		}
	}
}

func atHome(r room, p string) bool {
	return slices.ContainsFunc(strings.Fields(r.homes), func(home string) bool { return p == home || strings.HasPrefix(p, home+"/") })
}

// TestPurity finds goroutines, clock reads and global randomness in pure packages.
func TestPurity(t *testing.T) {
	list, files := sources(t, false)
	for _, s := range list {
		if !rooms[s.dir].pure {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: a go statement in a pure package", files.Position(n.Pos()))
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				pkg, ok := sel.X.(*ast.Ident)
				if !ok || pkg.Obj != nil {
					return true
				}
				if pkg.Name == "time" && slices.Contains(clocks, sel.Sel.Name) {
					t.Errorf("%s: time.%s in a pure package", files.Position(n.Pos()), sel.Sel.Name)
				}
				if pkg.Name == "rand" && !strings.HasPrefix(sel.Sel.Name, "New") {
					t.Errorf("%s: rand.%s uses global randomness in a pure package", files.Position(n.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestPackageComments wants exactly one package comment in each package.
func TestPackageComments(t *testing.T) {
	list, _ := sources(t, false)
	comments := map[string]int{}
	for _, s := range list {
		if s.file.Doc != nil {
			comments[s.dir]++
		} else {
			comments[s.dir] += 0
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want 1", dir, n)
		}
	}
}

func TestFormat(t *testing.T) {
	list, _ := sources(t, true)
	for _, s := range list {
		want, err := format.Source(s.text)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(s.text) {
			t.Errorf("%s/%s is not formatted: run gofmt -w", s.dir, s.name)
		}
	}
}

// TestNoWaiting forbids time.Sleep in tests outside a synctest bubble, as far as it can tell by package: a test that sleeps is slow
// when it passes and flaky when it does not.
func TestNoWaiting(t *testing.T) {
	list, files := sources(t, true)
	bubbles := map[string]bool{} // packages whose tests run in bubbles
	for _, s := range list {
		if strings.Contains(string(s.text), "testing/synctest") {
			bubbles[s.dir] = true
		}
	}
	for _, s := range list {
		if !strings.HasSuffix(s.name, "_test.go") || bubbles[s.dir] {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
					if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" {
						t.Errorf("%s: time.Sleep in a test", files.Position(n.Pos()))
					}
				}
			}
			return true
		})
	}
}
