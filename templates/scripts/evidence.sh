#!/bin/sh
# evidence.sh: what a host says of its runtime, network and kernel, for a report of what went wrong. It changes nothing, and goes on
# whatever is missing.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
part() { printf '\n== %s\n' "$*"; }
bounded() { timeout 20 "$@" 2>&1 | tail -n 200 | cut -c 1-400; }

part 'system'
uname -a
printf 'page size %s, uptime %s, clock %s\n' "$(getconf PAGESIZE)" "$(cut -d' ' -f1 /proc/uptime)" "$(date -u '+%Y-%m-%dT%H:%M:%SZ')"
cat /proc/loadavg
for f in /proc/sys/fs/binfmt_misc/*; do
	[ -r "$f" ] && [ "${f##*/}" != register ] && printf 'binfmt %s: %s\n' "${f##*/}" "$(head -n 1 "$f")"
done
part 'interfaces'
bounded ip -d link
bounded ip addr
part 'routes and neighbours'
bounded ip route
bounded ip neigh
bounded bridge fdb show
part 'offloads of the overlay'
for i in /sys/class/net/*; do
	case ${i##*/} in flannel* | vxlan* | cali* | cni*) bounded ethtool -k "${i##*/}" | grep -E '^Features|checksum|segmentation' ;; esac
done
part 'packet filter'
if command -v iptables-save >/dev/null; then bounded iptables-save; fi
if command -v nft >/dev/null; then bounded nft list ruleset; fi
part 'kubelet'
bounded journalctl -u kubelet -n 80 --no-pager -o short-iso
part 'containerd'
bounded journalctl -u containerd -n 60 --no-pager -o short-iso
part 'kernel'
dmesg 2>/dev/null | tail -n 60
part 'memory and disks'
head -n 3 /proc/meminfo
bounded df -h /var/lib
exit 0
