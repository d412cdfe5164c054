#!/bin/bash
# demo.sh: from a fresh Debian machine to a cluster with an x86 control plane and an Arm worker, each with its own kernel.
# Needs root, Go, 12 GiB of memory and 40 GiB of disk; what is missing comes from Debian and the Go module proxy.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
inventory=${INVENTORY:-inventories/lab-x86.yaml}
hosts=$(sed -nE 's/.*\{name: ([^,]+), address.*/\1/p' "$inventory")
begin=$SECONDS mark=$SECONDS
took() {
  say "$1: $((SECONDS - mark))s"
  mark=$SECONDS
}
if [ "$(id -u)" != 0 ]; then
  say "the demo boots machines: run it as root"
  exit 1
fi
scripts/build.sh
took "hybridctl built"
e2e/lab/lab bundle
took "machines and bundle built"
# shellcheck disable=SC2086 # one word per machine
e2e/lab/lab up $hosts
took "machines booted"
e2e/lab/lab exec bin/hybridctl up -f "$inventory" --yes --conformance=off
took "hybridctl up"
kubeconfig=$(dirname "$inventory")/.hybridctl/$(basename "$inventory" .yaml)/kubeconfig
e2e/lab/lab exec bin/kubectl --kubeconfig "$kubeconfig" get nodes -o wide
say "all of it: $((SECONDS - begin))s"
cat <<T

The machines live in a network namespace of their own; run commands there:

  e2e/lab/lab exec bin/kubectl --kubeconfig $PWD/$kubeconfig get pods -A -o wide
  e2e/lab/lab exec bin/hybridctl status -f $inventory
  e2e/lab/lab exec bin/hybridctl conformance -f $inventory
  e2e/lab/lab exec bin/hybridctl destroy -f $inventory --yes
  e2e/lab/lab down
T
