// Package controltest holds answers of the management API against its OpenAPI document, for tests of package control and of
// whatever serves it.
package controltest

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A Checker knows an OpenAPI document.
type Checker struct {
	document map[string]any
	compiler *jsonschema.Compiler
}

const location = "https://vine.invalid/openapi.json"

// New returns a Checker of an OpenAPI 3.1 document. It is stricter than the document: what has properties may have no
// others, so that the document cannot fall behind.
func New(document []byte) (*Checker, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok || m["openapi"] != "3.1.0" {
		return nil, fmt.Errorf("no OpenAPI 3.1.0 document")
	}
	closeObjects(m)
	c := &Checker{m, jsonschema.NewCompiler()}
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource(location, m)
}

// closeObjects forbids properties that are not named, in every schema below v.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["properties"].(map[string]any); ok && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, inner := range v {
			closeObjects(inner)
		}
	case []any:
		for _, inner := range v {
			closeObjects(inner)
		}
	}
}

// Routes returns "METHOD /path" of every operation, sorted.
func (c *Checker) Routes() []string {
	var list []string
	for path, item := range c.document["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			list = append(list, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(list)
	return list
}

// template returns the path in the document that a real path, without its query, is one of.
func (c *Checker) template(path string) string {
	paths := c.document["paths"].(map[string]any)
	if paths[path] != nil {
		return path
	}
	for t := range paths {
		want, got := strings.Split(t, "/"), strings.Split(path, "/")
		same := len(want) == len(got)
		for i := 0; same && i < len(want); i++ {
			same = want[i] == got[i] || strings.HasPrefix(want[i], "{")
		}
		if same {
			return t
		}
	}
	return ""
}

// Answer returns why an answer is not one that the document allows: its status is not listed, or it is of another
// media type, or its body breaks the schema.
func (c *Checker) Answer(method, path string, status int, media string, body []byte) error {
	path, _, _ = strings.Cut(path, "?")
	template := c.template(path)
	item, _ := c.document["paths"].(map[string]any)[template].(map[string]any)
	operation, _ := item[strings.ToLower(method)].(map[string]any)
	if operation == nil {
		return fmt.Errorf("%s %s is not in the document", method, path)
	}
	responses := operation["responses"].(map[string]any)
	name := strconv.Itoa(status)
	if responses[name] == nil {
		name = "default"
		if status < 400 {
			return fmt.Errorf("%s %s: status %d is not in the document", method, path, status)
		}
	}
	base, _, err := mime.ParseMediaType(media)
	content, _ := responses[name].(map[string]any)["content"].(map[string]any)
	if content == nil && len(body) == 0 {
		return nil
	}
	if err != nil || content[base] == nil {
		return fmt.Errorf("%s %s: status %d with %q, not in the document", method, path, status, media)
	}
	if content[base].(map[string]any)["schema"] == nil {
		return nil
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	pointer := ""
	for _, part := range []string{"paths", template, strings.ToLower(method), "responses", name, "content", base, "schema"} {
		pointer += "/" + escape.Replace(part)
	}
	if base == "text/event-stream" {
		return c.events(body)
	}
	if !strings.HasSuffix(base, "json") {
		return nil
	}
	if err := c.check("#"+pointer, body); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// events checks the data of every event in a stream.
func (c *Checker) events(stream []byte) error {
	for line := range bytes.Lines(stream) {
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			if err := c.check("#/components/schemas/Event", data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Checker) check(fragment string, body []byte) error {
	schema, err := c.compiler.Compile(location + fragment)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}
