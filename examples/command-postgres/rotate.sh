#!/bin/sh
# Rotates the password of a PostgreSQL user by psql and jq, which the host has
# to have. This is a command for the rotator "command": make a function of the
# runtime provided.al2023 with the handler rotator.command, this file in its
# package, and the environment variable KEYTURN_COMMAND=./rotate.sh.
#
# No password is an argument or in the environment of a process: psql reads
# them from a file that only this user can, and from standard input.
set -eu
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/input"

# value VERSION MEMBER [DEFAULT] prints a member of a secret's version.
value() {
	jq -r --arg version "$1" --arg member "$2" --arg other "${3:-}" '.[$version][$member] // $other' "$work/input"
}

# login VERSION [ARGUMENT ...] runs psql as the user of a version.
login() {
	version=$1
	shift
	jq -r --arg version "$version" '.[$version].password | gsub("(?<c>[\\\\:])"; "\\" + .c) | "*:*:*:*:" + .' \
		"$work/input" >"$work/password"
	PGPASSFILE=$work/password PGCONNECT_TIMEOUT=5 PGSSLMODE=$(value "$version" sslmode prefer) \
		psql -X -q -t -v ON_ERROR_STOP=1 -v VERBOSITY=sqlstate -h "$(value "$version" host)" -p "$(value "$version" port 5432)" \
		-U "$(value "$version" username)" -d "$(value "$version" dbname postgres)" "$@" 2>"$work/error"
}

# fail TEXT ends the step. The last line is the error's text, and the word
# before its colon the cause.
fail() {
	cause=other
	grep -q -e 'password authentication failed' -e 28P01 "$work/error" && cause=authentication
	grep -q 'too many clients' "$work/error" && cause='too many connections'
	grep -q 'could not translate host name' "$work/error" && cause=DNS
	cat "$work/error" >&2
	echo "$cause: $1" >&2
	exit 1
}

case $(jq -r .Step "$work/input") in
createSecret) ;; # prints nothing: the current value with a fresh password
setSecret)
	login pending -c 'SELECT 1' >/dev/null && exit 0 # an earlier attempt has set it
	for version in current previous; do
		[ "$(jq -r --arg version $version '.[$version] != null' "$work/input")" = true ] || continue
		login $version -c 'SELECT 1' >/dev/null || continue
		jq -r '.pending | "SET standard_conforming_strings = on;\nALTER ROLE \"" + (.username | gsub("\""; "\"\"")) +
			"\" PASSWORD '\''" + (.password | gsub("'\''"; "'\'''\''")) + "'\'';"' "$work/input" >"$work/statement"
		login $version <"$work/statement" || fail "the password could not be set"
		echo "set the password of $(value pending username)"
		exit 0
	done
	fail "neither the pending, the current nor the previous password logs in"
	;;
testSecret)
	login pending -c 'SELECT now()' >/dev/null || fail "the pending password does not log in"
	;;
esac
