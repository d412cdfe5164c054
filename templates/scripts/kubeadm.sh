#!/bin/sh
# kubeadm.sh VERB STEP DIGEST [CA NAME]: runs "kubeadm VERB" (init or join) to its end, whatever happens to this connection.
#
# Standard input is the kubeadm configuration, which holds a token: it lives on a tmpfs, readable by root alone, and is removed
# when kubeadm ends. kubeadm runs as a oneshot unit of systemd: when the connection goes, it goes on; a second call of this script
# waits for it. The finished marker is written by the unit itself, so that no kubeadm run is ever done twice. CA and NAME are the mark of
# the cluster that is joined: it is here before the cluster can have this host.
set -eu
verb=$1 step=$2 digest=$3
marker=/var/lib/hybridctl/steps/$step
run=/run/hybridctl
log=/var/lib/hybridctl/kubeadm-$verb.log
made=/var/lib/hybridctl/kubeadm-init.made
theirs=/var/lib/hybridctl/kubeadm-theirs
unit=hybridctl-kubeadm.service
umask 077
mkdir -p $run
[ "$(stat -f -c %T $run)" = tmpfs ] || { echo "kubeadm: /run is not a tmpfs; the token would reach the disk" >&2; exit 73; }

say() { echo "kubeadm: $*" >&2; }
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

spare() { # DIRECTORY: says so where it is a mount point that holds something, and is false then. $mounted is of it
	mounted=''
	within "$1" && [ -n "$mounted" ] || return 0
	for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
		if [ "$e" = "$1/lost+found" ] || { [ ! -e "$e" ] && [ ! -L "$e" ]; }; then continue; fi
		say "$1 is a mount point, and what is on it would be replaced: empty it, or unmount it, and run the same command again"
		return 1
	done
}
busy() { # whether kubeadm is at work already. Where systemd does not say so, nothing is done: what is cleared up would be what it works with
	state=$(systemctl show -p ActiveState --value $unit) || { say "systemd does not say whether kubeadm is at work: nothing was done"; exit 74; }
	case $state in activating | active | reloading | deactivating) true ;; *) false ;; esac
}
finished() { grep -qs '^state done$' "$marker"; }
# What an init of ours made: its authority is noted in $made before it is in its place; what there is else, and "end", when kubeadm has ended, or is
# cleared up. Whatever is there and is not noted may be another's; no time tells whose it is.
# shellcheck disable=SC2016 # it is for what kubeadm runs under, too
control_plane='control_plane() {
	for f in /etc/kubernetes/pki/* /etc/kubernetes/pki/etcd/* /etc/kubernetes/manifests/* /etc/kubernetes/admin.conf; do
		[ ! -f "$f" ] || another "$f" || sha256sum -- "$f" || echo "?  $f"
	done
}
another() { [ -f "/var/lib/hybridctl/kubeadm-theirs$1" ]; } # PATH: somebody had it there before the first attempt'
eval "$control_plane"
# Static pods of somebody, as a balancer that the API server has, and files beside the certificates, may be there before the first attempt. kubeadm goes
# on beside them, and clears them away with its own: $theirs has copies of them, which come back then.
keep() { # before the first attempt
	rm -rf $theirs $theirs.new
	for f in /etc/kubernetes/manifests/* /etc/kubernetes/pki/* /etc/kubernetes/pki/etcd/*; do
		[ -f "$f" ] || continue
		mkdir -p "$theirs.new${f%/*}" && cp -p "$f" "$theirs.new$f" || return 1
	done
	[ -d $theirs.new ] || return 0
	sync -f $theirs.new 2>/dev/null || sync
	mv $theirs.new $theirs
}
copies() { # COMMAND: with each path of which there is a copy
	for copy in "$theirs"/etc/kubernetes/manifests/* "$theirs"/etc/kubernetes/pki/* "$theirs"/etc/kubernetes/pki/etcd/*; do
		[ ! -f "$copy" ] || "$1" "${copy#"$theirs"}" || return 1
	done
}
# shellcheck disable=SC2317 # copies calls it
still() { # what is gone by now does not come back
	if [ -f "$1" ]; then cp -p "$1" "$theirs/new" && mv -f "$theirs/new" "$theirs$1"; else rm -f "$theirs$1"; fi
}
# shellcheck disable=SC2317 # copies calls it
put_back() { mkdir -p "${1%/*}" && cp -p "$theirs$1" "${1%/*}/.hybridctl.${1##*/}" && mv -f "${1%/*}/.hybridctl.${1##*/}" "$1"; }
# shellcheck disable=SC2317 # copies calls it
beside() { # the cluster's own come after it
	case $1 in /etc/kubernetes/manifests/* | /etc/kubernetes/pki/etcd/*) ;; *) put_back "$1" ;; esac
}
foreign() { # whether there is something of a control plane that is not known to be of our init: sets $f to it
	all=$(control_plane)
	if ! grep -qsx end $made && [ -e /etc/kubernetes/pki/ca.crt ]; then # kubeadm was at work when it ended: what it made by then is not known
		all=$(printf '%s\n' "$all" | grep -E '  /etc/kubernetes/pki/ca\.(crt|key)$') || all='  /etc/kubernetes/pki/ca.crt' # which cannot be read
	fi
	[ ! -e $made ] || all=$(printf '%s\n' "$all" | grep -vxF -f $made) || [ $? -eq 1 ] || all="  $made"
	f=${all%%"$nl"*}
	f=${f#*  }
	[ -n "$f" ]
}
# failed tells what kubeadm says of the cause, without the phases that went well.
failed() {
	said=$(sed -n 'H; /^hybridctl: once more$/ { s/.*//; x; }; $ { x; p; }' "$log" 2>/dev/null || true) # at its last try
	cause=$(printf '%s\n' "$said" | grep -E '^error|\[ERROR ' | tail -n 8)
	printf 'kubeadm %s failed (all of its output is in %s on the host): %s\n' "$verb" "$log" "${cause:-$(printf '%s\n' "$said" | grep -v '^[[:space:]]*$' | tail -n 3)}" >&2
	exit 75
}

