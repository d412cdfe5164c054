#!/bin/sh
# pki-unpack.sh: standard input is the tar of pki-pack.sh; it waits on a tmpfs for kubeadm join.
set -eu
umask 077
rm -rf /run/hybridctl/pki.new /run/hybridctl/pki
mkdir -p /run/hybridctl/pki.new
[ "$(stat -f -c %T /run/hybridctl)" = tmpfs ] || { echo "pki: /run is not a tmpfs; keys would reach the disk" >&2; exit 73; }
tar -xf - -C /run/hybridctl/pki.new --no-same-owner
mv /run/hybridctl/pki.new /run/hybridctl/pki
