package lab

import "errors"

// ErrNotRoot: namespaces, devices and routes are root's.
var ErrNotRoot = errors.New("the benchmark makes network namespaces, which needs root")

// ErrMissing: a program or device that measuring needs is not there.
var ErrMissing = errors.New("not installed")

// ErrUnsupported: there are no network namespaces here.
var ErrUnsupported = errors.New("the benchmark runs on Linux only")
