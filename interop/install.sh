#!/usr/bin/env bash
# Installs the foreign programs that the tests (test), the demos (demo), the faults
# (database: only PostgreSQL) or the comparison (peers: other servers) need, when they are missing: Debian
# packages, and the npm packages of package.json into interop/node_modules. No daemon is started.
set -euo pipefail
cd "$(dirname "$0")"
what=${1:-test}

need=()
want() { # program, packages
	[ -x "$(command -v "$1" || true)" ] || need+=("${@:2}")
}
if [ "$what" = peers ] || [ "$what" = test ]; then
	want kamailio kamailio
	ls /usr/lib/*/kamailio/modules/presence_xml.so >/dev/null 2>&1 || need+=(kamailio-presence-modules kamailio-xml-modules)
	want ejabberdctl ejabberd
	want prosody prosody
fi
if [ "$what" != database ] && [ "$what" != peers ]; then
	want sipp sip-tester
	want baresip baresip-core
	want curl curl
	{ [ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import slixmpp' 2>/dev/null; } || need+=(python3 python3-slixmpp)
fi
[ "$what" = peers ] || [ "$what" = demo ] || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need+=(postgresql)
if [ "$what" = test ]; then
	ls /usr/lib/*/liblinphone.so.* >/dev/null 2>&1 || need+=(linphone-cli)
	want profanity profanity
	want mcabber mcabber
	want finch finch
	want chromium chromium
	want node nodejs
	want npm npm
fi
if [ ${#need[@]} -gt 0 ]; then
	[ -x "$(command -v apt-get || true)" ] || { echo "this is no Debian; install what these of its packages have: ${need[*]}" >&2; exit 1; }
	echo "installing Debian packages: ${need[*]}"
	run=()
	if [ "$(id -u)" != 0 ]; then
		[ -x "$(command -v sudo || true)" ] || { echo "not root and no sudo: install these packages yourself" >&2; exit 1; }
		run=(sudo)
	fi
	export DEBIAN_FRONTEND=noninteractive
	if [[ " ${need[*]} " = *" postgresql "* ]]; then
		# The tests make clusters of their own: no service is to be made and started.
		"${run[@]}" mkdir -p /etc/postgresql-common/createcluster.d
		echo 'create_main_cluster = false' | "${run[@]}" tee /etc/postgresql-common/createcluster.d/no-main-cluster.conf >/dev/null
	fi
	# Servers that Debian would start at once and at each boot: ours are made by who needs them.
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		printf '#!/bin/sh\nexit 101\n' | "${run[@]}" tee /usr/sbin/policy-rc.d >/dev/null
		"${run[@]}" chmod +x /usr/sbin/policy-rc.d
		trap '"${run[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	"${run[@]}" apt-get update -qq
	"${run[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
	for s in kamailio ejabberd prosody; do
		if [[ " ${need[*]} " = *" $s "* ]] && [ -d /run/systemd/system ]; then
			"${run[@]}" systemctl disable --quiet "$s"
		fi
	done
fi
if [ "$what" = test ] && ! npm ls --silent >/dev/null 2>&1; then
	echo "installing: npm packages of interop/package.json"
	npm install --no-package-lock --no-audit --no-fund --ignore-scripts --silent
fi
