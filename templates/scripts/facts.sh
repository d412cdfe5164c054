#!/bin/sh
# facts.sh MODULES TOOLS DIRECTORIES SYSCTLS UNITS MARKERS [ROOT]: what this host is, as one JSON object of strings.
#
# The first five are lists of words to ask about, MARKERS is the directory of the steps' markers; what those name is asked about
# as well. All paths but those of the markers' files are below ROOT, which tests give. Nothing is written, and one thing missing
# spoils no other: its value stays empty. The texts of files and commands go out as they are; Go takes them apart.
#
# It runs on emulated and small boards, on hundreds of hosts at once: few processes, files by name into one awk.
set -u
modules=$1 tools=$2 directories=$3 sysctls=$4 units=$5 markers=${6#/} root=${7:-}
export LC_ALL=C PATH="${root:+$root/bin:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The clock goes out before everything else, and at once: the caller knows when it came.
printf '{"clock":"%s"' "$(date +%s.%N 2>/dev/null)"

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
	say page && getconf PAGESIZE
	from hostname proc/sys/kernel/hostname
	from kernel proc/sys/kernel/osrelease
	from machine-id etc/machine-id
	from boot-id proc/sys/kernel/random/boot_id
	if [ -e etc/os-release ]; then from os etc/os-release; else from os usr/lib/os-release; fi
	from self proc/self/status
	say login && printf '%s\n' "${SUDO_USER:-${USER:-${LOGNAME:-}}}"
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
	from addresses proc/net/fib_trie proc/net/if_inet6
	from_dir binfmt proc/sys/fs/binfmt_misc
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
	for t in $tools; do
		if find_tool "$t"; then printf '%s /%s\n' "$t" "$found"; fi
	done
	find_tool iptables && say iptables && iptables --version
	# shellcheck disable=SC2086 # lists of words
	{
		states=$(systemctl is-active containerd.service $units)
		say units && printf '%s\n' containerd.service $units
		say states && printf '%s\n' "$states"
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
	[ ! -e etc/kubernetes/manifests/kube-apiserver.yaml ] || from apiserver etc/kubernetes/manifests/kube-apiserver.yaml
	for f in var/lib/etcd/*; do
		[ ! -e "$f" ] || { say etcd && break; }
	done
	for f in var/lib/kubelet/pods/* etc/cni/net.d/*; do
		[ ! -e "$f" ] || { say pods && break; }
	done
}

steps() {
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

{
	identity
	hardware
	kubernetes
	steps
	set -f
	disks
	software
	kernel_settings
} 2>/dev/null | awk '
	function quoted(s) {
		gsub(/[\\"]/, "\\\\&", s)
		gsub(/[\001-\037\177]/, " ", s)
		return s
	}
	function put(s) { printf "%s\\n", quoted(s) }
	# pick puts what is wanted of a line of a file, and sets done when nothing more is. Of kubeconfigs nothing but the server
	# is ever looked at: they hold keys.
	function pick(s,  f) {
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
		} else if (key == "addresses") {
			split(s, f)
			if (f[1] == "|--") { address = f[2]; return }
			if (index(s, "/32 host LOCAL")) s = address
			else if (f[1] ~ /^[0-9a-f]+$/ && f[6] != "") s = f[1]
			else return
		} else if (key == "memory") {
			if (s !~ /^(Mem|Swap)Total:/) return
		} else if (key == "kubelet.conf") {
			if (s !~ /^ *server:/) return
			done = 1
		} else if (key == "apiserver") {
			if (s !~ /^ *image:/) return
			done = 1
		} else if (key == "ca.crt") {
			if (s ~ /BEGIN CERTIFICATE/) inside = 1
			if (!inside) return
			if (s ~ /END CERTIFICATE/) done = 1
		}
		put(s)
	}
	/^\001/ { key = substr($0, 2); printf "%s,\"%s\":\"", end, quoted(key); end = "\""; next }
	/^\002/ {
		file = substr($0, 2)
		done = 0
		while (!done && (getline text <file) > 0) pick(text)
		close(file)
		next
	}
	{ put($0) }
	END { print end "}" }
'
