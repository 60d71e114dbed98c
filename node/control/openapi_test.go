package control

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vine-mesh/vine/node/control/controltest"
)

var updateOpenAPI = flag.Bool("update-openapi", false, "write openapi.json anew")

// TestOpenAPI makes the OpenAPI document from the table of routes, the types of the answers and their comments, and
// compares it with the one that is served. After a change of routes or types:
//
//	go test ./node/control -run TestOpenAPI -update-openapi
func TestOpenAPI(t *testing.T) {
	want, err := json.MarshalIndent(newDocument(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *updateOpenAPI {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		OpenAPI = want
	}
	if diff := cmp.Diff(string(want), string(OpenAPI)); diff != "" {
		t.Errorf("openapi.json is not what the routes and types give: run go test ./node/control -run TestOpenAPI -update-openapi (-want +got)\n%s", diff)
	}
	// Whatever made it: every route is in the document, and nothing else is.
	c, err := controltest.New(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, r := range table() {
		routes = append(routes, r.method+" "+r.path)
		if r.summary == "" || r.status == 0 || r.media == "" {
			t.Errorf("%s %s lacks something: %+v", r.method, r.path, r)
		}
	}
	slices.Sort(routes)
	if diff := cmp.Diff(routes, c.Routes()); diff != "" {
		t.Errorf("routes (-served +document):\n%s", diff)
	}
	if len(slices.Compact(routes)) != len(table()) {
		t.Error("a route stands twice in the table")
	}
}

// A maker makes schemas of types.
type maker struct {
	t       *testing.T
	schemas map[string]any
	docs    map[string]string // comments by "Type" and "Type.Field"
}

type object = map[string]any

func newDocument(t *testing.T) object {
	m := &maker{t, object{}, comments(t)}
	problem := object{"description": "An error: problem details (RFC 9457)", "content": object{typeProblem: object{"schema": m.schema(reflect.TypeFor[Problem]())}}}
	paths := object{}
	for _, r := range table() {
		content := object{}
		media, _, _ := strings.Cut(r.media, ";")
		switch {
		case r.path == pathEvents:
			m.schema(reflect.TypeFor[Event]())
			content["schema"] = object{"type": "string", "description": "Each data field is an Event, as JSON"}
		case r.result != nil && r.name == "":
			content["schema"] = m.schema(r.result)
		case r.result != nil:
			content["schema"] = object{"type": "object", "required": []string{r.name, "schema_version"}, "properties": object{
				"schema_version": object{"type": "integer", "const": SchemaVersion}, r.name: m.schema(r.result),
			}}
		}
		answer := object{"description": http.StatusText(r.status), "content": object{media: content}}
		responses := object{fmt.Sprint(r.status): answer, "default": problem}
		operation := object{"summary": r.summary, "operationId": operationID(r), "responses": responses}
		var parameters []object
		for _, p := range r.query {
			name, path := strings.CutPrefix(p.name, "{")
			in := "query"
			if path {
				in, name = "path", strings.TrimSuffix(name, "}")
			}
			kind := p.kind
			if kind == "" {
				kind = "string"
			}
			parameters = append(parameters, object{"name": name, "in": in, "required": p.required || path, "description": p.text, "schema": object{"type": kind}})
		}
		header := func(name, text string) {
			parameters = append(parameters, object{"name": name, "in": "header", "required": false, "description": text, "schema": object{"type": "string"}})
		}
		switch {
		case r.path == pathEvents:
			header("Last-Event-ID", "ID of the last event that came; the next ones are wanted")
		case r.method == http.MethodGet && r.stream == nil:
			header("If-None-Match", "entity tags of answers that the caller has")
			answer["headers"] = object{"ETag": object{"description": "hash of this answer; of a VN with its ID and version in front", "schema": object{"type": "string"}}}
			responses["304"] = object{"description": http.StatusText(http.StatusNotModified)}
		case r.takes == typeJSON:
			operation["requestBody"] = object{"required": true, "content": object{typeJSON: object{"schema": m.schema(r.asks)}}}
		case r.takes == typeBundle:
			operation["requestBody"] = object{"required": true, "content": object{typeBundle: object{}}}
		case r.takes == typeEnvelope:
			header("If-Match", "entity tags of VNs: the request is refused unless one has that version still")
			operation["requestBody"] = object{"required": true, "content": object{typeEnvelope: object{}}}
		}
		if parameters != nil {
			operation["parameters"] = parameters
		}
		item, _ := paths[r.path].(object)
		if item == nil {
			item = object{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = operation
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Management API of a ViNe virtual router", "version": fmt.Sprint(SchemaVersion),
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "On the unix socket of the VR, and over TLS 1.3 if api.listen is set: there both sides show a certificate of their Ed25519 key, " +
				"the VR of its identity and the caller of a user key that has a grant. Fields may be added without a new version: ignore those that you do not know.",
		},
		"paths":      paths,
		"components": object{"schemas": m.schemas},
	}
}

func operationID(r route) string {
	name := strings.NewReplacer("{", "", "}", "", "/", "-", ".json", "").Replace(strings.TrimPrefix(r.path, pathPrefix))
	return strings.ToLower(r.method) + "-" + name
}

// schema returns the JSON schema of a type.
func (m *maker) schema(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[netip.Addr]():
		return object{"type": "string", "description": "an IP address; empty: none"}
	case reflect.TypeFor[netip.Prefix]():
		return object{"type": "string", "description": "a prefix, such as 10.192.0.0/24"}
	case reflect.TypeFor[netip.AddrPort]():
		return object{"type": "string", "description": "an address and port"}
	case reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Uint64, reflect.Uint32, reflect.Uint:
		return object{"type": "integer", "minimum": 0}
	case reflect.Int64, reflect.Int:
		return object{"type": "integer"}
	case reflect.Pointer:
		s := m.schema(t.Elem())
		s["type"] = []any{s["type"], "null"}
		return s
	case reflect.Slice, reflect.Array:
		return object{"type": "array", "items": m.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": m.schema(t.Elem())}
	case reflect.Struct:
		m.component(t)
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	m.t.Fatalf("no schema for %v", t)
	return nil
}

// component makes the schema of a struct. What Go always writes is required.
func (m *maker) component(t reflect.Type) {
	if m.schemas[t.Name()] != nil {
		return
	}
	s := object{"type": "object"}
	m.schemas[t.Name()] = s
	if text := m.docs[t.Name()]; text != "" {
		s["description"] = text
	}
	required, properties := []string{}, object{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue // its fields stand in its place
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			m.t.Fatalf("%s.%s has no json name", t.Name(), f.Name)
		}
		p := m.schema(f.Type)
		owner := t
		for _, i := range f.Index[:len(f.Index)-1] {
			owner = owner.Field(i).Type
		}
		if text := m.docs[owner.Name()+"."+f.Name]; text != "" {
			p["description"] = text
		}
		properties[name] = p
		if options == "" {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	s["required"], s["properties"] = required, properties
}

// comments returns what the comments of this package say of its types and their fields.
func comments(t *testing.T) map[string]string {
	docs := map[string]string{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				typ, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				text, _, _ := strings.Cut(g.Doc.Text(), "\n\n")
				docs[typ.Name.Name] = strings.Join(strings.Fields(text), " ")
				if s, ok := typ.Type.(*ast.StructType); ok {
					for _, field := range s.Fields.List {
						for _, name := range field.Names {
							docs[typ.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Comment.Text()), " ")
						}
					}
				}
			}
		}
	}
	return docs
}

// TestCheckerFails shows that the checker can: an answer that lacks a field, has one more, or is of another type.
func TestCheckerFails(t *testing.T) {
	c, err := controltest.New(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	good := `{"schema_version":1,"request":{"id":"x","state":"accepted","reason":"","result":""}}`
	if err := c.Answer("POST", pathRequests, 202, typeJSON, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"a field less":  c.Answer("POST", pathRequests, 202, typeJSON, bytes.Replace([]byte(good), []byte(`"reason":"",`), nil, 1)),
		"a field more":  c.Answer("POST", pathRequests, 202, typeJSON, bytes.Replace([]byte(good), []byte(`"reason"`), []byte(`"more":1,"reason"`), 1)),
		"wrong type":    c.Answer("POST", pathRequests, 202, typeJSON, bytes.Replace([]byte(good), []byte(`"accepted"`), []byte(`7`), 1)),
		"other status":  c.Answer("POST", pathRequests, 200, typeJSON, []byte(good)),
		"other media":   c.Answer("POST", pathRequests, 202, "text/html", []byte(good)),
		"other method":  c.Answer("PUT", pathRequests, 202, typeJSON, []byte(good)),
		"other path":    c.Answer("POST", pathRequests+"/a/b", 202, typeJSON, []byte(good)),
		"bad event":     c.Answer("GET", pathEvents, 200, typeEvents, []byte("id: 1-1\nevent: link\ndata: {\"kind\":1}\n\n")),
		"plain problem": c.Answer("GET", pathVNs+"/x", 404, typeProblem, []byte(`{"title":"no status"}`)),
	} {
		if err == nil {
			t.Errorf("%s: it passes", name)
		}
	}
}
