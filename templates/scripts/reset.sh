#!/bin/sh
# reset.sh: this host is no node any more: what kubeadm, kubelet, the pods and the pod network left goes. Every part may be gone
# already. Rules, links and mounts of others stay.
set -u
failed=''
say() { echo "reset: $*" >&2; failed=y; }
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

systemctl stop hybridctl-kubeadm.service 2>/dev/null
rm -f /run/systemd/system/hybridctl-kubeadm.service
if [ -x /usr/local/bin/kubeadm ] && { [ -e /etc/kubernetes ] || [ -e /var/lib/kubelet/config.yaml ]; }; then
	timeout 300 /usr/local/bin/kubeadm reset -f --cri-socket unix:///run/containerd/containerd.sock --cleanup-tmp-dir >/var/lib/hybridctl/kubeadm-reset.log 2>&1 || true
fi
systemctl stop kubelet.service 2>/dev/null

# pods that kubeadm could not remove
if command -v ctr >/dev/null && systemctl is-active -q containerd.service; then
	ctr -n k8s.io tasks ls -q 2>/dev/null | while read -r t; do ctr -n k8s.io tasks rm -f "$t" >/dev/null 2>&1; done
	ctr -n k8s.io containers ls -q 2>/dev/null | while read -r c; do ctr -n k8s.io containers rm "$c" >/dev/null 2>&1; done
fi

# the kubelet's control groups; systemd forgets these slices when they stop
systemctl stop 'kubepods*.slice' 2>/dev/null

# block devices of Ceph that are mounted for pods, or given to them as devices: a mapping that stayed would keep every other host off the image
mapped=$(awk '$5 ~ "^/var/lib/kubelet/" { n = split($0, f, " - "); split(f[n], s, " "); if (s[2] ~ "^/dev/rbd[0-9]+$") print s[2]; else if ($4 ~ "^/rbd[0-9]+$") print "/dev" $4 }' /proc/self/mountinfo | sort -u)

# mounts below the kubelet's directory, the deepest first
awk '{print $2}' /proc/mounts | grep -E '^/(var/lib/kubelet|run/netns/cni-|var/run/netns/cni-)' | sort -r | while read -r m; do
	umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null
done
for m in $mapped; do
	echo "${m#/dev/rbd}" >/sys/bus/rbd/remove_single_major 2>/dev/null || say "$m is still mapped to an image of Ceph: find out who has it open, or start the host anew"
done
rm -f /run/netns/cni-* 2>/dev/null

for l in cni0 flannel.1 flannel-v6.1 kube-ipvs0 nodelocaldns; do
	! ip link show "$l" >/dev/null 2>&1 || ip link del "$l" || say "the link $l could not be removed"
done
for l in $(ip -o link show type veth 2>/dev/null | sed 's/^[0-9]*: \(veth[0-9a-f]*\)@.*/\1/' | grep '^veth'); do
	ip -d link show "$l" | grep -q 'link-netns cni-' && ip link del "$l" 2>/dev/null
done

# packet filter: only the chains of kube-proxy, kubelet, flannel and the portmap plugin, in whichever back ends are here
ours='KUBE-|FLANNEL-|CNI-|flanneld|cali'
for s in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy iptables ip6tables; do
	command -v "$s-save" >/dev/null || continue
	"$s-save" 2>/dev/null | grep -qE "$ours" || continue
	"$s-save" 2>/dev/null | grep -vE "$ours" | "$s-restore" 2>/dev/null || say "the rules of $s could not be cleared"
done
if command -v nft >/dev/null; then
	for t in 'ip kube-proxy' 'ip6 kube-proxy' 'ip flannel-ipv4' 'ip6 flannel-ipv6'; do
		# shellcheck disable=SC2086 # family and name are two words
		nft delete table $t 2>/dev/null
	done
fi

# What is in /etc/cni/net.d goes and the directory stays: containerd ends itself when that is taken away under it.
for d in /etc/cni/net.d/* /etc/cni/net.d/.[!.]* /etc/kubernetes /var/lib/kubelet /var/lib/etcd /var/lib/cni /run/flannel /var/log/pods /var/log/containers /var/run/kubernetes /run/hybridctl /run/calico; do
	[ ! -e "$d" ] || rm -rf "$d" || say "$d could not be removed"
done
rm -f /var/lib/hybridctl/steps/init /var/lib/hybridctl/steps/join /var/lib/hybridctl/kubeadm-*.log*
[ -z "$failed" ]
