package hostnet

import "slices"

func (s state) empty() bool {
	return len(s.Guards)+len(s.Sysctls)+len(s.Addresses)+len(s.Routes)+len(s.Queueings)+len(s.Rules) == 0
}

// union returns s and then what only t has. Of a sysctl that both have, s has the old value.
func (s state) union(t state) state {
	return state{
		Guards:    join(s.Guards, t.Guards),
		Sysctls:   slices.Concat(s.Sysctls, unknown(t.Sysctls, s.Sysctls)),
		Addresses: join(s.Addresses, t.Addresses),
		Routes:    join(s.Routes, t.Routes),
		Queueings: join(s.Queueings, t.Queueings),
		Rules:     join(s.Rules, t.Rules),
	}
}

// without returns what s has and t has not.
func (s state) without(t state) state {
	return state{
		Guards:    subtract(s.Guards, t.Guards),
		Sysctls:   unknown(s.Sysctls, t.Sysctls),
		Addresses: subtract(s.Addresses, t.Addresses),
		Routes:    subtract(s.Routes, t.Routes),
		Queueings: subtract(s.Queueings, t.Queueings),
		Rules:     subtract(s.Rules, t.Rules),
	}
}

func join[T comparable](a, b []T) []T { return slices.Concat(a, subtract(b, a)) }

func subtract[T comparable](a, b []T) []T {
	var rest []T
	for _, v := range a {
		if !slices.Contains(b, v) {
			rest = append(rest, v)
		}
	}
	return rest
}

// unknown returns the sysctls of a whose path b does not have.
func unknown(a, b []sysctl) []sysctl {
	var rest []sysctl
	for _, v := range a {
		if !slices.ContainsFunc(b, func(w sysctl) bool { return v.Path == w.Path }) {
			rest = append(rest, v)
		}
	}
	return rest
}
