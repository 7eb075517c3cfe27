#!/usr/bin/env bash
# Installs the foreign programs that the tests and the demo talk to, when they
# are missing: Debian packages, and npm packages into interop/node_modules.
# Usage: interop/install.sh test|demo
set -euo pipefail
cd "$(dirname "$0")"

need=()
want() { # program, package
	[ -x "$(command -v "$1" || true)" ] || need+=("$2")
}
want sipp sip-tester
want baresip baresip-core
[ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import slixmpp' 2>/dev/null || need+=(python3-slixmpp)
if [ "${1:-test}" = test ]; then
	want chromium chromium
	want profanity profanity
	[ -x "$(command -v node || true)" ] || need+=(nodejs npm)
fi
if [ ${#need[@]} -gt 0 ]; then
	echo "installing: ${need[*]}"
	run=()
	[ "$(id -u)" = 0 ] || run=(sudo)
	export DEBIAN_FRONTEND=noninteractive
	"${run[@]}" apt-get update -qq
	"${run[@]}" apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi
if [ "${1:-test}" = test ] && ! npm ls --silent >/dev/null 2>&1; then
	echo "installing: npm packages of interop/package.json"
	npm install --no-package-lock --no-audit --no-fund --silent
fi
