#!/bin/sh
# reset.sh PIN...: this host is no node any more: what kubeadm, kubelet, the pods and the pod network left is deleted. Every part may be gone
# already. Rules, links, mounts and files of others stay, and so does a disk of its own below /var/lib: only what is on it is deleted.
# The PINs are of the authorities that this host may be of: one of another cluster is left alone, and the exit status says so.
set -u
failed=''
say() { echo "reset: $*" >&2; failed=y; }
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
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

! others "$@" || exit 80
# One that was given up on may be at work still, and would go on in the middle of what comes after this one.
exec 9>>/run/hybridctl-reset.lock
if command -v flock >/dev/null && ! flock -n 9; then
	say 'an earlier reset of this host is at work still, and nothing was done: wait for its end, or restart the host'
	exit 1
fi
# A Kubernetes of another kind has no authority there, and has its pods, links and rules where ours had them, also while it does not run.
runs=$(systemctl list-units --plain --no-legend --state=active,activating,reloading,deactivating,failed 'k3s*.service' 'rke2-*.service' 'k0s*.service' \
	'snap.microk8s.daemon-*.service' 'snap.k8s.*.service' kubesolo.service microshift.service) || {
	say 'systemd does not say whether another Kubernetes runs here: nothing was done'
	exit 1
}
other=${runs%%[[:space:]]*} how=runs still=''
case ${runs%%"$nl"*} in
"$other"[[:space:]]*[[:space:]]failed[[:space:]]*) how=failed still="; systemctl reset-failed $other" ;; # which a stop does not end
esac
at=/etc/systemd/system/multi-user.target.wants
for u in "$at"/k3s*.service "$at"/rke2-*.service "$at"/k0s*.service "$at"/snap.microk8s.daemon-*.service "$at"/snap.k8s.*.service "$at"/kubesolo.service "$at"/microshift.service; do
	[ -n "$other" ] || [ ! -L "$u" ] || other=${u##*/} how='is enabled'
done
if [ -n "$other" ]; then
	say "$other $how here, another Kubernetes: nothing was done; where it is not needed, systemctl disable --now $other$still, and run the same command again"
	exit 1
fi

# A host may have an etcd of somebody's, laid out as every etcd is: only what kubeadm put beside its own tells that the data is of that one, an init
# that ended well, or the note of what one made. While a reset lasts, ours does.
etcd=''
goes=/var/lib/hybridctl/etcd-goes
for f in /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/pki/etcd $goes; do [ ! -e "$f" ] || etcd=/var/lib/etcd; done
! grep -qs '^state done$' /var/lib/hybridctl/steps/init || etcd=/var/lib/etcd
! grep -qs ' /etc/kubernetes/manifests/etcd\.yaml$' /var/lib/hybridctl/kubeadm-init.made || etcd=/var/lib/etcd
# Nothing of ours mounts below etcd's directory: that is somebody's, and kubeadm would delete through it.
[ -z "$etcd" ] || unmounted /var/lib/etcd || exit 1
[ -z "$etcd" ] || { mkdir -p /var/lib/hybridctl && : >$goes; } || exit 1

systemctl stop hybridctl-kubeadm.service 2>/dev/null
rm -f /run/systemd/system/hybridctl-kubeadm.service
systemctl stop kubelet.service 2>/dev/null
# kubeadm takes the member out of etcd; its other part deletes through mounts whose paths it cannot read. Where it made no etcd, this part would
# empty /var/lib/etcd whosever that is.
if [ -n "$etcd" ] && [ -x /usr/local/bin/kubeadm ] && { [ -e /etc/kubernetes ] || [ -e /var/lib/kubelet/config.yaml ]; }; then
	timeout 300 /usr/local/bin/kubeadm reset -f --cri-socket unix:///run/containerd/containerd.sock --skip-phases cleanup-node >/var/lib/hybridctl/kubeadm-reset.log 2>&1 || true
fi

# the pods, and the network namespaces that containerd made for them
netns=''
c() { timeout 60 ctr -n k8s.io "$@" 2>/dev/null; }
if command -v ctr >/dev/null && systemctl is-active -q containerd.service; then
	if ! containers=$(c containers ls -q) || ! tasks=$(c tasks ls -q); then
		say 'containerd does not answer, and what runs in it could not be ended: nothing was deleted; systemctl restart containerd, and run the same command again'
		exit 1
	fi
	for n in $containers; do netns="$netns $(c containers info "$n" | grep -o '/run/netns/cni-[0-9a-fA-F-]*')"; done
	for n in $tasks; do c tasks rm -f "$n" >/dev/null; done
	for n in $(c containers ls -q); do c containers rm "$n" >/dev/null; done
fi

# the kubelet's control groups; systemd forgets these slices when they stop
systemctl stop 'kubepods*.slice' 2>/dev/null

# block devices of Ceph that are mounted for pods, or given to them as devices: a mapping that stayed would keep every other host off the image
kubelet=$(readlink -f /var/lib/kubelet) # it may be a link
mapped=$(awk -v at="$kubelet/" 'index($5, at) == 1 { n = split($0, f, " - "); split(f[n], s, " "); if (s[2] ~ "^/dev/rbd[0-9]+$") print s[2]; else if ($4 ~ "^/rbd[0-9]+$") print "/dev" $4 }' /proc/self/mountinfo | sort -u)
let_go /var/lib/kubelet
for m in $mapped; do
	echo "${m#/dev/rbd}" >/sys/bus/rbd/remove_single_major 2>/dev/null || say "$m is still mapped to an image of Ceph: find out who has it open, or restart the host"
done

# links: what hangs on our bridge, with the namespaces at its other end, and our own
for l in $(ip -o link show master cni0 2>/dev/null | sed -n 's/^[0-9]*: \(veth[^@:]*\)[@:].*/\1/p'); do
	netns="$netns $(ip -d -o link show "$l" 2>/dev/null | sed -n 's/.*link-netns \(cni-[0-9a-fA-F-]*\).*/\/run\/netns\/\1/p')"
	ip link del "$l" 2>/dev/null
done
for n in $netns; do
	timeout 20 umount "$n" 2>/dev/null || umount -l "$n" 2>/dev/null
	rm -f "$n" 2>/dev/null
done
# what addresses pods have here tells which chains of the portmap plugin are ours
networks=$(sed -n 's/^FLANNEL_\(IPV6_\)\{0,1\}SUBNET=//p' /run/flannel/subnet.env 2>/dev/null; ip -o addr show dev cni0 2>/dev/null | sed -n '/ fe80:/d; s/.* inet6\{0,1\} \([^ ]*\) .*/\1/p')
for l in cni0 flannel.1 flannel-v6.1 flannel-wg flannel-wg-v6 kube-ipvs0; do
	! ip link show "$l" >/dev/null 2>&1 || ip link del "$l" || say "the link $l could not be removed"
done

# The network's configuration: only what flannel wrote. The directory stays: containerd ends itself when that is taken away under it.
rm -f /etc/cni/net.d/10-flannel.conflist
alone=y # no other network of the container network interface is on this host
for f in /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /etc/cni/net.d/*.json; do [ ! -e "$f" ] || alone=''; done

# rules: reads what iptables-save prints, and prints the arguments of the commands that take ours away, a command a line, the arguments parted by \001.
# Ours are chains with such names, the portmap plugin's for our pods' addresses, and rules that jump to them. What a comment says is no name.
ours='^(KUBE|FLANNEL)-.'
rules() {
	awk -v ours="$ours" -v networks="$(printf %s "$networks" | tr '\n' ' ')" -v alone="$alone" '
		BEGIN {
			nets = split(networks, net, " ")
			for (i = 1; i <= nets; i++) { split(net[i], part, "/"); net[i] = substr(binary(part[1]), 1, part[2] + 1) }
		}
		function digits(v, base, width,  s) { for (s = ""; width > 0; width--) { s = v % base s; v = int(v / base) } return s }
		function hex(s,  i, v) { v = 0; s = tolower(s); for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return v }
		# binary gives an address as its family and 32 or 128 digits, and nothing for what is none
		function binary(a,  p, m, i, half, k, out) {
			out = ""
			if (a ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/) {
				split(a, p, ".")
				for (i = 1; i <= 4; i++) out = out digits(p[i], 2, 8)
				return "4" out
			}
			if (a !~ /^[0-9a-fA-F:]+$/ || a !~ /:/) return ""
			if ((k = index(a, "::")) > 0) {
				m = split(substr(a, 1, k - 1), half, ":")
				for (i = 1; i <= m; i++) p[i] = half[i]
				k = split(substr(a, k + 2), half, ":")
				for (i = m + 1; i <= 8 - k; i++) p[i] = 0
				for (i = 1; i <= k; i++) p[8 - k + i] = half[i]
			} else split(a, p, ":")
			for (i = 1; i <= 8; i++) out = out digits(hex(p[i]), 2, 16)
			return "6" out
		}
		function inside(a,  b, i) {
			sub(/\/.*/, "", a)
			if (a ~ /^\[/) { sub(/^\[/, "", a); sub(/\].*/, "", a) } else if (a ~ /\./) sub(/:.*/, "", a)
			b = binary(a)
			if (b != "") for (i = 1; i <= nets; i++) if (length(net[i]) > 1 && substr(b, 1, length(net[i])) == net[i]) return 1
			return 0
		}
		# words parts a line as iptables-save quoted it
		function words(line,  i, c, w, quote, some) {
			count = 0; w = ""; quote = 0; some = 0
			for (i = 1; i <= length(line); i++) {
				c = substr(line, i, 1)
				if (quote && c == "\\") { i++; w = w substr(line, i, 1) }
				else if (c == "\"") { quote = !quote; some = 1 }
				else if (c == " " && !quote) { if (some) word[++count] = w; w = ""; some = 0 }
				else { w = w c; some = 1 }
			}
			if (some) word[++count] = w
		}
		function own(chain) { return chain ~ ours || chain in portmap }
		/^\*/ { table = substr($1, 2); chains = rulesof = 0; split("", portmap); others = 0; next }
		/^:/ { chain[++chains] = substr($1, 2); next }
		/^-A / {
			words($0)
			rule[++rulesof] = $0; from[rulesof] = word[2]; to[rulesof] = ""; here = 0
			for (i = 3; i < count; i++) {
				if (word[i] == "--comment") i++
				else if (word[i] == "-j" || word[i] == "-g") to[rulesof] = word[i + 1]
				else if ((word[i] == "-s" || word[i] == "-d" || word[i] == "--to-destination") && word[i - 1] != "!" && inside(word[i + 1])) here = 1
			}
			if (here && from[rulesof] ~ /^CNI-/ && from[rulesof] !~ /^CNI-HOSTPORT-/) portmap[from[rulesof]]
			if (here && to[rulesof] ~ /^CNI-/ && to[rulesof] !~ /^CNI-HOSTPORT-/) portmap[to[rulesof]]
			next
		}
		/^COMMIT/ {
			for (i = 1; i <= chains; i++) if (chain[i] ~ /^CNI-/ && chain[i] !~ /^CNI-HOSTPORT-/ && !(chain[i] in portmap)) others++
			if (alone && !others) for (i = 1; i <= chains; i++) if (chain[i] ~ /^CNI-HOSTPORT-(DNAT|SETMARK|MASQ)$/) portmap[chain[i]]
			for (i = 1; i <= rulesof; i++) if (own(to[i]) && !own(from[i])) {
				words(rule[i])
				printf "-t\001%s\001-D", table
				for (k = 2; k <= count; k++) printf "\001%s", word[k]
				print ""
			}
			for (i = 1; i <= chains; i++) if (own(chain[i])) printf "-t\001%s\001-F\001%s\n", table, chain[i]
			for (i = 1; i <= chains; i++) if (own(chain[i])) printf "-t\001%s\001-X\001%s\n", table, chain[i]
		}
	'
}
# Where a program cannot tell the rules, some of ours may stay, unless the kernel is known to have none of its kind.
has_nf_tables() { # whether nf_tables is loaded or built in, by the list of what is, or by the kernel's own symbols; 2 = neither can be read
	[ ! -d /sys/module/nf_tables ] || return 0
	builtin=/lib/modules/$(uname -r)/modules.builtin
	if [ -r "$builtin" ]; then grep -q '/nf_tables\.ko' "$builtin"; else grep -qs ' nft_do_chain$' /proc/kallsyms; fi
}
ruleless() { # PROGRAM: whether there is nothing that it could tell
	tables=/proc/net/ip_tables_names
	case $1 in ip6*)
		[ -e /proc/net/if_inet6 ] || return 0
		tables=/proc/net/ip6_tables_names
		;;
	esac
	case $1 in *-legacy) ;; *) # iptables itself is the one or the other
		has_nf_tables
		[ $? -eq 1 ] || return 1
		;;
	esac
	case $1 in *-nft | nft) ;; *)
		[ ! -e "$tables" ] || ! read -r _ <"$tables"
		;;
	esac
}
untold() { # PROGRAM COMMAND...: says that what the PROGRAM has is not known, as the COMMAND failed, and why
	ruleless "$1" && return
	why=$(shift && timeout 60 "$@" 2>&1 >/dev/null | tail -n 1)
	program=$1
	shift
	say "rules of ours may stay in $program, as $* failed${why:+ ($why)}: see to it, and run the same command again"
}
saved() { # PROGRAM: sets $commands to what takes ours away
	text=$(timeout 60 "$1-save" 2>/dev/null)
	told=$?
	commands=$(printf '%s\n' "$text" | rules)
	return $told
}
sep=$(printf '\001')
for s in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy iptables ip6tables; do
	if ! command -v "$s" >/dev/null || ! command -v "$s-save" >/dev/null; then continue; fi
	for _ in 1 2; do # one rule at a time, so that what others write meanwhile stays; a second look, as others write
		saved "$s"
		[ -n "$commands" ] || break
		while IFS= read -r command; do
			set -f
			IFS=$sep
			# shellcheck disable=SC2086 # parted there
			set -- $command
			unset IFS
			set +f
			timeout 60 "$s" -w "$@" 2>/dev/null
		done <<X
