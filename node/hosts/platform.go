package hosts

import (
	"fmt"
	"slices"
	"strings"
)

// The systems that Script knows.
const (
	Linux   = "linux"
	MacOS   = "macos"
	Windows = "windows"
)

// Script returns what sets a host up, to be run there with all rights: a POSIX shell script for Linux and macOS,
// PowerShell for Windows. Running it again does no harm. The settings last until the host restarts, or with
// lasting until they are taken away.
func (h Setup) Script(system string, lasting bool) (string, error) {
	switch system {
	case Linux:
		return h.linux(lasting), nil
	case MacOS:
		return h.macOS(lasting), nil
	case Windows:
		return h.windows(lasting), nil
	}
	return "", fmt.Errorf("there is no script for the system %.32q: those known are %s, %s and %s", system, Linux, MacOS, Windows)
}

// linux finds out at the host who keeps its network settings, since each keeper drops what another has made.
func (h Setup) linux(lasting bool) string {
	lines := []string{"set -e"}
	lines = append(lines, h.Commands()...)
	if !lasting {
		return script(lines)
	}
	find, dev := h.interfaceCommand()
	if len(find) == 0 {
		lines = slices.Insert(lines, 1, "dev="+dev)
	}
	family := "4"
	if h.Address.Addr().Is6() {
		family = "6"
	}
	var nm, plan, networkd []string
	for _, s := range h.Space {
		nm = append(nm, fmt.Sprintf(`+ipv%s.routes "%v %v src=%v"`, family, s, h.Gateway, h.Address.Addr()))
		plan = append(plan, fmt.Sprintf("        - {to: %q, via: %q, from: %q}", s, h.Gateway, h.Address.Addr()))
		networkd = append(networkd, "", "[Route]", fmt.Sprintf("Destination=%v", s), fmt.Sprintf("Gateway=%v", h.Gateway),
			fmt.Sprintf("PreferredSource=%v", h.Address.Addr()))
	}
	lines = append(lines,
		`# So that it lasts: told to whoever keeps the settings of this interface.`,
		`con=$(nmcli -g GENERAL.CONNECTION device show "$dev" 2>/dev/null || true)`,
		`net=$(networkctl status "$dev" 2>/dev/null | sed -n 's/^ *Network File: *//p' || true)`,
		`case $net in /run/systemd/network/*-netplan-*) plan=yes ;; *) plan= ;; esac`,
		`if [ -n "$con" ]; then`,
		// What was there is taken away first: a second copy of an address is an error.
		fmt.Sprintf(`  nmcli connection modify "$con" -ipv%s.addresses %v 2>/dev/null || true`, family, h.Address),
		fmt.Sprintf(`  nmcli connection modify "$con" +ipv%s.addresses %v %s`, family, h.Address, strings.Join(nm, " ")),
		`  nmcli device reapply "$dev" >/dev/null`,
		`elif [ -n "$plan" ] && command -v netplan >/dev/null; then`,
		`  umask 077`,
		`  cat >/etc/netplan/90-vine.yaml <<EOF`,
		`network:`,
		`  version: 2`,
		`  ethernets:`,
		`    $dev:`,
		fmt.Sprintf("      addresses: [%q]", h.Address),
		`      routes:`,
	)
	lines = append(lines, plan...)
	lines = append(lines,
		`EOF`,
		`  netplan apply`,
		`elif [ -n "$net" ] && [ "$net" != n/a ]; then`,
		`  drop=/etc/systemd/network/${net##*/}.d`,
		`  mkdir -p "$drop"`,
		`  cat >"$drop/vine.conf" <<EOF`,
		`[Address]`,
		fmt.Sprintf("Address=%v", h.Address),
	)
	lines = append(lines, networkd...)
	lines = append(lines,
		`EOF`,
		`  networkctl reload`,
		`elif [ -d /etc/network/interfaces.d ] && command -v ifup >/dev/null; then`,
		`  cat >/etc/network/interfaces.d/vine <<EOF`,
		fmt.Sprintf("iface $dev %s static", map[string]string{"4": "inet", "6": "inet6"}[family]),
		fmt.Sprintf("    address %v", h.Address),
	)
	for _, s := range h.Space {
		lines = append(lines, fmt.Sprintf("    up ip route replace %v via %v dev $dev src %v", s, h.Gateway, h.Address.Addr()))
	}
	lines = append(lines,
		`EOF`,
		`else`,
		`  echo "The settings are made, but last only until the next start: neither NetworkManager, netplan, systemd-networkd nor ifupdown keeps $dev." >&2`,
		`  exit 3`,
		`fi`,
		`echo "The settings of $dev last." >&2`,
	)
	return script(lines)
}

// plist is where macOS keeps what launchd is to run.
const plist = "/Library/LaunchDaemons/mesh.vine.host.plist"

