#!/bin/sh
# facts.sh MODULES TOOLS DIRECTORIES SYSCTLS UNITS SYNCED MARKERS [ROOT]: what this host is, as one JSON object of strings.
#
# The first five are lists of words to ask about. SYNCED is the directory for which writes are timed, and processes; - for processes
# alone; or empty. MARKERS is the directory of the steps' markers; what those name is asked about as well. All paths but those of the
# markers' files are below ROOT, which tests give. Nothing is left behind: what times writes has no name when it is written to. One
# thing missing spoils no other: its value stays empty. The texts of files and commands go out as they are; Go takes them apart.
#
# It runs on emulated and small boards, on hundreds of hosts at once: few processes, files by name into one awk.
set -u
modules=$1 tools=$2 directories=$3 sysctls=$4 units=$5 synced=$6 markers=${7#/} root=${8:-}
export LC_ALL=C PATH="${root:+$root/bin:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The clock goes out before everything else, and at once: the caller knows when it came.
clock=$(date +%s.%N 2>/dev/null)
printf '{"clock":"%s"' "$clock"
# One process later: how long a process takes, from its start to the next one's.
[ -z "$synced" ] || later=$(date +%s.%N 2>/dev/null)

cd "${root:-/}" || exit
nl='
'

# What the markers say must be so.
files=
for m in "$markers"/*; do
	[ -f "$m" ] || continue
	while read -r word rest; do
		case $word in
		file) files=$files$nl/${rest#* /} ;;
		unit) units="$units $rest" ;;
		module) modules="$modules $rest" ;;
		sysctl) sysctls="$sysctls ${rest%% *}" ;;
		esac
	done <"$m"
done 2>/dev/null

say() { printf '\001%s\n' "$1"; } # the lines that follow are the value of this key

from() { # KEY FILE...: the value is the text of these files; some awks end for good at one that cannot be read
	say "$1"
	shift
	for f; do
		[ ! -f "$f" ] || [ ! -r "$f" ] || printf '\002%s\n' "$f"
	done
}

from_dir() { # KEY DIRECTORY: one key for each file
	for entry in "$2"/*; do
		case $entry in */binfmt_misc/register) continue ;; esac # may be written only
		[ ! -f "$entry" ] || from "$1/${entry##*/}" "$entry"
	done
}

identity() {
	say machine && uname -m
	say bits && { getconf LONG_BIT || od -An -tu1 -j4 -N1 bin/sh; } # the second prints the ELF class
	# shellcheck disable=SC2015 # the one or the other
	say page && getconf PAGESIZE || from page-of-maps proc/self/smaps
	from model proc/device-tree/model
	from cmdline proc/cmdline
	say boot-files
	for f in boot/firmware/cmdline.txt boot/cmdline.txt boot/armbianEnv.txt; do [ ! -e "$f" ] || printf '/%s\n' "$f"; done
	from hostname proc/sys/kernel/hostname
	from kernel proc/sys/kernel/osrelease
	from machine-id etc/machine-id
	from boot-id proc/sys/kernel/random/boot_id
	if [ -e etc/os-release ]; then from os etc/os-release; else from os usr/lib/os-release; fi
	from self proc/self/status
	say login && printf '%s\n' "${SUDO_USER:-${DOAS_USER:-${USER:-${LOGNAME:-}}}}"
	[ ! -d run/systemd/system ] || say systemd
}

hardware() {
	from cpu proc/cpuinfo
	from memory proc/meminfo
	if [ -e sys/fs/cgroup/cgroup.controllers ]; then
		from cgroup2 sys/fs/cgroup/cgroup.controllers
	elif [ -e proc/cgroups ]; then
		say cgroup1
	fi
	from ports proc/net/tcp proc/net/tcp6
	from udp proc/net/udp proc/net/udp6
	from addresses proc/net/fib_trie proc/net/if_inet6
	from_dir binfmt proc/sys/fs/binfmt_misc
	from mounts proc/self/mountinfo
	say links
	for f in usr/local usr/local/bin usr/local/sbin opt opt/cni etc/systemd etc/kubernetes var/lib; do [ ! -L "$f" ] || printf '/%s\n' "$f"; done
}