# A reset that was given up on may be at work still: it would take away what kubeadm makes.
if command -v flock >/dev/null && ! flock -n /run/hybridctl-reset.lock true; then
	say 'an earlier reset of this host is at work still, and nothing was done: wait for its end, or restart the host'
	exit 74
fi
if busy; then
	cat >/dev/null
	rm -rf $run/pki
	systemctl start $unit || true
	finished && exit 0
	failed
fi
# Until kubeadm runs, which then goes on without this script, secrets do not outlive it.
trap 'rm -rf $run/kubeadm.yaml $run/pki; exit 143' HUP INT PIPE TERM
cat >$run/kubeadm.yaml
# Keys that all control planes share may wait here for a join that never came; no other role gets them.
if [ "$verb" != join ] || ! grep -q '^controlPlane:' $run/kubeadm.yaml; then rm -rf $run/pki; fi
# Who sent this saw a host that was no member yet; meanwhile another run made it one. A node is left alone.
if finished; then
	rm -rf $run/kubeadm.yaml $run/pki
	exit 0
fi
[ -s $run/kubeadm.yaml ] || { echo "kubeadm: no configuration came" >&2; exit 70; }

# What an interrupted or failed attempt left is ours to clear: the marker says that hybridctl began it, of a join also one that cannot be read.
# Where it may be a part of the cluster already, a member of etcd or a node, the cluster has to forget it first, which is for who called:
# kubeadm reset goes on when it cannot do so, and wipes a member that etcd counts on.
if grep -qs '^state started$' "$marker" || { [ "$verb" = join ] && [ -e "$marker" ]; }; then
	if [ "$verb" = join ] && { [ -e /etc/kubernetes/manifests/etcd.yaml ] || [ -e /var/lib/etcd/member ] || [ -e /etc/kubernetes/kubelet.conf ]; }; then
		rm -rf $run/kubeadm.yaml $run/pki
		echo "kubeadm: an earlier attempt may have made this host a part of the cluster already" >&2
		[ ! -e /etc/kubernetes/pki/ca.key ] || exit 77 # only control planes have it, whatever the host is to become now
		exit 76
	fi
	if [ "$verb" = init ] && [ -e /etc/kubernetes/kubelet.conf ] && [ ! -e /etc/kubernetes/admin.conf ]; then
		rm -rf $run/kubeadm.yaml $run/pki
		say "this host is a worker of another cluster, and nothing was done: it has a kubelet.conf, and no admin.conf, which kubeadm init makes first"
		exit 74
	fi
	# A join that comes here has made no etcd, and an init perhaps none: /var/lib/etcd is somebody's then, and kubeadm's reset empties it unless it is told.
	etcd='' phases='--skip-phases remove-etcd-member'
	if [ "$verb" = init ]; then
		# shellcheck disable=SC3013 # dash, bash and busybox know -nt
		if foreign || { ! grep -qsx end $made && f=/etc/kubernetes/admin.conf && [ "$f" -nt "$log" ] && [ /etc/kubernetes/manifests/kube-apiserver.yaml -nt "$log" ]; }; then
			rm -rf $run/kubeadm.yaml $run/pki
			say "$f is not known to be of the init that hybridctl tried here: another may have made a cluster since, and nothing was done: where that is not needed, run \"kubeadm reset\" on this host, and the same command again"
			exit 74
		fi
		if grep -qs ' /etc/kubernetes/manifests/etcd\.yaml$' $made || { [ -e /etc/kubernetes/manifests/etcd.yaml ] && ! another /etc/kubernetes/manifests/etcd.yaml; }; then etcd=/var/lib/etcd phases=''; fi
		for e in /var/lib/etcd/* /var/lib/etcd/.[!.]*; do
			if [ -n "$etcd" ] || [ ! -e "$e" ] || [ "$e" = /var/lib/etcd/lost+found ]; then continue; fi
			rm -rf $run/kubeadm.yaml $run/pki
			say "$e is there, and the init that hybridctl tried here made no etcd: nothing was done: where it is not needed, delete it, and run the same command again"
			exit 74
		done
	fi
	systemctl stop kubelet.service 2>/dev/null || true
	let_go /var/lib/kubelet || true
	if ! unmounted /var/lib/kubelet || { [ -n "$etcd" ] && ! unmounted "$etcd"; } || ! unmounted /etc/kubernetes; then # kubeadm would delete through it
		rm -rf $run/kubeadm.yaml $run/pki
		exit 74
	fi
	if [ "$verb" = init ] && ! grep -qsx end $made; then # an end in the middle of what comes leaves what is known then
		{ control_plane | grep -v '^?' || true; echo end; } >$made.new
		sync -f $made.new 2>/dev/null || sync
		mv -f $made.new $made
	fi
	if [ -d $theirs ] && [ ! -e $theirs/goes ]; then # an end in the middle of what comes leaves the copies alone
		if ! copies still || ! echo >$theirs/goes; then
			rm -rf $run/kubeadm.yaml $run/pki
			say "what somebody has in /etc/kubernetes could not be kept, and nothing was done"
			exit 74
		fi
	fi
	if [ -e /etc/kubernetes ]; then
		# shellcheck disable=SC2086 # two words, or none
		/usr/local/bin/kubeadm reset -f --cri-socket unix:///run/containerd/containerd.sock $phases >"$log.reset" 2>&1 || true
		rm -f /etc/kubernetes/*.conf
	fi
	for d in /etc/kubernetes/manifests /etc/kubernetes/pki $etcd; do delete "$d"; done
	if ! copies put_back; then
		rm -rf $run/kubeadm.yaml $run/pki
		say "what was in /etc/kubernetes before hybridctl came could not be put back: $theirs has it"
		exit 74
	fi
	rm -f $theirs/goes
	if [ -n "$etcd" ] && [ -d /var/lib/etcd/member ]; then
		rm -rf $run/kubeadm.yaml $run/pki
		say "etcd would go on with the data of the earlier attempt: delete /var/lib/etcd/member, and run the same command again"
		exit 74
	fi
	[ "$verb" != init ] || [ -e /etc/kubernetes/pki/ca.crt ] || rm -f $made
fi
# What has no marker of ours was not begun by us: begun now, in vain, it would be cleared up the next time.
if [ ! -e "$marker" ]; then
	for f in /etc/kubernetes/kubelet.conf /etc/kubernetes/manifests/kube-apiserver.yaml /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/pki/ca.crt /etc/kubernetes/pki/ca.key; do
		[ -e "$f" ] || continue
		rm -rf $run/kubeadm.yaml $run/pki
		say "$f is there, and hybridctl did not make this host a node: nothing was done; where it is to be one of this cluster, run \"kubeadm reset\" on it first"
		exit 74
	done
fi
if [ -d $run/pki ] && { ! unmounted /etc/kubernetes/pki || ! spare /etc/kubernetes/pki; }; then
	rm -rf $run/kubeadm.yaml $run/pki
	exit 74
fi
mkdir -p /var/lib/hybridctl/steps
if [ ! -e "$marker" ] && ! keep; then
	rm -rf $run/kubeadm.yaml $run/pki
	say "what somebody has in /etc/kubernetes could not be kept, and nothing was done"
	exit 74
fi
if [ $# -ge 5 ]; then
	printf 'name %s\nca %s\n' "$5" "$4" >/var/lib/hybridctl/cluster.new
	chmod 644 /var/lib/hybridctl/cluster.new
	sync -f /var/lib/hybridctl/cluster.new 2>/dev/null || sync
	mv -f /var/lib/hybridctl/cluster.new /var/lib/hybridctl/cluster
fi
printf 'begin\nstate started\nend\n' >"$marker.new"
chmod 644 "$marker.new"
mv -f "$marker.new" "$marker"
if [ -d $run/pki ]; then # the shared certificates of a further control plane
	[ ! -d $theirs ] || echo >$theirs/goes
	[ -n "$mounted" ] || delete /etc/kubernetes/pki
	mkdir -p /etc/kubernetes/pki
	copies beside || { rm -rf $run/kubeadm.yaml $run/pki; exit 74; }
	rm -f $theirs/goes
	mv -f $run/pki/* /etc/kubernetes/pki/
	rmdir $run/pki
fi

# A disk of its own for etcd has this when it is new, and kubeadm wants the directory empty.
rmdir /var/lib/etcd/lost+found 2>/dev/null || true

flags='' first=''
if [ "$verb" = init ]; then
	flags='--skip-token-print --skip-certificate-key-print'
	first="authority || { echo 'error: the authority of the cluster could not be made, and noted in $made'; exit 1; }"
fi
cat >$run/kubeadm.sh <<X
#!/bin/sh
grep -qs '^state done\$' $marker && exit 0
trap 'rm -rf $run/kubeadm.yaml $run/ca $run/ca.yaml' EXIT
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
install -d -m 755 /etc/kubernetes /etc/kubernetes/manifests # a worker's kubelet complains every second without
$control_plane
note() { # what it is given is what an init of ours made
	(umask 077 && cat >$made.new) || return
	sync -f $made.new 2>/dev/null || sync
	mv -f $made.new $made
}
authority() { # the cluster's, which kubeadm init takes
	[ ! -e /etc/kubernetes/pki/ca.crt ] || return 0
	rm -rf $run/ca
	(umask 077 && sed 's|^kind: ClusterConfiguration\$|certificatesDir: $run/ca\n&|' $run/kubeadm.yaml >$run/ca.yaml) || return
	/usr/local/bin/kubeadm init phase certs ca --config $run/ca.yaml && rm -f $run/ca.yaml || return
	sums=\$(cd $run/ca && sha256sum ca.crt ca.key) || return
	echo "\$sums" | sed 's|  |  /etc/kubernetes/pki/|' | note || return
	install -d -m 755 /etc/kubernetes/pki || return
	for f in ca.key ca.crt; do # whole, or not at all
		cp $run/ca/\$f /etc/kubernetes/pki/.\$f.new || return
		sync -f /etc/kubernetes/pki/.\$f.new 2>/dev/null || sync
		mv -f /etc/kubernetes/pki/.\$f.new /etc/kubernetes/pki/\$f || return
	done
	rm -rf $run/ca
}
ended() { # in vain
	[ ! -e $made ] || { control_plane | grep -v '^?'; echo end; } | note
	exit 1
}
$first
try=1 from=1
until /usr/local/bin/kubeadm $verb --config $run/kubeadm.yaml $flags; do
	# containerd was started a moment ago, and kubeadm has touched nothing yet
	tail -n +\$from $log | grep -q '\[ERROR CRI\]: could not connect to the container runtime' && [ \$try -lt 30 ] || ended
	echo 'hybridctl: once more'
	try=\$((try + 1)) from=\$((\$(wc -l <$log) + 1))
	sleep 2
done
if ! printf 'begin\nstate done\ndigest %s\nunit kubelet.service\nend\n' '$digest' >$marker.new || ! chmod 644 $marker.new; then
	echo 'error: kubeadm $verb ended well, and $marker cannot be written: is the disk full?'
	exit 1
fi
sync -f $marker.new 2>/dev/null
mv -f $marker.new $marker
rm -rf $made $theirs
X
cat >/run/systemd/system/$unit <<X
[Unit]
Description=kubeadm $verb, started by hybridctl
[Service]
Type=oneshot
ExecStart=/bin/sh $run/kubeadm.sh
StandardOutput=truncate:$log
StandardError=inherit
TimeoutStartSec=infinity
KillMode=mixed
X
systemctl reset-failed $unit 2>/dev/null || true
# A reload takes a small host seconds, and a systemd of today finds a new unit without.
case $(systemctl show -p LoadState -p NeedDaemonReload $unit 2>/dev/null || :) in
*LoadState=loaded*NeedDaemonReload=no* | *NeedDaemonReload=no*LoadState=loaded*) ;;
*) systemctl daemon-reload ;;
esac
trap - HUP INT PIPE TERM
systemctl start $unit || true
finished && { rm -f /run/systemd/system/$unit $run/kubeadm.sh; exit 0; }
failed
