package control

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// tagsMax bounds the entity tags in one header.
const tagsMax = 16

// writeAnswer writes a document. What is read has an entity tag (RFC 9110, Section 8.8.3): a hash of exactly these bytes,
// and of a VN its ID and version in front. Who has them already gets 304.
func writeAnswer(w http.ResponseWriter, r *http.Request, status int, document any) {
	body, err := encode(document)
	if err != nil || status != http.StatusOK || r.Method != http.MethodGet && r.Method != http.MethodHead {
		writeJSON(w, status, typeJSON, document)
		return
	}
	sum := sha256.Sum256(body)
	tag := base64.RawURLEncoding.EncodeToString(sum[:12])
	if m, ok := document.(map[string]any); ok {
		if vn, ok := m["vn"].(VN); ok {
			tag = versionTag(vn) + "-" + tag
		}
	}
	tag = `"` + tag + `"`
	w.Header().Set("ETag", tag)
	if tags, ok := parseTags(r.Header.Values("If-None-Match")); ok {
		for _, t := range tags {
			if t == "*" || strings.TrimPrefix(t, "W/") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
	}
	write(w, status, typeJSON, body)
}

// versionTag is what a VN's entity tag begins with.
func versionTag(vn VN) string { return fmt.Sprintf("%s.%d", vn.ID, vn.Version) }

// parseTags reads entity tags: "*", or a list. ok is false if there are none, or they are malformed or too many.
func parseTags(lines []string) (tags []string, ok bool) {
	rest := strings.TrimSpace(strings.Join(lines, ","))
	if rest == "*" {
		return []string{"*"}, true
	}
	for rest != "" && len(tags) < tagsMax {
		start := 0
		if strings.HasPrefix(rest, "W/") {
			start = 2
		}
		if !strings.HasPrefix(rest[start:], `"`) {
			return nil, false
		}
		end := strings.IndexByte(rest[start+1:], '"')
		if end < 0 {
			return nil, false
		}
		end += start + 2
		tags = append(tags, rest[:end])
		rest = strings.TrimSpace(rest[end:])
		if rest == "" {
			break
		}
		if !strings.HasPrefix(rest, ",") {
			return nil, false
		}
		rest = strings.TrimSpace(rest[1:])
	}
	return tags, rest == "" && len(tags) > 0
}

// checkMatch holds a request document against the VN versions in If-Match, if there are any: one of them must be
// what the tables of this VR have now. A hash behind the version counts for nothing: it differs from VR to VR.
//
// It is a guard against mistakes, not against races: another request may already be on its way to the authority.
func checkMatch(router Router, r *http.Request) error {
	lines := r.Header.Values("If-Match")
	if len(lines) == 0 {
		return nil
	}
	tags, ok := parseTags(lines)
	if !ok {
		return plain(http.StatusBadRequest, "If-Match must hold entity tags of VNs")
	}
	if tags[0] == "*" {
		return nil
	}
	now := ""
	for _, t := range tags {
		version, _, _ := strings.Cut(strings.Trim(t, `"`), "-")
		id, _, _ := strings.Cut(version, ".")
		if !strings.HasPrefix(id, "vn") || strings.HasPrefix(t, "W/") {
			return plain(http.StatusBadRequest, "%.64q in If-Match is no entity tag of a VN", t)
		}
		vn, err := router.VN(r.Context(), id)
		if err == nil && versionTag(vn) == version {
			return nil
		}
		if err == nil {
			now = fmt.Sprintf("; the VN %s is at version %d now", vn.Name, vn.Version)
		}
	}
	return fmt.Errorf("%w: no version named in If-Match is current here%s: look again and ask anew", ErrStale, now)
}