# surroundings: what others set up, and what gets into a cluster's way
surroundings() {
	from selinux sys/fs/selinux/enforce
	from resolv etc/resolv.conf
	from resolved run/systemd/resolve/resolv.conf
	from ufw etc/ufw/ufw.conf
	from network-manager etc/NetworkManager/conf.d/*.conf usr/lib/NetworkManager/conf.d/*.conf run/NetworkManager/conf.d/*.conf
	say cni-configs
	for f in etc/cni/net.d/*.conf etc/cni/net.d/*.conflist etc/cni/net.d/*.json; do [ ! -e "$f" ] || printf '%s\n' "${f##*/}"; done
	# Whether rules of others close this host is asked before it is a node.
	[ -e etc/kubernetes/kubelet.conf ] || rules
}

# rules: what is in the packet filter, and what of it could not be read. Only what loads no module is run. ip6tables-legacy is not asked: hosts and
# pods have addresses of IPv4 alone, as the inventory wants them, so that its rules close nothing of a cluster. nft lists both families at once.
rules() {
	unread='' tables='' kernel='' programs=''
	[ -d sys/module ] || unread="/sys/module is not there$nl"
	[ ! -r proc/net/ip_tables_names ] || read -r tables <proc/net/ip_tables_names
	read -r kernel <proc/sys/kernel/osrelease
	has_nf_tables "lib/modules/$kernel/modules.builtin"
	case $? in
	0)
		if find_tool nft; then
			say nft
			nft_rules || unread="${unread}nft failed$nl"
		else # iptables knows what it made itself, and nothing else
			unread="${unread}nft is not there$nl"
			if find_tool iptables-nft; then programs=iptables-nft; elif is_nft; then programs=iptables; fi
		fi
		;;
	1) ;;
	*) [ -n "$unread" ] || unread="neither modules.builtin nor /proc/kallsyms tells what is built into the kernel$nl" ;;
	esac
	if [ -n "$tables" ]; then
		if find_tool iptables-legacy; then
			programs="$programs iptables-legacy"
		elif ! find_tool iptables || is_nft; then
			unread="${unread}iptables-legacy is not there$nl"
		else
			programs="$programs iptables"
		fi
	fi
	[ -z "$programs" ] || say iptables-rules
	for t in $programs; do timeout 10 "$t" -S || unread="$unread$t failed$nl"; done
	say rules-unread
	printf '%s' "$unread"
}
has_nf_tables() { # BUILTIN: whether nf_tables is loaded or built in, by that list or by the kernel's own symbols; 2 = neither can be read
	[ ! -d sys/module/nf_tables ] || return 0
	if [ -r "$1" ]; then grep -q '/nf_tables\.ko' "$1"; else grep -q ' nft_do_chain$' proc/kallsyms; fi
}
is_nft() { # whether iptables works on nf_tables
	find_tool iptables || return
	case $(iptables --version) in *nf_tables*) ;; *) return 1 ;; esac
}
nft_rules() { # without the contents of sets, which may be large; nft 0.9.2 and older does not know how
	timeout 10 nft -t list ruleset && return
	[ $? -lt 124 ] && timeout 10 nft list ruleset
}

