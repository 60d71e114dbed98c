#!/usr/bin/env bash
# A tour of managing a federation, in five minutes of reading: two sites on this machine (Linux), no root, nothing to configure.
#
#	bash docs/tour.sh
#
# Every command is shown before it runs. The tour stops at the first one that does not do what is told here. What it makes is in a
# directory of its own, which goes at the end. VINE names the program, default vine, or go run in this repository.
set -euo pipefail
if [ -z "${VINE:-}" ]; then
	if command -v vine >/dev/null; then
		VINE=vine
	else
		echo "building vine"
		VINE=$(mktemp -d)/vine
		(cd "$(dirname "$0")/.." && go build -o "$VINE" ./cmd/vine)
	fi
fi
dir=$(mktemp -d)
running=()
end() {
	code=$?
	for pid in "${running[@]}"; do
		kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
	done
	rm -rf "$dir"
	[ "$code" = 0 ] || echo "the tour stops: what is above was not as told" >&2
	exit "$code"
}
trap end EXIT

say() { printf '\n# %s\n' "$*"; }

# at SITE WORDS... runs vine at a site, as its administrator would there. The output is kept for `shows`.
at() {
	local site=$1
	shift
	printf '%s$ vine %s\n' "$site" "$*"
	"$VINE" --config "$dir/$site.toml" "$@" >"$dir/out" 2>"$dir/err" </dev/null || {
		sed 's/^/    /' "$dir/out" "$dir/err"
		return 1
	}
	sed 's/^/    /' "$dir/out"
}

# fails SITE WORDS... is at, of what must be refused.
fails() {
	if at "$@"; then
		echo "this should have been refused" >&2
		return 1
	fi
}

# shows TEXT stops the tour unless the last command has printed it, on either output.
shows() { grep -q -- "$1" "$dir/out" "$dir/err" || {
	echo "it does not say: $1" >&2
	return 1
}; }

# address is that of the host that was just added.
address() { awk '$1 == "address" { print $2 }' "$dir/out"; }

# key is the public key that was just shown.
key() { awk '$1 == "key" { print $2 }' "$dir/out"; }

# patiently COMMAND... waits up to 20 s for what takes a moment.
patiently() {
	for _ in $(seq 100); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.2
	done
	"$@"
}

# up SITE runs the site's VR beside us.
up() {
	printf '%s$ vine up &\n' "$1"
	"$VINE" --config "$dir/$1.toml" up 2>"$dir/$1.log" &
	running+=($!)
	patiently "$VINE" --config "$dir/$1.toml" status || { cat "$dir/$1.log"; return 1; }
}

# A loopback address for each site, other ones in each tour.
net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))
for site in tokyo:1 osaka:2; do
	cat >"$dir/${site%:*}.toml" <<-CONFIG
		state = "$dir/${site%:*}"
		control = "$dir/${site%:*}.sock"
		[underlay]
		listen = "$net.${site#*:}:8463"
		[capture]
		kind = "none" # no root: a VR that gossips and decides, without packets
		[gossip]
		rpc = ""
	CONFIG
done
(umask 077 && echo "a passphrase for the root key" >"$dir/passphrase")

say "Tokyo founds a federation. Its VR holds the authority key; the root key goes into a safe."
at tokyo init --name grid --vr tokyo --site tokyo --passphrase-file "$dir/passphrase" --root-key "$dir/root.key"
up tokyo

say "Osaka joins, knowing one address and a ticket that counts once."
at tokyo -q invite --site osaka
cp "$dir/out" "$dir/ticket"
at osaka join "$net.1" --name osaka --invite "@$dir/ticket" --timeout 20s
up osaka
patiently "$VINE" --config "$dir/tokyo.toml" links
at tokyo vrs
shows osaka
say "The ticket is used up."
cat >"$dir/thief.toml" <<-CONFIG
	state = "$dir/thief"
	[underlay]
	listen = "$net.3:8463"
