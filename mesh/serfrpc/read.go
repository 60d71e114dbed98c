package serfrpc

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
)

// patternMax bounds a client's regular expression.
const patternMax = 256

// filterMembers returns the members that match, as "serf members -name" and so on ask.
func filterMembers(all []Member, f filteredRequest) ([]Member, error) {
	match := func(pattern string) (func(string) bool, error) {
		if len(pattern) > patternMax {
			return nil, errors.New("pattern is too long")
		}
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return nil, fmt.Errorf("pattern: %w", err)
		}
		return re.MatchString, nil
	}
	tags := make(map[string]func(string) bool)
	for tag, pattern := range f.Tags {
		m, err := match(pattern)
		if err != nil {
			return nil, err
		}
		tags[tag] = m
	}
	anything := func(string) bool { return true }
	name, status := anything, anything
	var err error
	if f.Name != "" {
		if name, err = match(f.Name); err != nil {
			return nil, err
		}
	}
	if f.Status != "" {
		if status, err = match(f.Status); err != nil {
			return nil, err
		}
	}
	var some []Member
next:
	for _, m := range all {
		if !name(m.Name) || !status(m.Status) {
			continue
		}
		for tag, match := range tags {
			if !match(m.Tags[tag]) {
				continue next
			}
		}
		some = append(some, m)
	}
	return some, nil
}

// stats returns the sections of "serf info".
func (s *Server) stats() map[string]map[string]string {
	name := s.Serf.Name()
	sections := map[string]map[string]string{
		"agent": {"name": name},
		"runtime": {
			"os":         runtime.GOOS,
			"arch":       runtime.GOARCH,
			"version":    runtime.Version(),
			"max_procs":  strconv.Itoa(runtime.GOMAXPROCS(0)),
			"goroutines": strconv.Itoa(runtime.NumGoroutine()),
			"cpu_count":  strconv.Itoa(runtime.NumCPU()),
		},
		"serf": s.Serf.Stats(),
		"tags": {},
	}
	for _, m := range s.Serf.Members() {
		if m.Name == name {
			sections["tags"] = m.Tags
		}
	}
	if s.Vine != nil {
		sections["vine"] = s.Vine()
	}
	return sections
}
