#!/bin/sh
# remove.sh STEP UNITS FILES DIRECTORIES PINS: takes away what the step STEP put here: its units are stopped, the files its marker
# names are deleted, then the DIRECTORIES; one that is a mount point is emptied. The FILES are what it may have put here, where the marker cannot be
# read. A unit, a file or a directory that was here before the step came to it is somebody's, and stays. The last four are lists of words.
# Prints "left PATH" of a file that stays. Nothing there is fine. The PINS are of the authorities that this host may be of: one of another cluster is left alone, and the exit status says so.
set -u
step=$1 units=$2 more=$3 directories=$4 pins=${5-}
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

# Whose host this is. From here to "end of whose host" this is the same in reset.sh and remove.sh.
pin() { # CERTIFICATE: prints the pin of its public key, as kubeadm writes it; nothing when it cannot be read
	pem=$(sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/ { /-----/!p; /END CERTIFICATE/q; }' "$1" 2>/dev/null)
	# of what is signed the key comes after the serial number, the algorithm, the issuer, the times and the subject; a version may stand before
	at=$(printf '%s\n' "$pem" | base64 -d 2>/dev/null | od -An -v -tu1 | awk '
		function part(p,  l, k) { # sets body to where the content of the part at p begins, and after to what follows it
			body = p + 2
			l = b[p + 1]
			if (l > 127) { k = l - 128; l = 0; while (k-- > 0) l = l * 256 + b[body++] }
			after = body + l
		}
		{ for (i = 1; i <= NF; i++) b[n++] = $i }
		END {
			part(0); part(body); p = body
			if (b[p] == 160) { part(p); p = after }
			for (i = 0; i < 5; i++) { part(p); p = after }
			part(p)
			if (b[p] == 48 && after <= n) print p + 1, after - p
		}
	')
	[ -z "$at" ] || printf '%s\n' "$pem" | base64 -d | tail -c +"${at% *}" | head -c "${at#* }" | sha256sum | sed 's/^\([0-9a-f]*\).*/sha256:\1/'
}
others() { # PIN...: says so when this host is of a cluster whose pin is none of these; false when it is not. "unknown" is that of a cluster that cannot be told
	known='' unknown=''
	trusts=$(pin /etc/kubernetes/pki/ca.crt)
	[ -n "$trusts" ] || [ ! -e /etc/kubernetes/kubelet.conf ] || trusts=unknown
	marked=$(sed -n 's/^ca \(sha256:[0-9a-f]\{64\}\)[[:space:]]*$/\1/p' /var/lib/hybridctl/cluster 2>/dev/null | tail -n 1)
	[ -n "$marked" ] || [ ! -e /var/lib/hybridctl/cluster ] || marked=unknown
	for p in $trusts $marked; do
		case " $* " in *" $p "*) known=y && continue ;; esac
		unknown=y
		[ "$p" != unknown ] || continue
		echo "the host is of another cluster, whose CA is $p" >&2
		return 0
	done
	[ -n "$unknown" ] && [ -z "$known" ] || return 1
	echo 'the host is of a cluster that cannot be told' >&2
}
# end of whose host

# shellcheck disable=SC2086 # a list of words
! others $pins || exit 80

# Whoever came later may have its containers in this containerd too, as docker has: they would end, and what they hold would be deleted.
if [ "$step" = runtime ] && [ -x /usr/local/bin/ctr ] && systemctl is-active -q containerd.service; then
	for n in $(timeout 20 /usr/local/bin/ctr namespaces ls -q 2>/dev/null); do
		if [ "$n" = k8s.io ] || [ -z "$(timeout 20 /usr/local/bin/ctr -n "$n" containers ls -q 2>/dev/null)" ]; then continue; fi
		say "containerd has containers of somebody in its namespace $n (docker's is moby): nothing was done; take them away, and run the same command again"
		exit 1
	done
fi

# ours PATH: the step put it here. What a step that was interrupted had noted is ours when it has those bytes: else it had not come to it.
ours() {
	[ -e "$marker" ] || return 1
	case $(sed -n '1p;$p' "$marker") in
	begin*end | state*) ;; # an earlier hybridctl's begin with the state
	*) return 0 ;; # it cannot be read, and the user has said that this host goes
	esac
	grep -q "^file [^ ]* [^ ]* [^ ]* [1-9][0-9]* $1\$" "$marker" 2>/dev/null && return 0
	[ -f "$1" ] && [ ! -L "$1" ] && grep -q "^file $(sha256sum <"$1" | cut -d' ' -f1) [^ ]* [^ ]* 0 $1\$" "$marker" 2>/dev/null
}

