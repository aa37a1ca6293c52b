#!/bin/sh
# Installs AWS's runtime interface client for Java from Maven Central.
#
#	install-ric.sh            installs what is missing
#	install-ric.sh --check    installs nothing, and fails if it is missing
#
# It goes to $THAW_CACHE/java; without THAW_CACHE, to what Go's os.UserCacheDir
# gives, plus /thaw/java. Prints the directory.
set -eu

VERSION=2.9.0
root="${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}/java"
dir="$root/ric-$VERSION"
echo "$dir"
[ -d "$dir" ] && exit 0
if [ "${1:-}" = --check ]; then
	echo "AWS's client for Java is not installed: run $0" >&2
	exit 1
fi
mkdir -p "$root"
work=$(mktemp -d "$root/.install.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
cat >"$work/pom.xml" <<END
<project><modelVersion>4.0.0</modelVersion><groupId>thaw</groupId><artifactId>ric</artifactId><version>1</version><dependencies>
<dependency><groupId>com.amazonaws</groupId><artifactId>aws-lambda-java-runtime-interface-client</artifactId><version>$VERSION</version></dependency>
</dependencies></project>
END
mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/lib" >&2
mv "$work/lib" "$dir"
