#!/bin/sh
# lock.sh take TOKEN HOLDER [break] | give TOKEN [break]: the lock of a cluster that has no API server yet: a file on the host that it begins on, with a
# TOKEN that only its run knows, the time, and who the HOLDER is.
#
# The first line of the answer is "taken"; "again" when the lock was this TOKEN's already; "held" when it is another's, and then when and by
# whom it was taken; "given"; or "gone". Behind taken and again stand the markers of the steps: what is done on this host by now.
set -eu
umask 022
lock=/var/lib/hybridctl.lock verb=$1 token=$2
owner() { sed -n 1p $lock 2>/dev/null || :; }
held() {
	echo held
	sed -n 2,3p $lock 2>/dev/null || :
	exit 0
}

if [ "$verb" = give ]; then
	if [ ! -e $lock ]; then
		echo gone
	elif [ "$(owner)" = "$token" ] || [ "${3:-}" = break ]; then
		rm -f $lock
		echo given
	else
		held
	fi
	exit
fi

new=$lock.$$
trap 'rm -f $new' EXIT
rm -f $new # a run that was killed may have left it, as another name of the lock itself
printf '%s\n%s\n%s\n' "$token" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$3" >$new
sync -f $new 2>/dev/null || sync
# A link is made whole or not at all, and by one of several alone.
said=taken
if [ "$(owner)" = "$token" ]; then
	mv -f $new $lock
	said=again
elif ! ln $new $lock 2>/dev/null; then
	[ -e $lock ] || { echo "lock: $lock cannot be made" >&2; exit 1; }
	[ "${4:-}" = break ] || held
	mv -f $new $lock
fi
echo $said
for m in /var/lib/hybridctl/steps/*; do
	case $m in *.new) continue ;; esac
	[ -f "$m" ] || continue
	echo "step ${m##*/} $(sed -n 's/^state //p' "$m") $(sed -n 's/^digest //p' "$m")"
done
