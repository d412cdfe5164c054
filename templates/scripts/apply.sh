#!/bin/sh
# apply.sh STAGING: makes one step true on this host. Standard input says what, a directive a line:
#
#	step NAME                      the marker's name
#	digest DIGEST                  of the step's inputs
#	binary SHA256 MODE PATH        from the staging directory unless the path has those bytes already
#	text SHA256 MODE PATH BASE64   a small file, whole
#	module NAME                    loaded now (at boot by the file among the texts)
#	sysctl NAME VALUE              set now
#	sysctl-try NAME VALUE          set now where this kernel has it
#	unit NAME                      enabled and running; restarted when a file of the step changed
#	unit-enable NAME               enabled; restarted when running and a file changed
#	process NAME PORT              ended when a file changed, and awaited on its port: the kubelet starts a static pod's process again
#	unit-restart NAME PATH         restarted when running and PATH changed, was deleted, or may have been when the step was interrupted
#	prune                          what the step's marker names of containerd's and the kubelet's files, and is not among these, is deleted
#	end                            nothing is done without it: the input came whole
#
# Files land by rename, after their sha256 was checked. Prints "changed PATH", "removed PATH" and "restarted UNIT" lines; writes the marker last.
set -eu
staging=$1
markers=/var/lib/hybridctl/steps
umask 022
mkdir -p /run/hybridctl "$markers"
chmod 700 "$markers" # a marker has the sha256 of files, and some of those hold passwords
beside=''
trap 'rm -rf ${beside:+"$beside"}' EXIT
trap 'exit 143' HUP INT PIPE TERM
# The input may hold secrets: it has no name from here on, and is gone with this shell, however that ends.
named=$(mktemp /run/hybridctl/apply.XXXXXX)
exec 3<>"$named"
rm -f "$named"
in=/proc/$$/fd/3
cat >&3
[ "$(tail -n 1 "$in")" = end ] || { echo "apply: the input was cut off; nothing was done" >&2; exit 70; }

step='' digest='' changed='' units='' enables='' before='' unread='' processes='' restarts='' prune='' touched=''
files='' rest='' noted='' landed='' selinux=''
nl='
'
if command -v selinuxenabled >/dev/null && selinuxenabled; then selinux=y; fi

# is SHA PATH: a file, and no link, with this sha256
is() {
	[ -f "$2" ] && [ ! -L "$2" ] || return 1
	sum=$(sha256sum <"$2") && [ "${sum%% *}" = "$1" ]
}

# land SHA MODE SOURCE PATH [BASE64]: what SOURCE holds becomes PATH by rename within PATH's own directory. SOURCE may be another user's, who may still have
# it open: then only a copy, which is root's, is looked at. Where the staging directory is root's, nobody else was ever in it, and SOURCE itself is moved.
# A link, or what is no file, is copied as what it is, and not landed. Fails on another sha256. Without a SOURCE it is the text that BASE64 stands for.
land() {
	[ -d "${4%/*}" ] || mkdir -p "${4%/*}"
	beside="${4%/*}/.hybridctl.${4##*/}"
	if [ -e "$beside" ] || [ -L "$beside" ]; then rm -rf "$beside"; fi
	checked=''
	if [ -z "$3" ]; then
		umask 077
		printf %s "$5" | base64 -d >"$beside" || exit 1 # no space, say: it has told
		umask 022
	elif [ -n "$twin" ] && ln "$3" "$beside" 2>/dev/null; then
		: # a second name of what has just landed: its bytes are written once
	elif [ "$3" = "$staging/$1" ] && [ -O "$staging" ] && [ -O "$3" ] && is "$1" "$3" && mv -f "$3" "$beside"; then
		checked=y
	else
		[ -e "$3" ] || [ -L "$3" ] || return 1
		cp -RP "$3" "$beside" || exit 1
	fi
	if [ -z "$checked" ] && ! is "$1" "$beside"; then
		rm -rf "$beside"
		return 1
	fi
	# noted before it is there: what an interrupted step brought is known to be ours
	{ chown 0:0 "$beside" && chmod "$2" "$beside" && note "$1" "$2" "$4" && mv -f "$beside" "$4"; } || exit 1
	beside=''
	# a file may keep the label of where it came from, under which systemd starts nothing
	if [ -n "$selinux" ]; then restorecon -F "$4" || true; fi
	echo "changed $4"
	changed=y touched="$touched $4" landed="$landed$1 $2 $4$nl"
}

