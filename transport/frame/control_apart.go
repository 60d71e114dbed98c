package frame

// An Apart says that the sender does not hear, on its LAN, another VR that shares its blocks and that it has a link with: the LAN
// is split, and the sender reaches only a part of its hosts. It counts for a while, and is repeated. Body: apart 1 (0 or 1).
type Apart struct{ Apart bool }

// Append appends the control frame to b.
func (a Apart) Append(b []byte) []byte {
	b = appendFrame(b, KindApart, 1)
	if a.Apart {
		return append(b, 1)
	}
	return append(b, 0)
}

// ParseApart parses the body of an apart. It fails with ErrLength or ErrValue.
func ParseApart(body []byte) (Apart, error) {
	switch {
	case len(body) != 1:
		return Apart{}, ErrLength
	case body[0] > 1:
		return Apart{}, ErrValue
	}
	return Apart{body[0] == 1}, nil
}