// macOS has no place for a second address of one network service but a service of its own, so what is to last is
// run again by launchd: at the start, and every minute, since a change of the network takes routes away.
func (h Setup) macOS(lasting bool) string {
	var lines []string
	dev := `"$dev"`
	if h.Interface != "" {
		lines = append(lines, "dev="+quote(h.Interface))
	} else {
		lines = append(lines, fmt.Sprintf(`dev=$(route -n get%s %v | sed -n 's/^ *interface: *//p')`, h.inet6("-"), h.Gateway),
			`[ -n "$dev" ] || { echo "no interface leads to the gateway" >&2; exit 1; }`)
	}
	gateway := h.Gateway.String()
	if h.Gateway.IsLinkLocalUnicast() && h.Gateway.Is6() {
		gateway += "%$dev"
	}
	if h.Address.Addr().Is6() {
		lines = append(lines, fmt.Sprintf("ifconfig %s inet6 %v prefixlen %d alias", dev, h.Address.Addr(), h.Address.Bits()))
	} else {
		lines = append(lines, fmt.Sprintf("ifconfig %s inet %v netmask %s alias", dev, h.Address.Addr(), mask(h.Address)))
	}
	for _, s := range h.Space {
		// `route add` fails where there is such a route: then it is changed.
		words := fmt.Sprintf(`%s -net %v "%s" -ifa %v`, h.inet6("-"), s, gateway, h.Address.Addr())
		lines = append(lines, "route -n change"+words+" >/dev/null 2>&1 || route -n add"+words)
	}
	if !lasting {
		return script(append([]string{"set -e"}, lines...))
	}
	body := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.Join(lines, "\n"))
	out := []string{"set -e", "cat >" + plist + " <<'EOF'",
		`<?xml version="1.0" encoding="UTF-8"?>`,
		`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">`,
		`<plist version="1.0">`, `<dict>`,
		`  <key>Label</key><string>mesh.vine.host</string>`,
		`  <key>RunAtLoad</key><true/>`,
		`  <key>StartInterval</key><integer>60</integer>`,
		`  <key>ProgramArguments</key>`,
		`  <array><string>/bin/sh</string><string>-c</string><string>`, body, `</string></array>`,
		`</dict>`, `</plist>`, "EOF",
		"chown root:wheel " + plist, "chmod 644 " + plist,
		"launchctl bootout system " + plist + " 2>/dev/null || true",
		"launchctl bootstrap system " + plist,
	}
	return script(out)
}

func (h Setup) inet6(dash string) string {
	if h.Address.Addr().Is6() {
		return " " + dash + "inet6"
	}
	return ""
}

// windows sets the address beside a lease of DHCP, which Windows would otherwise give up for it.
func (h Setup) windows(lasting bool) string {
	stores := "'ActiveStore'"
	if lasting {
		stores += ", 'PersistentStore'"
	}
	lines := []string{"$ErrorActionPreference = 'Stop'"}
	if h.Interface != "" {
		lines = append(lines, fmt.Sprintf("$i = (Get-NetAdapter -Name %s).ifIndex", psQuote(h.Interface)))
	} else {
		lines = append(lines, fmt.Sprintf("$i = (Find-NetRoute -RemoteIPAddress '%v' | Select-Object -First 1).InterfaceIndex", h.Gateway))
	}
	if h.Address.Addr().Is4() {
		lines = append(lines,
			"if ((Get-NetIPInterface -InterfaceIndex $i -AddressFamily IPv4).Dhcp -eq 'Enabled') {",
			"  netsh interface ipv4 set interface interface=$i dhcpstaticipcoexistence=enabled | Out-Null",
			"}")
	}
	lines = append(lines,
		fmt.Sprintf("foreach ($store in %s) {", stores),
		fmt.Sprintf("  Remove-NetIPAddress -IPAddress '%v' -PolicyStore $store -Confirm:$false -ErrorAction SilentlyContinue", h.Address.Addr()),
		fmt.Sprintf("  New-NetIPAddress -InterfaceIndex $i -IPAddress '%v' -PrefixLength %d -PolicyStore $store | Out-Null", h.Address.Addr(), h.Address.Bits()))
	for _, s := range h.Space {
		lines = append(lines,
			fmt.Sprintf("  Remove-NetRoute -DestinationPrefix '%v' -InterfaceIndex $i -PolicyStore $store -Confirm:$false -ErrorAction SilentlyContinue", s),
			fmt.Sprintf("  New-NetRoute -DestinationPrefix '%v' -InterfaceIndex $i -NextHop '%v' -PolicyStore $store | Out-Null", s, h.Gateway))
	}
	return strings.Join(append(lines, "}"), "\r\n") + "\r\n"
}

func psQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func script(lines []string) string { return strings.Join(lines, "\n") + "\n" }
