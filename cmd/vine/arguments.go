package main

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vine-mesh/vine/tables"
)

// takes returns the check that a command gets the arguments so named. A last name in brackets may
// be left out; one that ends in "..." stands for one or more.
func takes(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		for i, name := range names {
			if i >= len(args) && !strings.HasPrefix(name, "[") {
				return fmt.Errorf("%s is missing", strings.TrimSuffix(name, "..."))
			}
		}
		many := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		if len(args) > len(names) && !many {
			return fmt.Errorf("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

// group returns a command that only holds others.
func group(c *cobra.Command, commands ...*cobra.Command) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			text += "\ndid you mean " + strings.Join(near, " or ") + "?"
		}
		return errors.New(text)
	}
	c.SuggestionsMinimumDistance = 2
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(commands...)
	return c
}

// list defines a flag that may be given several times or with several values between commas.
func list[T any](f *pflag.FlagSet, to *[]T, name, help string, parse func(string) (T, error)) {
	f.Func(name, help, func(text string) error {
		for _, part := range strings.Split(text, ",") {
			v, err := parse(strings.TrimSpace(part))
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	})
}

// checkName refuses what no federation, VR, site or VN can be called.
func checkName(what, name string) error {
	if !tables.ValidName(name) {
		return usage("%q is not a name of a %s: use 1 to 63 of a-z, 0-9 and -", name, what)
	}
	return nil
}

// checkOptionalName is checkName for a name that may be left out.
func checkOptionalName(what, name string) error {
	if name == "" {
		return nil
	}
	return checkName(what, name)
}

// nameFrom makes a name of text, such as a machine's host name; "" if nothing is left of it.
func nameFrom(text string) string {
	text, _, _ = strings.Cut(strings.ToLower(text), ".")
	text = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-':
			return r
		case r == '_':
			return '-'
		}
		return -1
	}, text)
	return strings.Trim(text[:min(len(text), 63)], "-")
}

// parseAddr reads an address of a host.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", text)
	}
	return a.Unmap(), nil
}

func parseAddrs(texts []string) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, text := range texts {
		a, err := parseAddr(text)
		if err != nil {
			return nil, usage("%w", err)
		}
		list = append(list, a)
	}
	return list, nil
}

// parsePrefix reads a prefix, whose host bits must be zero: a typing error shows there.
func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is not a prefix such as 10.192.0.0/24", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits set behind its length; did you mean %s?", p, p.Masked())
	}
	return p, nil
}

// fingerprintRE is 20 bytes in base32: see tables.PublicKey.Fingerprint.
var fingerprintRE = regexp.MustCompile(`^[a-z2-7]{32}$`)

// parseFingerprint returns a fingerprint as programs write it, of what a user typed.
func parseFingerprint(text string) (string, error) {
	plain := strings.ToLower(strings.NewReplacer("-", "", ":", "").Replace(text))
	if !fingerprintRE.MatchString(plain) {
		return "", usage("%q is not a fingerprint: those have 32 characters of a-z and 2-7", text)
	}
	return plain, nil
}

// A text is the value of a flag with words for people. Control characters would steer the terminals of all who read them.
type text string

// textMax is what documents take (package tables).
const textMax = 256

func textVar(f *pflag.FlagSet, p *string, name, usage string) { f.Var((*text)(p), name, usage) }

func (t *text) String() string { return string(*t) }
func (*text) Type() string     { return "string" }
func (t *text) Set(s string) error {
	if len(s) > textMax {
		return fmt.Errorf("it has %d bytes, and at most %d are kept", len(s), textMax)
	}
	if clean(s) != s || !utf8.ValidString(s) {
		return errors.New("it has characters that cannot be printed")
	}
	*t = text(s)
	return nil
}
