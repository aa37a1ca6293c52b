#!/bin/sh
# Installs moto, a local server of AWS's APIs, for the tests that talk to AWS.
#
#	install-moto.sh            installs what is missing
#	install-moto.sh --check    installs nothing, and fails if it is missing
#
# It goes to a virtual environment in $THAW_CACHE/moto; without THAW_CACHE, in
# what Go's os.UserCacheDir gives, plus /thaw/moto. A second run takes no time.
# Prints the path of moto_server. Needs python3 with venv and pip.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root="${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}/moto"
venv="$root/$(cksum <"$here/requirements.txt" | cut -d ' ' -f 1)"
echo "$venv/bin/moto_server"
[ -e "$venv/.complete" ] && exit 0
if [ "${1:-}" = --check ]; then
	echo "moto is not installed: run $0" >&2
	exit 1
fi
mkdir -p "$root"
if command -v flock >/dev/null 2>&1; then
	exec 9>"$root/.lock"
	flock 9
	[ -e "$venv/.complete" ] && exit 0
fi
python=/usr/bin/python3
[ -x "$python" ] || python=python3
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/pip" --quiet --disable-pip-version-check install --requirement "$here/requirements.txt" >&2
touch "$venv/.complete"
