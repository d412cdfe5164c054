#!/bin/sh
# probe-files.sh STAGING: which of the files on standard input ("<sha256> <size> <path>" a line) are here already.
# Prints "same <sha256>" or "need <sha256>" a line each. Makes the staging directory for the login user.
set -eu
staging=$1
umask 022
login=${SUDO_USER:-${DOAS_USER:-$(id -un)}}
# What another login user left there is his: he may still have it open.
[ ! -e "$staging" ] || [ "$(stat -c %U "$staging")" = "$login" ] || rm -rf "$staging"
mkdir -p "$staging"
chown "$login" "$staging"
chmod 700 "$staging"
sum() { [ -f "$1" ] && [ ! -L "$1" ] && [ "$(stat -c %s "$1")" = "$2" ] && sha256sum "$1" | cut -d' ' -f1; }
while read -r sha size path; do
	if [ "$(sum "$path" "$size" || true)" = "$sha" ]; then
		echo "same $sha"
	else
		echo "need $sha"
	fi
done
