#!/bin/sh
# pki-unpack.sh: standard input is a tar of the files that pki-pack.sh packs, in its order, and of nothing else. They wait on a tmpfs for
# kubeadm join.
set -eu
umask 077
run=/run/hybridctl
new=$run/pki.new
files='ca.crt ca.key sa.key sa.pub front-proxy-ca.crt front-proxy-ca.key etcd/ca.crt etcd/ca.key'
rm -rf $new $run/pki
mkdir -p $new
[ "$(stat -f -c %T $run)" = tmpfs ] || { echo "pki: /run is not a tmpfs; keys would reach the disk" >&2; exit 73; }
trap 'rm -rf $new' EXIT
trap 'exit 143' HUP INT PIPE TERM
refuse() {
	echo "pki: what came is not what control planes share, and was not unpacked: $*" >&2
	exit 70
}
head -c 1048576 >$new/tar
[ "$(tar -tf $new/tar 2>/dev/null | tr '\n' ' ')" = "$files " ] || refuse 'it has other files'
[ "$(tar -tvf $new/tar 2>/dev/null | cut -c 1 | sort -u)" = - ] || refuse 'not all are regular files'
mkdir $new/pki
tar -xf $new/tar -C $new/pki --no-same-owner --no-same-permissions
for f in $files; do
	if [ ! -f "$new/pki/$f" ] || [ -L "$new/pki/$f" ]; then refuse "$f is no regular file"; fi
	if [ ! -s "$new/pki/$f" ] || [ -n "$(find "$new/pki/$f" -size +64k)" ]; then refuse "$f is empty, or too large"; fi
done
mv $new/pki $run/pki