# source_of SHA MODE: into source, where the bytes of a binary are: in the upload, or where they have landed, of which twin says that it has this mode
source_of() {
	source=$staging/$1 twin=''
	case $nl$landed in
	*"$nl$1 $2 "*) twin=y source=${landed##*"$1 $2 "} ;;
	*"$nl$1 "*) source=${landed##*"$1 "} source=/${source#*/} ;;
	esac
	source=${source%%"$nl"*}
}

# spare PATH: others keep logins where the kubelet reads ours; theirs are not written over. Where the marker cannot be read it may be ours.
spare() {
	[ "$1" = /var/lib/kubelet/config.json ] && [ -e "$1" ] && [ -z "$unread" ] || return 0
	! grep -q "^file .* $1\$" "$markers/$step" || return 0
	echo "apply: $1 is there, and hybridctl did not write it: put its logins into spec.registries, move it away, and run the same command again" >&2
	exit 74
}

begun() { # the marker of a step that has begun
	printf 'begin\nstate started\n%send\n' "$noted" >"$markers/$step.new"
	mv -f "$markers/$step.new" "$markers/$step"
}

note() { # note SHA MODE PATH: in that marker
	case $nl$noted in *"${nl}file $1 0 $2 0 $3$nl"*) return 0 ;; esac
	noted="${noted}file $1 0 $2 0 $3$nl"
	begun
}

# pid_of NAME: the process of that name in a pod of this host's own network; another, or one of a cluster within a container, is none of ours.
pid_of() {
	for c in /proc/[0-9]*/comm; do
		{ read -r comm <"$c"; } 2>/dev/null || continue
		[ "$comm" = "$1" ] || continue
		p=${c%/comm}
		[ "$(readlink "$p/ns/net" 2>/dev/null)" = "$(readlink /proc/self/ns/net)" ] || continue
		grep -qs kubepods "$p/cgroup" || continue
		echo "${p#/proc/}"
		return
	done
}

listens() { grep -q "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$1") [0-9A-F]*:0000 0A" /proc/net/tcp /proc/net/tcp6 2>/dev/null; }

again() { # again NAME PORT: ends the process, and waits until another of its name listens
	pid=$(pid_of "$1")
	[ -n "$pid" ] || return 0
	kill "$pid" 2>/dev/null || true
	tries=0
	while [ $tries -lt 600 ]; do
		now=$(pid_of "$1")
		if [ -n "$now" ] && [ "$now" != "$pid" ] && listens "$2"; then
			echo "restarted $1"
			return 0
		fi
		tries=$((tries + 1))
		sleep 1
	done
	echo "apply: $1 was ended to read its files again, and does not come back: its last words are in /var/log/pods" >&2
	exit 73
}

own() { # own SHA PATH: for the marker
	files="$files$1 $2$nl"
}

# shellcheck disable=SC2094 # it is only read
while read -r word a b c d; do
	case $word in
	step)
		step=$a
		before=$(sed -n 's/^state //p' "$markers/$step" 2>/dev/null || :)
		case $(sed -n '1p;$p' "$markers/$step" 2>/dev/null || :) in
		begin*end) ;;
		begin*) before='' ;; # it was cut off
		esac
		[ ! -e "$markers/$step" ] || [ -n "$before" ] || unread=y
		[ ! -e "$markers/$step" ] || [ "$before" = 'done' ] || before=started # one that cannot be read tells of no end
		noted=$(sed -n '/^file /p' "$markers/$step" 2>/dev/null || :) # of an earlier time
		noted=${noted:+$noted$nl}
		begun
		;;
	digest) digest=$a ;;
	binary)
		if is "$a" "$c"; then
			[ "$(stat -c %a "$c")" = "${b#0}" ] || { chmod "$b" "$c"; echo "changed $c"; }
		else
			source_of "$a" "$b"
			land "$a" "$b" "$source" "$c" || {
				rm -rf "${staging:?}/$a"
				echo "apply: $c: the upload is damaged (sha256 differs); it was removed" >&2
				exit 71
			}
			# the space is wanted, and another path takes the same bytes from this one
			if [ -e "$staging/$a" ]; then rm -f "$staging/$a"; fi
		fi
		own "$a" "$c"
		;;
	text)
		if is "$a" "$c"; then
			[ "$(stat -c %a "$c")" = "${b#0}" ] || { chmod "$b" "$c"; echo "changed $c"; }
		else
			spare "$c"
			land "$a" "$b" '' "$c" "$d" || { echo "apply: $c: the text came damaged" >&2; exit 71; }
		fi
		own "$a" "$c"
		;;
	module)
		modprobe "$a"
		rest="${rest}module $a
