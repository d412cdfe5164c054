#!/bin/sh
# pull.sh REF DIGEST PLATFORM: our containerd gets the image of DIGEST under the name REF (repository:tag), from where /etc/containerd/certs.d says.
# Standard input holds hosts.toml files of registries that want a login, a line each: DIRECTORY BASE64. They are on a tmpfs, for root alone, while
# this runs. What the registry answered is on standard error: exit status 78 when it did not give the image, 79 when that is for another platform.
set -eu
ref=$1 by=${1%:*}@$2 platform=$3
umask 077
mkdir -p /run/hybridctl
for left in /run/hybridctl/pull.*.*; do # of one that was killed
	pid=${left#*/pull.} pid=${pid%.*}
	[ -d "/proc/$pid" ] || rm -rf "$left"
done
hosts=$(mktemp -d /run/hybridctl/pull.$$.XXXXXX)
trap 'rm -rf "$hosts"' EXIT
trap 'exit 1' HUP INT PIPE TERM
for d in /etc/containerd/certs.d/*; do [ ! -d "$d" ] || ln -s "$d" "$hosts/${d##*/}"; done
while read -r name body; do
	rm -f "$hosts/$name"
	mkdir "$hosts/$name"
	printf %s "$body" | base64 -d >"$hosts/$name/hosts.toml"
done
containers() { /usr/local/bin/ctr -n k8s.io images "$@"; }

if ! said=$(containers pull --local --hosts-dir "$hosts" "$by" 2>&1 >/dev/null); then
	printf '%s\n' "$said" | sed '/^[[:space:]]*$/d' | tail -n 1 >&2
	exit 78
fi
containers tag --force "$by" "$ref" >/dev/null
containers rm "$by" >/dev/null # the image stays, under its name
case " $(containers ls "name==$ref" | tail -n +2) " in
*[\ ,]"$platform"[\ ,/]*) ;;
*)
	containers rm "$ref" >/dev/null
	echo "it is not for $platform" >&2
	exit 79
	;;
esac
