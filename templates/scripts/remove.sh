#!/bin/sh
# remove.sh STEP UNITS FILES DIRECTORIES: takes away what the step STEP put here: its units are stopped, the files its marker
# names and the FILES given are deleted, then the DIRECTORIES; one that is a mount point is emptied. The last three are lists of words.
# Nothing there is fine.
set -u
step=$1 units=$2 more=$3 directories=$4
marker=/var/lib/hybridctl/steps/$step
failed=''
say() { echo "remove: $*" >&2; failed=y; }
# Directories and mounts. From here to "end of directories and mounts" this is the same in reset.sh, remove.sh and kubeadm.sh.
nl='
' tab='	'
# look DIRECTORY: sets $mounts to what is mounted below it, a line each, the innermost first, written as the kernel does, and $mounted to y when something is mounted at it.
look() {
	mounts='' mounted=''
	while read -r _ _ _ _ at _; do
		plain "$at"
		case $path in
		*//deleted) ;; # no path leads there
		"$1") mounted=y ;;
		"$1"/*) mounts=$at$nl$mounts ;;
		esac
	done </proc/self/mountinfo
}
plain() { # TEXT: sets $path to what the kernel wrote with blanks and the like as octal numbers
	path='' rest=$1
	while :; do
		case $rest in *\\*) path=$path${rest%%\\*} rest=${rest#*\\} ;; *) break ;; esac
		case $rest in
		011*) path=$path$tab ;;
		012*) path=$path$nl ;;
		040*) path="$path " ;;
		043*) path=$path# ;;
		*) path=$path\\ ;; # 134
		esac
		rest=${rest#???}
	done
	path=$path$rest
}
within() { # DIRECTORY: look there, behind a link too; false when there is no such place, and at the root
	real=$(readlink -f -- "$1") || return 1
	case $real in '' | /) return 1 ;; esac
	look "$real"
}
let_go() { # DIRECTORY: unmounts what is below it and leaves what is at it; what is busy or does not answer is only detached. Data on mounts is not touched.
	limit=20
	within "$1" || return 0
	oldifs=$IFS IFS=$nl
	for at in $mounts; do
		plain "$at"
		timeout -k 2 "$limit" umount -- "$path" 2>/dev/null && continue
		[ $? -lt 124 ] || limit=2 # one that hangs is enough to wait for
		timeout -k 2 "$limit" umount -l -- "$path" 2>/dev/null
	done
	IFS=$oldifs
}
unmounted() { # DIRECTORY: says what is still mounted below it, and is false then
	within "$1" || return 0
	[ -n "$mounts" ] || return 0
	plain "${mounts%%"$nl"*}"
	say "$path is mounted below $1, and nothing was deleted there: unmount it, and run the same command again"
	return 1
}
delete() { # DIRECTORY: deletes it; where it is a mount point (a disk of its own) or a link, what is in it alone
	[ -e "$1" ] || return 0
	unmounted "$1" || return 0
	if [ "$real" = / ]; then
		say "$1 leads to /: nothing was deleted there"
		return 0
	fi
	if [ -z "$mounted" ] && [ ! -L "$1" ]; then
		rm -rf --one-file-system -- "$1" 2>/dev/null || true
		[ ! -e "$1" ] || say "$1 could not be deleted"
		return 0
	fi
	for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
		rm -rf --one-file-system -- "$e" 2>/dev/null || true
		if [ -e "$e" ] || [ -L "$e" ]; then say "$e could not be deleted"; fi
	done
}
# end of directories and mounts

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
	let_go /run/containerd
	let_go /var/lib/containerd
fi
# only what is under a directory of ours-to-write: a marker is a text file that somebody may have edited
sed -n 's/^file [^ ]* [^ ]* [^ ]* [^ ]* \(\/.*\)/\1/p' "$marker" 2>/dev/null | while read -r f; do
	case $f in
	*/../* | */..) ;;
	/usr/local/bin/* | /usr/local/sbin/* | /opt/cni/bin/* | /etc/containerd/* | /etc/systemd/system/* | /etc/modules-load.d/* | /etc/sysctl.d/*) rm -f "$f" ;;
	esac
done
for f in $more; do rm -f "$f" || say "$f could not be removed"; done
for d in $directories; do delete "$d"; done
rmdir /etc/containerd/certs.d/* /etc/containerd/certs.d /etc/containerd/conf.d /etc/containerd /etc/systemd/system/kubelet.service.d 2>/dev/null
if [ "$step" = runtime ]; then
	rm -f /opt/cni/bin/flannel # flannel's own pod puts it there
	# containerd makes these; others may have put something there
	rmdir /opt/cni/bin /opt/cni /etc/cni/net.d /etc/cni /opt/containerd/bin /opt/containerd/lib /opt/containerd 2>/dev/null
fi
[ -z "$units" ] || systemctl daemon-reload
[ -z "$units" ] || systemctl reset-failed 2>/dev/null
[ -z "$failed" ] || exit 1 # the marker tells that what is left is ours
[ "$step" != os ] || rm -f /var/lib/hybridctl/cluster # no mark outlives the last step
rm -f "$marker"
[ "$step" != os ] || rm -rf --one-file-system /var/lib/hybridctl /run/hybridctl
