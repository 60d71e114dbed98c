package gossip

import (
	"fmt"
	"maps"
	"slices"
)

// tagsMagic starts a member's meta bytes when they hold serf tags.
const tagsMagic = 255

// encodeTags returns the meta bytes that serf makes of tags.
func encodeTags(tags map[string]string) ([]byte, error) {
	b := appendMap([]byte{tagsMagic}, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		b = appendRaw(appendRaw(b, k), tags[k])
	}
	if len(b) > metaMax {
		return nil, fmt.Errorf("gossip: tags take %d bytes, at most %d", len(b), metaMax)
	}
	return b, nil
}
