package vr

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Kind says whether others can reach a VR.
type Kind uint8

const (
	// Auto as a declared kind leaves the finding out to the VR. No Verdict has it.
	Auto Kind = iota
	// Regular VRs can be reached from outside.
	Regular
	// Limited VRs can only dial out.
	Limited
)

// String returns the word of link records and of the configuration.
func (k Kind) String() string {
	switch k {
	case Regular:
		return "regular"
	case Limited:
		return "limited"
	}
	return "auto"
}

// A Behaviour is one of the three that RFC 4787 names for mapping (Section 4.1) and for filtering
// (Section 5).
type Behaviour uint8

// The behaviours, from the most open to the most closed.
const (
	Unknown Behaviour = iota
	EndpointIndependent
	AddressDependent
	AddressAndPortDependent
)

// String returns the name in RFC 4787, in lower case.
func (b Behaviour) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	case AddressAndPortDependent:
		return "address-and-port-dependent"
	}
	return "unknown"
}

// A Finding is a behaviour and how sure it is.
type Finding struct {
	Behaviour
	// Confirmed: one liar cannot have made us believe it.
	Confirmed bool
}

// String returns the behaviour, with a mark if it is not confirmed.
func (f Finding) String() string {
	if f.Confirmed || f.Behaviour == Unknown {
		return f.Behaviour.String()
	}
	return f.Behaviour.String() + " (unconfirmed)"
}

// A Verdict is what a VR knows of itself.
type Verdict struct {
	Kind Kind // Regular or Limited
	// Confirmed: the operator says so, or a dial-back of which one liar cannot have made us believe it.
	Confirmed bool
	// Endpoints are where others may try to reach us, best first, at most 8.
	Endpoints []netip.AddrPort
	// Translated: others see us at an address that is not ours.
	Translated bool
	// Mapping and Filtering are of what stands between us and the others: a translator, or a firewall.
	Mapping, Filtering Finding
	Draining           bool
	// Reason is one short sentence for people.
	Reason string
}

func (v Verdict) equal(w Verdict) bool {
	return v.Kind == w.Kind && v.Confirmed == w.Confirmed && slices.Equal(v.Endpoints, w.Endpoints) &&
		v.Translated == w.Translated && v.Mapping == w.Mapping && v.Filtering == w.Filtering &&
		v.Draining == w.Draining && v.Reason == w.Reason
}

// String returns the verdict in a line, for logs.
func (v Verdict) String() string {
	words := []string{v.Kind.String()}
	if !v.Confirmed {
		words = append(words, "(unconfirmed)")
	}
	if v.Draining {
		words = append(words, "draining")
	}
	words = append(words, "at")
	for _, at := range v.Endpoints {
		words = append(words, at.String())
	}
	if v.Translated {
		words = append(words, "translated")
	}
	return fmt.Sprintf("%s; mapping %v, filtering %v: %s", strings.Join(words, " "), v.Mapping, v.Filtering, v.Reason)
}
