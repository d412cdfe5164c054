#!/bin/sh
# pki-pack.sh: the certificates and keys that all control planes share, as a tar on standard output. What is a link there is packed as the
# file that it leads to.
set -eu
cd /etc/kubernetes/pki
exec tar -chf - ca.crt ca.key sa.key sa.pub front-proxy-ca.crt front-proxy-ca.key etcd/ca.crt etcd/ca.key
