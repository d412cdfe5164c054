#!/bin/sh
# remove.sh STEP UNITS FILES DIRECTORIES: takes away what the step STEP put here: its units are stopped, the files its marker
# names and the FILES given go, then the DIRECTORIES. The last three are lists of words. Nothing there is fine.
set -u
step=$1 units=$2 more=$3 directories=$4
marker=/var/lib/hybridctl/steps/$step
failed=''
say() { echo "remove: $*" >&2; failed=y; }

for u in $units; do
	systemctl disable -q --now "$u" 2>/dev/null || true
	systemctl is-active -q "$u" && say "the unit $u still runs"
done
if [ "$step" = runtime ]; then
	rm -f "${marker%/*}/images" # they go with containerd's store
	# shims outlive containerd on purpose; without it nobody ends them
	for e in /proc/[0-9]*/exe; do
		case $(readlink "$e" 2>/dev/null) in
		/usr/local/bin/containerd-shim-runc-v2*) kill -9 "$(basename "$(dirname "$e")")" 2>/dev/null ;;
		esac
	done
	awk '{print $2}' /proc/mounts | grep -E '^/(run|var/lib)/containerd' | sort -r | while read -r m; do umount "$m" 2>/dev/null || umount -l "$m"; done
fi
# only what is under a directory of ours-to-write: a marker is a text file that somebody may have edited
sed -n 's/^file [^ ]* [^ ]* [^ ]* [^ ]* \(\/.*\)/\1/p' "$marker" 2>/dev/null | while read -r f; do
	case $f in
	*/../* | */..) ;;
	/usr/local/bin/* | /usr/local/sbin/* | /opt/cni/bin/* | /etc/containerd/* | /etc/systemd/system/* | /etc/modules-load.d/* | /etc/sysctl.d/*) rm -f "$f" ;;
	esac
done
for f in $more; do rm -f "$f" || say "$f could not be removed"; done
for d in $directories; do
	[ ! -e "$d" ] || rm -rf "$d" || say "$d could not be removed"
done
rmdir /etc/containerd/certs.d /etc/containerd /etc/systemd/system/kubelet.service.d 2>/dev/null
[ -z "$units" ] || systemctl daemon-reload
[ -z "$units" ] || systemctl reset-failed 2>/dev/null
rm -f "$marker"
[ "$step" != os ] || rm -rf /var/lib/hybridctl /run/hybridctl
[ -z "$failed" ]