CONFIG
fails thief join "$net.1" --name thief --invite "@$dir/ticket" --timeout 3s

say "Hosts get addresses from the block of their VR, and need no software: host setup prints what one of them runs."
at tokyo host add desk
desk=$(address)
at tokyo host add lamp
lamp=$(address)
at osaka host add oven
oven=$(address)
at tokyo host setup desk --gateway 192.168.1.2
shows "ip route"

say "A virtual network, and people: Mary administers it, Ken the site of Osaka. Whoever has a role is a key; there are no accounts."
at tokyo vn plan create blue --host "$desk"
at tokyo vn create blue --host "$desk"
at tokyo user key --user "$dir/mary.key"
at tokyo user add mary --key "$(key)" --role vna --scope vn/blue
at osaka user key --user "$dir/ken.key"
at tokyo user add ken --key "$(key)" --role sa --scope site/osaka --until 90d

say "Mary wants a host of Osaka in it. A site is asked unless it has said otherwise, so the request waits until Ken agrees."
at tokyo vn join blue "$oven" --user "$dir/mary.key" --wait 0
request=$(awk '$1 == "request" { print $2 }' "$dir/out")
patiently sh -c "'$VINE' --config '$dir/osaka.toml' pending | grep -q osaka"
at osaka pending
at osaka consent "$request" --user "$dir/ken.key"
patiently sh -c "'$VINE' --config '$dir/osaka.toml' vn show blue | grep -q '$oven'"
at osaka vn show blue
shows "$desk"
at osaka site set osaka --consent open --user "$dir/ken.key"

say "Changes: plan first, then do it. Every VR changes at once, and every VR has the signed log."
at tokyo vn create green --host "$lamp"
at tokyo vn plan merge blue green
shows "$lamp"
at tokyo vn merge blue green --yes
at tokyo vn split blue --into red "$lamp"
at tokyo vn leave blue "$oven"
at tokyo vn log blue
shows merge
at tokyo vn compare blue 2
at tokyo vn restore blue 2
at tokyo vn show blue
shows "$oven"

say "Middleware gets a part of your rights for an hour, without asking anybody. It cannot do more than that."
at tokyo user delegate --scope vn/blue --for 1h --out "$dir/job.key" --user "$dir/mary.key"
at tokyo vn leave blue "$oven" --user "$dir/job.key"
fails tokyo vn shutdown red --yes --user "$dir/job.key"
shows refused

say "The authority on a machine without a network: what is asked for goes there by file, and comes back signed."
kill "${running[0]}" && wait "${running[0]}" || true
mv "$dir/tokyo/authority.key" "$dir/authority.key"
up tokyo
at osaka host add kettle
kettle=$(address)
at osaka vn join blue "$kettle" --user "$dir/mary.key" --wait 0
patiently sh -c "'$VINE' --config '$dir/tokyo.toml' pending | grep -q vn.join"
at tokyo authority export --out "$dir/asked.vine"
at tokyo authority pending "$dir/asked.vine" --key "$dir/authority.key"
at tokyo authority sign "$dir/asked.vine" --key "$dir/authority.key" --out "$dir/signed.vine"
at tokyo authority import "$dir/signed.vine"
patiently sh -c "'$VINE' --config '$dir/osaka.toml' vn show blue | grep -q '$kettle'"
at osaka vn show blue

say "What is wrong, what happened, what it costs."
at tokyo alerts
at tokyo metrics
shows vine_links
at osaka user list

say "A VR that is out of order is disabled; one that was stolen is revoked, for good. Tokyo has the authority key again."
mv "$dir/authority.key" "$dir/tokyo/authority.key"
kill "${running[2]}" && wait "${running[2]}" || true
up tokyo
at tokyo disable osaka
at tokyo enable osaka
at tokyo revoke osaka --reason stolen --yes
at tokyo vrs
if grep -q osaka "$dir/out"; then
	echo "osaka is still there" >&2
	exit 1
fi

say "That was it. Nothing is left behind."