"
		;;
	sysctl | sysctl-try)
		f=/proc/sys/$(echo "$a" | tr . /)
		if [ -e "$f" ]; then
			[ "$(cat "$f")" = "$b" ] || printf '%s\n' "$b" >"$f"
			rest="${rest}sysctl $a $b
"
		elif [ "$word" = sysctl ]; then
			echo "apply: this kernel has no setting $a" >&2
			exit 72
		fi
		;;
	unit) units="$units $a" ;;
	unit-enable) enables="$enables $a" ;;
	process) processes="$processes $a:$b" ;;
	unit-restart) restarts="$restarts $a=$b" ;;
	prune) prune=y ;;
	end) ;;
	*)
		echo "apply: unknown directive $word" >&2
		exit 70
		;;
	esac
done <"$in"

# A marker is a text file that somebody may have edited: only what a step may prune is deleted.
if [ -n "$prune" ]; then
	# shellcheck disable=SC2013 # words: what may be pruned has no blanks in its path
	for f in $(sed -n 's/^file [^ ]* [^ ]* [^ ]* [^ ]* \(\/.*\)/\1/p' "$markers/$step"); do
		case $f in
		*/../* | */..) continue ;;
		/etc/containerd/certs.d/*/* | /etc/containerd/conf.d/hybridctl-* | /var/lib/kubelet/config.json) ;;
		*) continue ;;
		esac
		case "$files" in *" $f
"*) continue ;; esac
		[ -e "$f" ] || [ -L "$f" ] || continue
		rm -f "$f"
		rmdir "$(dirname "$f")" 2>/dev/null || :
		echo "removed $f"
		touched="$touched $f"
	done
fi

# systemd reads all its units again at a reload, which takes a small host seconds: only where it has not read this one as it is now, or has another of
# its name, which it had before ours came.
reload() {
	shown=$(systemctl show -p LoadState -p NeedDaemonReload -p FragmentPath "$1" 2>/dev/null || :)
	for want in LoadState=loaded NeedDaemonReload=no "FragmentPath=/etc/systemd/system/$1"; do
		case $nl$shown$nl in
		*"$nl$want$nl"*) ;;
		*)
			systemctl daemon-reload
			return
			;;
		esac
	done
}
for u in $units; do
	systemctl is-enabled -q "$u" 2>/dev/null || systemctl --no-reload enable -q "$u"
	[ -z "$changed" ] || reload "$u"
	if ! systemctl is-active -q "$u"; then
		systemctl reset-failed "$u" 2>/dev/null || true
		systemctl start "$u"
		echo "restarted $u"
	elif [ -n "$changed" ]; then
		systemctl restart "$u"
		echo "restarted $u"
	fi
	rest="${rest}unit $u
"
done
for u in $enables; do
	systemctl is-enabled -q "$u" 2>/dev/null || systemctl --no-reload enable -q "$u"
	[ -z "$changed" ] || reload "$u"
	if [ -n "$changed" ] && systemctl is-active -q "$u"; then
		systemctl restart "$u"
		echo "restarted $u"
	fi
done

# An interrupted run may have landed a file and have ended nothing.
if [ -n "$changed" ] || [ "$before" = started ]; then
	for p in $processes; do again "${p%:*}" "${p#*:}"; done
fi
for r in $restarts; do
	u=${r%%=*}
	case "$before$touched " in started* | *" ${r#*=} "*) ;; *) continue ;; esac
	if systemctl is-active -q "$u"; then
		systemctl restart "$u"
		echo "restarted $u"
	fi
done

m=$markers/$step.new
printf 'begin\nstate done\ndigest %s\n' "$digest" >"$m"
printf %s "$files" | while read -r sha path; do
	# %.9Y is the time of the last change, in seconds with nine places
	when=$(stat -c '%s %a %.9Y' "$path")
	case $when in *.*) ;; *) when=$when.000000000 ;; esac # not every stat knows more than whole seconds
	echo "file $sha ${when%.*}${when##*.} $path"
done >>"$m"
printf '%send\n' "$rest" >>"$m"
sync -f "$m" /usr/local /etc 2>/dev/null || sync
mv -f "$m" "$markers/$step"
rm -rf "$staging"
