package tomlfile

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// SetDefaults fills *T from the def tags of its fields, and panics if one is not TOML. Decode does the same for each element of an
// array of tables, where a pointer tells what is left out from what is zero.
func SetDefaults[T any](into *T) {
	if _, err := toml.Decode(string(appendFields(nil, reflect.TypeFor[T](), "", false)), into); err != nil {
		panic("tomlfile: internal error: the defaults are wrong: " + err.Error())
	}
}

// fillElements gives the elements of arrays of tables the defaults of what they leave out: empty strings and nil pointers. SetDefaults
// cannot, for there are none of them yet.
func fillElements(v reflect.Value, element bool) error {
	for i := range v.NumField() {
		f, tag := v.Field(i), v.Type().Field(i).Tag
		switch {
		case f.Kind() == reflect.Struct:
			if err := fillElements(f, element); err != nil {
				return err
			}
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			for j := range f.Len() {
				if err := fillElements(f.Index(j), true); err != nil {
					return err
				}
			}
		case element && (f.Kind() == reflect.Pointer && f.IsNil() || f.Kind() == reflect.String && f.Len() == 0):
			if _, err := toml.Decode(fmt.Sprintf("%s = %s\n", tag.Get("toml"), tag.Get("def")), v.Addr().Interface()); err != nil {
				return fmt.Errorf("tomlfile: internal error: the default of %s is wrong: %w", tag.Get("toml"), err)
			}
		}
	}
	return nil
}

// AppendDefault appends a whole file with every key, its meaning and its default.
func AppendDefault[T any](b []byte) []byte {
	return appendFields(b, reflect.TypeFor[T](), "", true)
}

// appendFields writes the fields of t as TOML. Lists of tables have no default entry: with
// comments they are shown commented out.
func appendFields(b []byte, t reflect.Type, prefix string, comments bool) []byte {
	for f := range fields(t) {
		if f.Type.Kind() == reflect.Struct || f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
			continue
		}
		if comments {
			b = fmt.Appendf(b, "# %s\n", f.Tag.Get("doc"))
		}
		b = fmt.Appendf(b, "%s = %s\n", f.Tag.Get("toml"), f.Tag.Get("def"))
	}
	for f := range fields(t) {
		name := prefix + f.Tag.Get("toml")
		switch {
		case f.Type.Kind() == reflect.Struct:
			if comments {
				b = fmt.Appendf(b, "\n# %s\n", f.Tag.Get("doc"))
			}
			b = fmt.Appendf(b, "[%s]\n", name)
			b = appendFields(b, f.Type, name+".", comments)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && comments:
			b = fmt.Appendf(b, "\n# %s\n# [[%s]]\n", f.Tag.Get("doc"), name)
			for line := range strings.Lines(string(appendFields(nil, f.Type.Elem(), "", comments))) {
				b = fmt.Appendf(b, "# %s", strings.TrimPrefix(line, "# "))
			}
		}
	}
	return b
}

func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// Keys returns every key that a file may hold, dotted.
func Keys[T any]() []string {
	var keys []string
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for f := range fields(t) {
			key := prefix + f.Tag.Get("toml")
			keys = append(keys, key)
			ft := f.Type
			if ft.Kind() == reflect.Slice {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				walk(ft, key+".")
			}
		}
	}
	walk(reflect.TypeFor[T](), "")
	return keys
}
