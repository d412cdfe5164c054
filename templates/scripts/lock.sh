#!/bin/sh
# lock.sh take TOKEN HOLDER [up|destroy] [break] | give TOKEN [break | leased]: the lock of a cluster that has no API server yet: a file on the host that it
# begins on, with a TOKEN that only its run knows, the time, who the HOLDER is, and what it does. break: from anyone. leased: also that of an up which
# has made its API server, and ends when another had the cluster's Lease by then; who says so has the Lease.
#
# The first line of the answer is "taken"; "again" when the lock was this TOKEN's already; "held" when it is another's, and then when and by
# whom it was taken, and what for; "given"; or "gone". Behind taken and again stand the markers of the steps: what is done on this host by now.
set -eu
umask 022
lock=/var/lib/hybridctl.lock verb=$1 token=$2
line() { sed -n "$1p" $lock 2>/dev/null || :; }
held() {
	echo held
	line 2,4
	exit 0
}

# One at a time: who looks whose the lock is, and then takes or deletes it, does both before another looks.
exec 9</var/lib
flock 9 || { echo "lock: one at a time may have it, and flock (of util-linux) is what sees to that" >&2; exit 1; }

if [ "$verb" = give ]; then
	if [ ! -e $lock ]; then
		echo gone
	elif [ "$(line 1)" = "$token" ] || [ "${3:-}" = break ]; then
		rm -f $lock
		echo given
	elif [ "${3:-}" = leased ] && [ "$(line 4)" = up ] && grep -qx 'state done' /var/lib/hybridctl/steps/init 2>/dev/null; then
		rm -f $lock
		echo given
	else
		held
	fi
	exit
fi

holder=$3 kind='' break=''
shift 3
for word; do
	case $word in
	up | destroy) kind=$word ;;
	break) break=y ;;
	esac
done
new=$lock.$$
trap 'rm -f $new' EXIT
rm -f $new # a run that was killed may have left it, as another name of the lock itself
printf '%s\n%s\n%s\n%s\n' "$token" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$holder" "$kind" >$new
sync -f $new 2>/dev/null || sync
# A link is made whole or not at all, and by one of several alone.
said=taken
if [ "$(line 1)" = "$token" ]; then
	mv -f $new $lock
	said=again
elif ! ln $new $lock 2>/dev/null; then
	[ -e $lock ] || { echo "lock: $lock cannot be made" >&2; exit 1; }
	[ -n "$break" ] || held
	mv -f $new $lock
fi
echo $said
for m in /var/lib/hybridctl/steps/*; do
	case $m in *.new) continue ;; esac
	[ -f "$m" ] || continue
	echo "step ${m##*/} $(sed -n 's/^state //p' "$m") $(sed -n 's/^digest //p' "$m")"
done
