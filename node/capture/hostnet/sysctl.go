package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sysctlRoot is where the kernel shows the sysctls of the calling thread's network namespace.
const sysctlRoot = "/proc/sys/net/"

// A sysctl is one kernel parameter that we changed.
type sysctl struct {
	Path string `json:"path"` // under sysctlRoot: interface names may hold dots, so no dotted form
	Old  string `json:"old"`
	New  string `json:"new"`

	// Coupled marks a parameter that the kernel changes by itself when we change another. It is
	// restored whatever its value is by then; others only if they still have our value, so that
	// we do not undo an administrator's change.
	Coupled bool `json:"coupled,omitempty"`
}

func readSysctl(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(sysctlRoot, path))
	return strings.TrimSpace(string(b)), err
}

func writeSysctl(path, value string) error {
	err := os.WriteFile(filepath.Join(sysctlRoot, path), []byte(value), 0)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission) || isReadOnly(err):
		return fmt.Errorf("set sysctl net.%s to %s: %w: run as root; in a container, set it from outside (--sysctl)",
			strings.ReplaceAll(path, "/", "."), value, err)
	}
	return fmt.Errorf("set sysctl net.%s to %s: %w", strings.ReplaceAll(path, "/", "."), value, err)
}

// restore gives the parameter its old value. One that is no longer there needs none.
func (s sysctl) restore() error {
	now, err := readSysctl(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (now == s.Old || now != s.New && !s.Coupled) {
		return nil
	}
	return writeSysctl(s.Path, s.Old)
}

// A survey collects the sysctls that a plan needs.
type survey struct {
	plan    Plan
	known   []sysctl // what we changed before, from the journal
	noForce bool     // play a kernel without force_forwarding
	list    []sysctl
	err     error
}

// sysctls returns the parameters that the plan needs, with the values to restore: what we found
// when we first changed them, or what they are now. Parameters that were right before us are not
// in the list.
func (p Plan) sysctls(known []sysctl, noForce bool) ([]sysctl, error) {
	v := survey{plan: p, known: known, noForce: noForce}
	for _, ipv6 := range p.families() {
		switch {
		case p.Device == "" && ipv6: // the kernel forwards nothing
		case p.Device == "":
			v.reversePath() // it is for ARP too
		case ipv6:
			v.forwarding6()
		default:
			for _, name := range v.own() {
				// Forwarding per input interface is enough, and does not make the machine a router for
				// anybody else as ip_forward would.
				v.need("ipv4/conf/"+name+"/forwarding", "1")
			}
			v.reversePath()
		}
	}
	if v.err != nil {
		return nil, fmt.Errorf("read sysctl: %w", v.err)
	}
	return v.list, nil
}

// own returns the interfaces that packets of the ViNe space come in by.
func (v *survey) own() []string { return append(v.plan.devices(), v.plan.interfaces()...) }

// read returns the value of a parameter, and "" after any error.
func (v *survey) read(path string) string {
	if v.err != nil {
		return ""
	}
	now, err := readSysctl(path)
	v.err = err
	return now
}

// before returns our record of a parameter that we changed.
func (v *survey) before(path string) (sysctl, bool) {
	i := slices.IndexFunc(v.known, func(s sysctl) bool { return s.Path == path })
	if i < 0 {
		return sysctl{}, false
	}
	return v.known[i], true
}

// need adds a parameter to the list, unless it has the value and not from us.
func (v *survey) need(path, value string) {
	now := v.read(path)
	old, ours := v.before(path)
	switch {
	case v.err != nil:
	case ours && now == old.New && value == old.New:
		v.list = append(v.list, old)
	case now != value:
		v.list = append(v.list, sysctl{Path: path, Old: now, New: value})
	}
}

// reversePath makes reverse-path filtering loose where it is strict. "The max value from
// conf/{all,interface}/rp_filter is used" (Linux ip-sysctl), so loose (2) on the interface beats
// strict (1) for all. On a LAN interface where it is off it stays off.
func (v *survey) reversePath() {
	for _, name := range v.plan.devices() {
		v.need("ipv4/conf/"+name+"/rp_filter", "2")
	}
	all := v.read("ipv4/conf/all/rp_filter")
	for _, name := range v.plan.interfaces() {
		path := "ipv4/conf/" + name + "/rp_filter"
		own := v.read(path)
		if _, ours := v.before(path); ours || max(all, own) == "1" {
			v.need(path, "2")
		}
	}
}

// forwarding6 turns on IPv6 forwarding: by interface where the kernel can (force_forwarding, Linux
// 6.17), else for all of the machine.
func (v *survey) forwarding6() {
	for _, d := range v.plan.devices() {
		v.need("ipv6/conf/"+d+"/disable_ipv6", "0")
	}
	if errors.Is(v.err, fs.ErrNotExist) {
		v.err = errors.New("the ViNe space has IPv6, but the kernel has not: take IPv6 out of the space or turn it on")
		return
	}
	all := v.read("ipv6/conf/all/forwarding")
	_, ours := v.before("ipv6/conf/all/forwarding")
	switch {
	case v.err != nil:
	case all != "0" && !ours:
		// It was on before us.
	case !v.noForce && v.canForce():
		for _, name := range v.own() {
			v.need("ipv6/conf/"+name+"/force_forwarding", "1")
		}
	default:
		v.forwardAll()
	}
}

func (v *survey) canForce() bool {
	_, err := readSysctl("ipv6/conf/" + v.plan.Device + "/force_forwarding")
	return err == nil
}

// forwardAll turns the whole machine into an IPv6 router. "accept_ra: 1 Accept Router Advertisements
// if forwarding is disabled. 2 Overrule forwarding behaviour" (Linux ip-sysctl): without 2 the
// machine would lose the default route that it learnt. Setting all/forwarding sets it on every
// interface, so each one's value is kept; these stand before it in the list, and so are restored
// after it.
func (v *survey) forwardAll() {
	entries, err := os.ReadDir(filepath.Join(sysctlRoot, "ipv6/conf"))
	if err != nil {
		v.err = err
		return
	}
	for _, e := range entries {
		dir := "ipv6/conf/" + e.Name()
		if slices.Contains(append(v.plan.devices(), "all"), e.Name()) {
			continue
		}
		old, ours := v.before(dir + "/forwarding")
		if !ours {
			old = sysctl{Path: dir + "/forwarding", Old: v.read(dir + "/forwarding"), New: "1", Coupled: true}
		}
		v.list = append(v.list, old)
		if e.Name() != "default" && old.Old == "0" {
			if accept := v.read(dir + "/accept_ra"); accept == "1" || accept == "2" {
				if _, ours := v.before(dir + "/accept_ra"); ours || accept == "1" {
					v.need(dir+"/accept_ra", "2")
				}
			}
		}
	}
	v.need("ipv6/conf/all/forwarding", "1")
}