# parent PATH: the nearest thing there is at or above it
parent() {
	p=${1#/}
	while [ ! -e "${p:=.}" ]; do
		case $p in */*) p=${p%/*} ;; *) p=. ;; esac
	done
}

disks() {
	say directories
	measured=
	for d in $directories; do
		parent "$d"
		printf '%s %s\n' "$d" "$p"
		measured="$measured $p"
	done
	# shellcheck disable=SC2086 # a list of words
	[ -z "$measured" ] || { say disk && stat -f -c '%a %S %n' $measured; }
}

find_tool() { # NAME: sets $found to its path below the root, or to nothing
	for found in usr/local/sbin usr/local/bin usr/sbin usr/bin sbin bin; do
		found=$found/$1
		[ ! -f "$found" ] || [ ! -x "$found" ] || return 0
	done
	found=
	return 1
}

software() {
	say tools
	for t in $tools; do ! find_tool "$t" || printf '%s /%s\n' "$t" "$found"; done
	for t in apt-get dnf yum zypper apk; do ! find_tool "$t" || { say package-tool && echo "$t" && break; }; done
	find_tool iptables && say iptables && iptables --version
	# shellcheck disable=SC2086 # lists of words
	{
		states=$(systemctl is-active containerd.service $units)
		say units && printf '%s\n' containerd.service $units
		say states && printf '%s\n' "$states"
		say installed # of the units those that have a file, whether they run or not; minikube has none where it runs without machines of its own
		for u in $units; do
			for d in etc run usr/local/lib usr/lib lib; do [ ! -f "$d/systemd/system/$u" ] || { echo "$u" && break; }; done
		done
		[ ! -d var/lib/minikube ] || echo /var/lib/minikube
	}
	# ctr waits long for a containerd that is not there
	case $states in active*) ;; *) return ;; esac
	if [ -S run/containerd/containerd.sock ] && images=$(timeout 20 ctr -n k8s.io images ls -q); then
		say images && printf '%s\n' "$images"
	fi
}

kernel_settings() {
	say modules
	absent=
	for m in $modules; do
		if [ -e "sys/module/$m/initstate" ]; then
			printf '%s loaded\n' "$m"
		elif [ -d "sys/module/$m" ]; then
			printf '%s builtin\n' "$m"
		else
			absent="$absent $m"
		fi
	done
	[ -z "$absent" ] || find_modules "$absent"
	say sysctls
	for s in $sysctls; do
		IFS=.
		# shellcheck disable=SC2086 # split at the dots
		set -- $s
		IFS=/
		f=proc/sys/$*
		IFS=' '
		[ ! -r "$f" ] || { read -r value <"$f" || :; printf '%s %s\n' "$s" "$value"; }
	done
}

find_modules() { # NAMES: which of them the kernel has built in, or could load
	names=$1 kernel=
	read -r kernel <proc/sys/kernel/osrelease
	set --
	for f in "lib/modules/$kernel/modules.builtin" "lib/modules/$kernel/modules.dep"; do
		[ ! -r "$f" ] || set -- "$@" "$f"
	done
	awk -F: -v names="$names" '
		BEGIN { n = split(names, list, " "); for (i = 1; i <= n; i++) state[list[i]] = "missing" }
		{
			name = $1
			sub(/.*\//, "", name)
			sub(/\.ko.*/, "", name)
			gsub(/-/, "_", name)
			if (name in state && state[name] == "missing") state[name] = FILENAME ~ /builtin$/ ? "builtin" : "available"
		}
		END { for (name in state) print name, state[name] }
	' "$@" </dev/null
}

