//go:build !linux

package hostnet

import (
	"errors"
	"net/netip"

	"github.com/vine-mesh/vine/node/hosts"
)

var errNotLinux = errors.New("set up the host network: only Linux is supported; use the user-space capture")

// A Setup is the changes that Apply made. There are none on this system.
type Setup struct{}

// Apply fails: only Linux is supported.
func Apply(Plan, string) (*Setup, error) { return nil, errNotLinux }

// Update fails: only Linux is supported.
func (*Setup) Update(Plan) error { return errNotLinux }

// Close does nothing.
func (*Setup) Close() error { return nil }

// Teardown fails: only Linux is supported.
func Teardown(string) error { return errNotLinux }

// Apply fails: only Linux is supported.
func (h Host) Apply() error { return errNotLinux }

// Remove fails: only Linux is supported.
func (h Host) Remove() error { return errNotLinux }

// Neighbour fails: only Linux is supported.
func Neighbour(string, netip.Addr) (hosts.MAC, error) { return "", errNotLinux }

// Own fails: only Linux is supported.
func Own(string, []netip.Addr, bool) error { return errNotLinux }

func isReadOnly(error) bool { return false }
