//go:build !linux

package poll

import "errors"

// An FD is nothing outside Linux.
type FD struct{}

// A Set is nothing outside Linux.
type Set struct{}

// NewSet fails outside Linux.
func NewSet(...*FD) (*Set, error) { return nil, errors.ErrUnsupported }

// Each fails outside Linux.
func (s *Set) Each(func() bool) error { return errors.ErrUnsupported }

// Close does nothing.
func (s *Set) Close() {}
