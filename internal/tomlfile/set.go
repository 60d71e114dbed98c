package tomlfile

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Set returns the text of a file with one key changed; comments are lost. The key is dotted; an element of an array of tables is called by
// its name: group.campus.count is that of the [[group]] whose name is campus. The value is TOML, or else taken as a string.
func Set(text, key, value string) (string, error) {
	var file map[string]any
	if _, err := toml.Decode(text, &file); err != nil {
		return "", err
	}
	var one struct{ V any }
	if _, err := toml.Decode("V = "+value+"\n", &one); err != nil {
		one.V = value
	}
	parts := strings.Split(key, ".")
	at := file
	for i := 0; i < len(parts)-1; i++ {
		switch next := at[parts[i]].(type) {
		case map[string]any:
			at = next
		case []map[string]any:
			i++
			found := false
			for _, element := range next {
				if element["name"] == parts[i] {
					at, found = element, true
				}
			}
			if !found || i == len(parts)-1 {
				return "", fmt.Errorf("there is no key %q: no %s is called %s", key, parts[i-1], parts[i])
			}
		case nil:
			table := map[string]any{}
			at[parts[i]] = table
			at = table
		default:
			return "", fmt.Errorf("there is no key %q: %s is no table", key, parts[i])
		}
	}
	at[parts[len(parts)-1]] = one.V
	var out bytes.Buffer
	if err := toml.NewEncoder(&out).Encode(file); err != nil {
		return "", fmt.Errorf("set %s: %w", key, err)
	}
	return out.String(), nil
}
