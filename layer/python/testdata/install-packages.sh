#!/bin/sh
# Installs boto3 for the tests of the Python hook: the package that most Lambda
# functions in Python import, and a large one.
#
#	install-packages.sh            installs what is missing
#	install-packages.sh --check    installs nothing, and fails if it is missing
#
# It goes to $THAW_CACHE/python; without THAW_CACHE, to what Go's os.UserCacheDir
# gives, plus /thaw/python. Prints the directory.
set -eu

BOTO3="boto3==1.43.11 botocore==1.43.11 s3transfer==0.17.0 jmespath==1.1.0 python-dateutil==2.9.0.post0 six==1.17.0 urllib3==2.7.0"

python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3)
root="${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}/python"
dir="$root/boto3-1.43.11-$("$python" -c 'import sys; print(sys.implementation.cache_tag)')"
echo "$dir"
[ -e "$dir/boto3/__init__.py" ] && exit 0
if [ "${1:-}" = --check ]; then
	echo "boto3 is not installed: run $0" >&2
	exit 1
fi
mkdir -p "$root"
work=$(mktemp -d "$root/.install.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
# shellcheck disable=SC2086 # several requirements
"$python" -m pip install --quiet --disable-pip-version-check --no-input --no-cache-dir \
	--root-user-action=ignore --no-deps --target "$work/boto3" $BOTO3 >&2
rm -rf "$dir"
mv "$work/boto3" "$dir"
