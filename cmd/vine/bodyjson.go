package main

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/vine-mesh/vine/tables"
)

// A body of a document as JSON: the fields of package tables in their order, with names in
// snake_case. Keys, hashes, nonces and byte strings are in hexadecimal, times (every int64 of a
// body) in RFC 3339, addresses and prefixes as usual. `vine show` writes this form and `vine sign`
// reads it.

// newBody returns a pointer to an empty body of kind k.
func newBody(k tables.Kind) (any, error) {
	for _, b := range [...]tables.Body{
		tables.Root{}, tables.Enrolment{}, tables.Site{}, tables.Grant{}, tables.VN{}, tables.Manifest{},
		tables.Fragment{}, tables.Roster{}, tables.Revocation{}, tables.Head{}, tables.LinkRecord{},
		tables.Request{}, tables.Receipt{}, tables.Invite{}, tables.Entry{}, tables.Adoption{},
	} {
		if b.Kind() == k {
			return reflect.New(reflect.TypeOf(b)).Interface(), nil
		}
	}
	return nil, fmt.Errorf("unknown kind %d", k)
}

// parseKind returns the kind called name.
func parseKind(name string) (tables.Kind, error) {
	var names []string
	for k := tables.Kind(1); k.Valid(); k++ {
		if k.String() == name {
			return k, nil
		}
		names = append(names, k.String())
	}
	return 0, usage("%q is not a kind of document: those are %s", name, strings.Join(names, ", "))
}

// fields is a JSON object that keeps its order.
type fields []field

type field struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (f fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, x := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", x.name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// toJSON returns v, a body or a part of one, as something that encoding/json writes in our form.
func toJSON(v reflect.Value) any {
	if isBytes(v.Type()) {
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return hex.EncodeToString(b)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			return ""
		}
		return string(text)
	}
	switch v.Kind() {
	case reflect.Int64:
		return time.Unix(v.Int(), 0).UTC().Format(time.RFC3339)
	case reflect.Struct:
		f := make(fields, v.NumField())
		for i := range f {
			f[i] = field{snake(v.Type().Field(i).Name), toJSON(v.Field(i))}
		}
		return f
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = toJSON(v.Index(i))
		}
		return list
	default:
		return v.Interface()
	}
}

// readBody reads JSON in our form into body, a pointer from newBody.
func readBody(r io.Reader, body any) error {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	var parsed any
	if err := dec.Decode(&parsed); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return fromJSON("body", parsed, reflect.ValueOf(body).Elem())
}

// fromJSON is the inverse of toJSON. where names the place, for messages.
func fromJSON(where string, in any, v reflect.Value) error {
	wrong := func(want string) error { return fmt.Errorf("%s: want %s", where, want) }
	text, isText := in.(string)
	if isBytes(v.Type()) {
		b, err := hex.DecodeString(text)
		if !isText || err != nil || v.Kind() == reflect.Array && len(b) != v.Len() {
			if v.Kind() == reflect.Array {
				return wrong(fmt.Sprintf("%d hexadecimal digits", 2*v.Len()))
			}
			return wrong("hexadecimal digits")
		}
		if v.Kind() == reflect.Slice {
			v.SetBytes(b)
			return nil
		}
		reflect.Copy(v, reflect.ValueOf(b))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if !isText || u.UnmarshalText([]byte(text)) != nil {
			return wrong("text such as an address or a prefix")
		}
		return nil
	}
	number, isNumber := in.(json.Number)
	switch v.Kind() {
	case reflect.String:
		if !isText {
			return wrong("text")
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := in.(bool)
		if !ok {
			return wrong("true or false")
		}
		v.SetBool(b)
	case reflect.Int64:
		t, err := time.Parse(time.RFC3339, text)
		if !isText || err != nil {
			return wrong("a time such as 2026-11-23T06:00:00Z")
		}
		v.SetInt(t.Unix())
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		if !isNumber || json.Unmarshal([]byte(number), v.Addr().Interface()) != nil {
			return wrong("a whole number")
		}
	case reflect.Slice:
		list, ok := in.([]any)
		if !ok {
			return wrong("a list")
		}
		v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
		for i, x := range list {
			if err := fromJSON(fmt.Sprintf("%s[%d]", where, i), x, v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		object, ok := in.(map[string]any)
		if !ok {
			return wrong("an object")
		}
		return structFromJSON(where, object, v)
	default:
		panic("vine: internal error: a body holds a " + v.Kind().String())
	}
	return nil
}

// structFromJSON fills a struct. Every field must be there: a signature is no place for defaults. Only
// what came later, and is left out of what is signed when it says nothing, may be left out here too.
func structFromJSON(where string, object map[string]any, v reflect.Value) error {
	known := map[string]bool{}
	for i := range v.NumField() {
		name := snake(v.Type().Field(i).Name)
		known[name] = true
		x, ok := object[name]
		if !ok && strings.Contains(v.Type().Field(i).Tag.Get("cbor"), ",omit") {
			continue
		}
		if !ok {
			return fmt.Errorf("%s: %q is missing", where, name)
		}
		if err := fromJSON(where+"."+name, x, v.Field(i)); err != nil {
			return err
		}
	}
	for name := range object {
		if !known[name] {
			return fmt.Errorf("%s: unknown name %q", where, name)
		}
	}
	return nil
}

func isBytes(t reflect.Type) bool {
	return (t.Kind() == reflect.Array || t.Kind() == reflect.Slice) && t.Elem().Kind() == reflect.Uint8
}

// snake returns a Go name in snake_case: "NotAfter" is "not_after", "VRKind" is "vr_kind".
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
