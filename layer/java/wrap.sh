# Sourced by ../wrapper: with THAW_PROFILE=deep the JVM logs which class it loads from where. What is
# known without that needs nothing here (README.md).
if [ "${THAW_PROFILE:-on}" = deep ]; then
	thaw_log=${THAW_PROFILE_DIR:-/tmp/.thaw}
	case $thaw_log in
	*[!A-Za-z0-9/._-]*) thaw_log= ;; # it would not survive as a part of an option
	esac
	# A JVM that cannot open its log does not start.
	if [ -n "$thaw_log" ] && { [ -d "$thaw_log" ] || mkdir -m 700 "$thaw_log" 2>/dev/null; } && (: >"$thaw_log/classes-$$.log") 2>/dev/null; then
		thaw_java=$1
		shift
		set -- "$thaw_java" "-Xlog:class+load=info:file=$thaw_log/classes-$$.log:uptimenanos,timemillis:filecount=0" "$@"
		unset thaw_java
	fi
	unset thaw_log
fi