foreign='' # a unit is not ours, and so is what its program keeps
for u in $units; do
	if ! ours "/etc/systemd/system/$u"; then
		foreign=y
		continue
	fi
	systemctl disable -q --now "$u" 2>/dev/null || true
	systemctl is-active -q "$u" && say "the unit $u still runs"
done
if [ "$step" = runtime ] && [ -z "$foreign" ]; then
	rm -f "${marker%/*}/images" # they go with containerd's store
	# Shims outlive containerd on purpose; without it nobody ends them. The path is the process's own: within somebody's container it is another file.
	for e in /proc/[0-9]*/exe; do
		case $(readlink "$e" 2>/dev/null) in /usr/local/bin/containerd-shim-runc-v2*) ;; *) continue ;; esac
		p=${e%/exe}
		within=$(readlink "$p/ns/mnt" 2>/dev/null)
		[ "$within" = "$(readlink /proc/1/ns/mnt)" ] || [ "$within" = "$(readlink /proc/self/ns/mnt)" ] || continue
		kill -9 "${p#/proc/}" 2>/dev/null
	done
	let_go /run/containerd
	let_go /var/lib/containerd
fi
# take PATH: deletes it where it is ours, and only under a directory of ours-to-write: a marker is a text file that somebody may have edited
take() {
	case $1 in
	*/../* | */..) return ;;
	/usr/local/bin/* | /usr/local/sbin/* | /opt/cni/bin/* | /etc/containerd/* | /etc/systemd/system/* | /etc/modules-load.d/* | /etc/sysctl.d/* | /var/lib/kubelet/config.json) ;;
	*) return ;;
	esac
	rm -f "${1%/*}/.hybridctl.${1##*/}" # one that was on its way
	if ours "$1"; then
		rm -f "$1" || say "$1 could not be removed"
	elif [ -e "$1" ] || [ -L "$1" ]; then
		echo "left $1"
	fi
}
last='' # the units' own files: as long as they are there, it is known that what their programs keep is ours
set -f
for f in $(sed -n 's/^file [^ ]* [^ ]* [^ ]* [^ ]* \(\/.*\)/\1/p' "$marker" 2>/dev/null) $more; do
	case " $units " in
	*" ${f#/etc/systemd/system/} "*) last="$last $f" ;;
	*) take "$f" ;;
	esac
done
set +f
for d in $directories; do
	case $foreign$d in
	y/var/lib/hybridctl/*) delete "$d" ;;
	y*) rmdir "$d" 2>/dev/null ;;
	*) delete "$d" ;;
	esac
done
rmdir /etc/containerd/certs.d/* /etc/containerd/certs.d /etc/containerd/conf.d /etc/containerd /etc/systemd/system/kubelet.service.d 2>/dev/null
if [ "$step" = runtime ] && [ -z "$foreign" ]; then
	rm -f /opt/cni/bin/flannel # flannel's own pod puts it there
	# containerd makes these; others may have put something there
	rmdir /opt/cni/bin /opt/cni /etc/cni/net.d /etc/cni /opt/containerd/bin /opt/containerd/lib /opt/containerd 2>/dev/null
fi
[ -z "$failed" ] || exit 1 # the marker and the units tell that what is left is ours
for f in $last; do take "$f"; done
[ -z "$units" ] || systemctl daemon-reload
[ -z "$units" ] || systemctl reset-failed 2>/dev/null
[ -z "$failed" ] || exit 1 # the marker tells that what is left is ours
[ "$step" != os ] || rm -f /var/lib/hybridctl/cluster # no mark outlives the last step
rm -f "$marker"
[ "$step" != os ] || rm -rf --one-file-system /var/lib/hybridctl /run/hybridctl
