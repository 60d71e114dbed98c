package gossip

import (
	"fmt"
	"maps"
	"slices"
)

// tagsMagic starts a member's meta bytes when they hold serf tags.
const tagsMagic = 255

// TagBytesMax bounds TagBytes of a member's tags: what memberlist lets a member say of itself. serf panics
// above it.
const TagBytesMax = metaMax

// TagBytes returns how many bytes tags take when they are encoded.
func TagBytes(tags map[string]string) int { return len(appendTags(nil, tags)) }

func appendTags(b []byte, tags map[string]string) []byte {
	b = appendMap(append(b, tagsMagic), len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		b = appendRaw(appendRaw(b, k), tags[k])
	}
	return b
}

// encodeTags returns the meta bytes that serf makes of tags.
func encodeTags(tags map[string]string) ([]byte, error) {
	b := appendTags(nil, tags)
	if len(b) > metaMax {
		return nil, fmt.Errorf("gossip: tags take %d bytes, at most %d", len(b), metaMax)
	}
	return b, nil
}
