#!/bin/sh
# mark.sh NAME: standard input becomes the marker of step NAME.
set -eu
umask 022
mkdir -p /var/lib/hybridctl/steps
t=/var/lib/hybridctl/steps/$1.new
cat >"$t"
# What the marker speaks of is on the disk before the marker is: containerd does not sync the images it unpacks.
sync -f "$t" /var/lib/containerd 2>/dev/null || sync
mv -f "$t" "/var/lib/hybridctl/steps/$1"