kubernetes() {
	[ ! -e etc/kubernetes/kubelet.conf ] || from kubelet.conf etc/kubernetes/kubelet.conf
	[ ! -e etc/kubernetes/admin.conf ] || say admin.conf
	[ ! -e etc/kubernetes/pki/ca.crt ] || from ca.crt etc/kubernetes/pki/ca.crt
	# The first certificate of each file, which alone tells when it ends.
	for f in etc/kubernetes/pki/*.crt etc/kubernetes/pki/etcd/*.crt var/lib/kubelet/pki/kubelet-client-current.pem etc/kubernetes/*.conf; do
		[ ! -e "$f" ] || [ "$f" = etc/kubernetes/pki/ca.crt ] || from "certificate/$f" "$f"
	done
	[ ! -e etc/kubernetes/manifests/kube-apiserver.yaml ] || from apiserver etc/kubernetes/manifests/kube-apiserver.yaml
	for f in var/lib/etcd/*; do # a disk of its own has lost+found
		[ ! -e "$f" ] || [ "$f" = var/lib/etcd/lost+found ] || { say etcd && break; }
	done
	for f in var/lib/kubelet/pods/* etc/cni/net.d/*; do [ ! -e "$f" ] || { say pods && break; }; done
}

# milliseconds TIME: of the last 100 seconds, with a one in front that keeps the shell from reading an octal number
milliseconds() {
	m=${1%.*}
	m=1${m#"${m%??}"}
	f=${1#*.}
	m=$m${f%"${f#???}"}
}

# slow_process: whether what speed starts would hold this script up for longer than two tenths of a second, all in all
slow_process() {
	case $clock:$later in *.?????????:*.?????????) ;; *) return 1 ;; esac # a date of whole seconds says nothing
	milliseconds "$clock" && begun=$m
	milliseconds "$later"
	[ $(((m - begun + 100000) % 100000)) -gt 25 ]
}

hundredths() { # of a second, since the boot, with a one in front
	up=
	read -r up rest <proc/uptime
	[ -n "$up" ] && now=1${up%.*}${up#*.}
}

# speed times processes, and writes that wait for the disk, as etcd's do: a tenth of a second long, with all that it starts. No signal ends a write
# that the disk holds up: after a second it is left alone, and has nothing open then by which it would hold up whoever started this script.
speed() {
	say process && printf '%s\n' "$clock" "$later"
	[ "$synced" != - ] && ! slow_process || return
	hundredths && begun=$now || begun=
	parent "$synced"
	[ -d "$p" ] || p=${p%/*}
	[ -d "$p" ] || return
	say device && stat -c %d "$p"
	file=$p/.hybridctl-speed-$$
	say synced
	{
		sleep 1 &
		second=$!
		echo "$second"
		{
			(exec 9>"$file" && writes)
			echo over
		} &
		wait "$second" && echo late
	} | {
		read -r second
		while read -r line; do
			case $line in
			over)
				kill "$second"
				break
				;;
			late)
				say stalled
				break
				;;
			esac
			printf '%s\n' "$line"
		done
	}
}

# writes: one block, written over again
writes() {
	rm -f "$file" || return # it has no name once it is open
	how='conv=notrunc oflag=dsync' n=0
	while [ "$n" -lt 16 ]; do
		# shellcheck disable=SC2086 # options
		if ! said=$(dd if=/dev/zero of=/proc/self/fd/9 bs=2048 count=1 $how 2>&1); then
			[ "$how" != conv=notrunc,fsync ] || break
			how=conv=notrunc,fsync # all that busybox knows
			continue
		fi
		printf '%s\n' "$said"
		n=$((n + 1))
		if [ -n "$begun" ] && hundredths; then
			[ $((now - begun)) -lt 10 ] || break
		elif [ "$n" -ge 3 ]; then
			break
		fi
	done
}

steps() {
	[ ! -e "${markers%/*}/cluster" ] || from cluster "${markers%/*}/cluster"
	from_dir marker "$markers"
	IFS=$nl
	set -f
	# shellcheck disable=SC2086 # a path a line
	set -- $files
	IFS=' '
	[ $# -gt 0 ] || return
	stats=$(stat -c '%f %s %.9Y %n' -- "$@")
	say files && printf '%s\n' "$stats"
	# Small regular files are read whole; of large ones, size, mode and time must do.
	IFS=$nl
	set --
	for line in $stats; do
		case $line in 8*) ;; *) continue ;; esac
		line=${line#* }
		[ "${line%% *}" -gt 1048576 ] || set -- "$@" "${line#* * }"
	done
	IFS=' '
	[ $# -eq 0 ] || { say sums && sha256sum -- "$@"; }
}

everything() {
	identity
	hardware
	kubernetes
	surroundings
	steps
	set -f
	disks
	software
	kernel_settings
	[ -z "$synced" ] || speed
	say whole
}

# without_awk prints the rest of the object where there is no awk: who the host is, and which tools it lacks.
without_awk() {
	printf ',"without":"awk"'
	pair machine "$(uname -m)"
	read -r text <proc/sys/kernel/hostname
	pair hostname "$text"
	text=
	for f in etc/os-release usr/lib/os-release; do
		[ -r "$f" ] || continue
		while read -r line; do
			case $line in ID=* | ID_LIKE=* | VERSION_ID=* | PRETTY_NAME=*) text=$text$line$nl ;; esac
		done <"$f"
		break
	done
	pair os "$text"
	while read -r word a b c d _; do [ "$word" != Uid: ] || pair self "Uid: $a $b $c $d"; done <proc/self/status
	pair login "${SUDO_USER:-${DOAS_USER:-${USER:-${LOGNAME:-}}}}"
	[ ! -d run/systemd/system ] || pair systemd ''
	text=
	for t in $tools; do [ "$t" = awk ] || ! find_tool "$t" || text="$text$t /$found$nl"; done
	pair tools "$text"
	echo '}'
}
pair() { # KEY TEXT: quotes, backslashes and the like are left out
	text=$2 clean=
	while :; do
		case $text in *[\\\"[:cntrl:]]*) ;; *) break ;; esac
		head=${text%%[\\\"[:cntrl:]]*}
		text=${text#"$head"}
		case $text in "$nl"*) head=$head\\n ;; esac
		text=${text#?}
		clean=$clean$head
	done
	printf ',"%s":"%s"' "$1" "$clean$text"
}

if ! command -v awk >/dev/null 2>&1; then
	without_awk 2>/dev/null
	exit
fi
# A redirection of everything alone would leave what it leaves alone a copy of the errors' way out.
{ exec 2>/dev/null && everything; } | awk '
	function quoted(s) {
		gsub(/[\\"]/, "\\\\&", s)
		gsub(/[^\040-\176\200-\377]/, " ", s) # so are zero bytes, which not every awk can be told of
		return s
	}
	function put(s) { printf "%s\\n", quoted(s) }
	# pick puts what is wanted of a line of a file, and sets done when nothing more is. Of kubeconfigs, and of files that hold a key
	# besides, nothing but the server and the certificate ever goes out.
	function pick(s,  f, i, n) {
		if (key == "cpu") {
			if (s ~ /^processor/) cpus++
			else if (cpus > 1) return
		} else if (key == "self") {
			if (s !~ /^Uid:/) return
			done = 1
		} else if (key == "ports") {
			split(s, f)
			if (f[1] !~ /^[0-9]+:$/) return
			if (f[4] != "0A") { done = 1; return } # the kernel lists listening sockets first
			s = f[2]
		} else if (key == "udp") {
			split(s, f)
			if (f[1] !~ /^[0-9]+:$/) return
			s = f[2]
		} else if (key == "addresses") {
			split(s, f)
			if (f[1] == "|--") { address = f[2]; return }
			if (index(s, "/32 host LOCAL")) s = address
			else if (f[1] ~ /^[0-9a-f]+$/ && f[6] != "") s = f[1]
			else return
		} else if (key == "memory") {
			if (s !~ /^(Mem|Swap)Total:/) return
		} else if (key == "model") { # ends with a zero byte
			gsub(/[^ -~]/, "", s)
		} else if (key == "page-of-maps") {
			if (s !~ /^KernelPageSize:/) return
			done = 1
		} else if (key == "cmdline") { # it may hold anything, and only these are looked at
			n = split(s, f)
			s = ""
			for (i = 1; i <= n; i++) if (f[i] ~ /^(cgroup|systemd\.unified_cgroup)/) s = s " " f[i]
		} else if (key == "mounts") {
			n = split(s, f)
			if (f[5] !~ /^\/(usr(\/local(\/s?bin)?)?|etc(\/systemd(\/system)?|\/kubernetes)?|opt(\/cni(\/bin)?)?|var(\/lib(\/(hybridctl|kubelet|containerd))?)?)?$/) return
			s = f[5] " " f[6] "," f[n]
		} else if (key == "resolv" || key == "resolved") {
			if (s !~ /^[ \t]*nameserver/) return
		} else if (key == "ufw") {
			if (s !~ /^ENABLED=/) return
		} else if (key == "network-manager") {
			if (s !~ /^[ \t]*unmanaged-devices/) return
		} else if (key == "cluster") {
			if (s !~ /^(ca|name) /) return
		} else if (key == "kubelet.conf") {
			if (s !~ /^ *server:/) return
			done = 1
		} else if (key == "apiserver") {
			if (s !~ /^ *image:/) return
			done = 1
		} else if (key ~ /^certificate\/.*\.conf$/) {
			if (s !~ /^ *client-certificate-data:/) return
			sub(/^ *client-certificate-data: */, "", s)
			done = 1
		} else if (key == "ca.crt" || key ~ /^certificate\//) {
			if (s ~ /BEGIN CERTIFICATE/) inside = 1
			else if (s ~ /-----BEGIN/) inside = 0 # a certificate that was cut off, and perhaps a key
			if (!inside) return
			if (s ~ /END CERTIFICATE/) done = 1
		}
		put(s)
	}
	# What becomes of packets that no rule names. Of a chain the rules count that match everything: what they do, or the chain that they lead to.
	function rule(chain, does) {
		if (does == "" || chain in over) return
		does_all[chain] = does_all[chain] " " does
		if (does !~ /^jump:/) over[chain] = 1
	}
	function fate(chain, depth,  list, n, i, told) {
		n = depth > 8 ? 0 : split(does_all[chain], list)
		for (i = 1; i <= n; i++) {
			if (list[i] == "return") return ""
			if (list[i] !~ /:/) return list[i]
			told = fate(substr(list[i], 6), depth + 1)
			if (told != "" || list[i] ~ /^goto:/) return told
		}
		return ""
	}
	function hook(chain, policy) { hooks[++hooked] = chain; policies[chain] = policy }
	function judge(where,  i, told) { # put the chains that let nothing through but what they name
		for (i = 1; i <= hooked; i++) {
			told = fate(hooks[i], 0)
			if (told == "drop" || told == "" && policies[hooks[i]] == "drop") put(where hooks[i])
		}
		hooked = 0
		split("", does_all)
		split("", over)
	}
	# What a rule of nft does, if it matches everything: counters, log lines and comments come before that.
	function nft_does(s,  w, n, i, quote) {
		if ($1 !~ /^(counter|log|comment|xt|drop|reject|accept|return|jump|goto)$/) return ""
		while (match(s, /"[^"]*"/)) {
			quote = substr(s, RSTART + 1, RLENGTH - 2)
			gsub(/[ \t]/, "_", quote)
			s = substr(s, 1, RSTART - 1) (quote == "" ? "-" : quote) substr(s, RSTART + RLENGTH)
		}
		n = split(s, w)
		for (i = 1; i <= n; i++) {
			if (w[i] == "counter") i += w[i + 1] == "packets" ? 4 : w[i + 1] == "name" ? 2 : 0
			else if (w[i] == "comment") i++
			else if (w[i] == "xt" && w[i + 1] == "match" && w[i + 2] == "comment") i += 2
			else if (w[i] != "log") break
			else while (w[i + 1] ~ /^(prefix|level|flags|group|snaplen|queue-threshold)$/) i += w[i + 2] ~ /^(tcp|ip)$/ ? 3 : 2
		}
		if (w[i] == "xt" && w[i + 1] == "target") return w[i + 2] ~ /^(DROP|REJECT)$/ ? "drop" : ""
		if (w[i] ~ /^(drop|reject)$/) return "drop"
		if (w[i] ~ /^(accept|return)$/) return w[i]
		return w[i] ~ /^(jump|goto)$/ ? w[i] ":" w[i + 1] : ""
	}
	function iptables_does(s,  w) { # the same of a rule of iptables
		while (match(s, /^-m comment --comment ("([^"\\]|\\.)*"|[^" ]+) /)) s = substr(s, RLENGTH + 1)
		if (s !~ /^-[jg] /) return ""
		split(s, w)
		if (w[2] ~ /^(DROP|REJECT)$/) return "drop"
		if (w[2] ~ /^(ACCEPT|RETURN)$/) return tolower(w[2])
		return (w[1] == "-g" ? "goto:" : "jump:") w[2]
	}
	$0 == "\001whole" { whole = 1; next }
	/^\001/ { if (key == "iptables-rules") judge("iptables "); key = substr($0, 2); printf "%s,\"%s\":\"", end, quoted(key); end = "\""; next }
	/^\002/ {
		file = substr($0, 2)
		done = inside = 0
		while (!done && (getline text <file) > 0) pick(text)
		close(file)
		next
	}
	key == "nft" {
		if ($1 == "table") table = $2 " " $3 " "
		else if (/^}/) judge(table)
		else if ($1 == "chain") chain = $2
		else if ($1 == "}") chain = ""
		else if (chain != "" && /hook (input|forward) /) hook(chain, $0 ~ /policy drop/ ? "drop" : "")
		else if (chain != "") rule(chain, nft_does($0))
		next
	}
	key == "iptables-rules" {
		if ($1 == "-P" && $2 == "INPUT") judge("iptables ") # of the program before
		if ($1 == "-P" && $2 ~ /^(INPUT|FORWARD)$/) hook($2, $3 == "DROP" ? "drop" : "")
		if ($1 == "-A") rule($2, iptables_does(substr($0, length($2) + 5)))
		next
	}
	{ put($0) }
	# Whatever ended the asking in its middle, as a lack of memory or of processes does, must not look like a host that has nothing.
	END { if (whole) print end "}" }
' || without_awk 2>/dev/null # there may be one that does not work
