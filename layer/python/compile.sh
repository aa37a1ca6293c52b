#!/bin/sh
# Compiles the hook for every Python 3.9 or later on this machine, into
# __pycache__, which is committed. Without it Python would compile the sources in
# each cold start, because /opt cannot be written: 2 ms, which is most of what the
# hook costs. Python takes a file from there without looking at the source
# (an "unchecked hash"), and compiles the source where there is none of its
# version: a version that is missing here costs these 2 ms, and nothing else.
#
# A test holds what is committed against the sources, whatever version it is for.
set -eu
cd "$(dirname "$0")"
rm -rf __pycache__
# Those in PATH, and those of pyenv, whether they are in PATH or not.
for dir in $(echo "$PATH" | tr : ' ') "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin; do
	for python in "$dir"/python3.[0-9] "$dir"/python3.[0-9][0-9]; do
		[ -x "$python" ] || continue
		"$python" -I - <<'END' 2>/dev/null || true # a launcher without its Python
import py_compile, sys
if sys.version_info >= (3, 9) and sys.version_info.releaselevel == "final":
    for name in "sitecustomize", "thaw_profile", "thaw_coverage":
        py_compile.compile(
            name + ".py", dfile="/opt/thaw/python/" + name + ".py", doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
END
	done
done
sha256sum ./*.py >__pycache__/sources
ls __pycache__