$commands
X
	done
	saved "$s" || untold "$s" "$s-save"
	[ -z "$commands" ] || say "rules of ours stay in $s: iptables-save shows them"
done
if command -v nft >/dev/null; then
	set -- 'ip kube-proxy' 'ip6 kube-proxy' 'ip flannel-ipv4' 'ip6 flannel-ipv6'
	for t; do
		# shellcheck disable=SC2086 # family and name are two words
		nft delete table $t 2>/dev/null
	done
	text=$(timeout 60 nft list tables 2>/dev/null) || untold nft nft list tables
	for t; do
		case $nl$text$nl in *"${nl}table $t$nl"*) say "the table $t stays: nft list tables shows it" ;; esac
	done
fi

for d in $etcd /etc/kubernetes /var/lib/kubelet /run/flannel /var/log/pods /var/log/containers /run/kubernetes /run/hybridctl; do delete "$d"; done
rmdir /var/lib/etcd 2>/dev/null # an empty one
# what the plugins noted of our network, which is called cbr0, and of the loopback that containerd adds
for f in /var/lib/cni/flannel /var/lib/cni/networks/cbr0 /var/lib/cni/results/cbr0-* /var/lib/cni/results/cni-loopback-* /var/lib/cni/cache/results/cbr0-*; do delete "$f"; done
rmdir /var/lib/cni/networks /var/lib/cni/results /var/lib/cni/cache/results /var/lib/cni/cache /var/lib/cni 2>/dev/null
[ -z "$failed" ] || exit 1 # the markers tell that what is left is ours
rm -rf /var/lib/hybridctl/steps/init /var/lib/hybridctl/steps/join /var/lib/hybridctl/kubeadm-* $goes
rm -f /var/lib/hybridctl/cluster # at last: until here this host is that cluster's
rm -f /run/hybridctl-reset.lock
