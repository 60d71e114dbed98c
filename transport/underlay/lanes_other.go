//go:build !linux

package underlay

import "errors"

// Beside fails outside Linux, if count is not zero.
func (s *UDP) Beside(count int) ([]Socket, error) {
	if count == 0 {
		return nil, nil
	}
	return nil, errors.ErrUnsupported
}

// Spread reports false outside Linux.
func (s *UDP) Spread() bool { return false }
