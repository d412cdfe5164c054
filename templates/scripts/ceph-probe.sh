#!/bin/sh
# ceph-probe.sh [SYS]: what the kernel's own Ceph client makes of a Ceph cluster. No package of Ceph is needed, and nothing stays:
# the image that is asked for does not exist, the mount is in a namespace of its own, modules that were not loaded are unloaded.
#
# Standard input has one question a line, of words, and ends with "end"; MODE is - where the client's own is meant:
#   monitor ADDRESS PORT
#   rbd ID MONITORS USER MODE POOL KEY
#   cephfs ID MONITORS USER MODE FILESYSTEM PATH KEY
# The answers, in lines of their own:
#   features 0x…               what images the kernel can map
#   absent MODULE TEXT         the module cannot be loaded
#   monitor ADDRESS:PORT HEX   the first bytes it sent, or why there are none
#   asked ID                   the lines up to the next are about this question
#   said TEXT                  how the kernel refused; nothing when it did not
#   log TEXT                   a line that the kernel wrote meanwhile
# Keys are in no argument of any process: printf and read are the shell's own. SYS stands for /sys in tests.
set -u
export LC_ALL=C
sys=${1:-/sys} loaded=
nl='
'
questions=$(cat)
case $nl$questions in *"${nl}end") ;; *)
	echo "the questions were cut off on their way; nothing was done" >&2
	exit 70
	;;
esac

umask 077
mkdir -p /run/hybridctl || exit
dir=$(mktemp -d /run/hybridctl/ceph-probe.XXXXXX) || exit
# shellcheck disable=SC2317 # trap calls it
clean() {
	rm -rf "$dir"
	rmdir /run/hybridctl 2>/dev/null # others may be at work there
	# shellcheck disable=SC2086 # a list of words
	[ -z "$loaded" ] || modprobe -r $loaded 2>/dev/null
}
trap clean EXIT
trap 'exit 143' HUP INT TERM

one_line() { tr '\n' ' '; }

load() { # MODULE
	[ ! -d "$sys/module/$1" ] || return 0
	if said=$(modprobe "$1" 2>&1); then
		loaded="$1 $loaded"
	else
		printf 'absent %s %s\n' "$1" "$(printf '%s' "$said" | one_line)"
	fi
}

# newest is the time of the kernel's last line, since N its lines about Ceph after that.
newest() { dmesg | tail -n 1 | sed 's/^\[ *//; s/\].*//'; }
since() {
	dmesg | awk -v mark="$1" '
		{ time = $0; sub(/^\[ */, "", time); sub(/\].*/, "", time); text = $0; sub(/^\[[^]]*\] */, "", text) }
		time + 0 > mark + 0 && text ~ /(libceph|rbd|ceph)/ { print "log " text }
	'
}

ask_monitor() { # ADDRESS PORT
	# shellcheck disable=SC2016 # bash reads these
	said=$(timeout 4 bash -c 'exec 3<>"/dev/tcp/$1/$2" && head -c 9 <&3' bash "$1" "$2" 2>&1 | od -An -v -tx1 | tr -d ' \n')
	printf 'monitor %s:%s %s\n' "$1" "$2" "$said"
}

options() { # USER MODE KEY: sets $options
	options=name=$1,secret=$3,mount_timeout=5
	[ "$2" = - ] || options=$options,ms_mode=$2
}

ask_rbd() { # ID MONITORS USER MODE POOL KEY
	[ -e "$sys/bus/rbd/add_single_major" ] || return 0
	options "$3" "$4" "$6"
	mark=$(newest)
	read -r image </proc/sys/kernel/random/uuid
	said=$(printf '%s %s %s probe-%s -' "$2" "$options" "$5" "$image" |
		timeout 60 dd of="$sys/bus/rbd/add_single_major" bs=4096 conv=notrunc status=none 2>&1)
	answer "$1" $? "$mark" "$said"
}

ask_cephfs() { # ID MONITORS USER MODE FILESYSTEM PATH KEY
	options "$3" "$4" "$7"
	mark=$(newest)
	mkdir -p "$dir/mnt"
	printf '%s:%s %s/mnt ceph %s,mds_namespace=%s,ro 0 0\n' "$2" "$6" "$dir" "$options" "$5" >"$dir/fstab"
	said=$(timeout 60 unshare -m mount -i -n -T "$dir/fstab" "$dir/mnt" 2>&1)
	answer "$1" $? "$mark" "$said"
	rm -f "$dir/fstab"
}

answer() { # ID STATUS MARK TEXT
	printf 'asked %s\n' "$1"
	[ "$2" -eq 0 ] || printf 'said %s\n' "$(printf '%s' "$4 (exit status $2)" | one_line)"
	since "$3"
}

case $nl$questions in *"${nl}rbd "*) load rbd ;; esac
case $nl$questions in *"${nl}cephfs "*) load ceph ;; esac
[ ! -r "$sys/bus/rbd/supported_features" ] || printf 'features %s\n' "$(cat "$sys/bus/rbd/supported_features")"

printf '%s\n' "$questions" | while read -r what a b c d e f g; do
	case $what in
	monitor) ask_monitor "$a" "$b" ;;
	rbd) ask_rbd "$a" "$b" "$c" "$d" "$e" "$f" ;;
	cephfs) ask_cephfs "$a" "$b" "$c" "$d" "$e" "$f" "$g" ;;
	esac
done
exit 0
