#!/bin/bash
# demo.sh: from a fresh Debian machine to a cluster with an x86 control plane and an Arm worker, each with its own kernel, that is proven.
# Needs root, Go, 12 GiB of memory and 40 GiB of disk; what is missing comes from Debian and the Go module proxy. e2e/README.md tells
# more. INVENTORY=NAME takes another one of the lab's inventories, with the balancer or the Ceph that it wants; CONFORMANCE=off leaves the
# proof out, CONFORMANCE=quick does not, however slow the machines are.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
if [ "$(id -u)" != 0 ]; then
  say "the demo boots machines: run it as root"
  exit 1
fi
name=$(basename "${INVENTORY:-lab-x86}" .yaml)
if [[ $name != lab-* || $name = *.lab || ! -e inventories/$name.yaml ]]; then
  say "INVENTORY=$INVENTORY: the lab has $(find inventories -name 'lab-*.yaml' ! -name '*.lab.yaml' -printf '%f\n' | sort | sed 's/\.yaml$//' | paste -sd ' ')"
  exit 2
fi
hosts=$(sed -nE 's/.*\{name: ([^,]+), address.*/\1/p' "inventories/$name.yaml")
services=()
! grep -qE '^    endpoint:' "inventories/$name.yaml" || services+=(balancer)
if grep -qE '^    ceph:' "inventories/$name.yaml"; then
  services+=(ceph)
  if [ -z "${LAB_IMAGES:-}" ]; then
    say "INVENTORY=$name wants the Ceph CSI driver: LAB_IMAGES names its archives (see e2e/README.md)"
    exit 2
  fi
fi
begin=$SECONDS mark=$SECONDS parts=()
took() { # took WHAT: since the last one
  local seconds=$((SECONDS - mark))
  parts+=("$(printf '%s %d:%02d' "$1" $((seconds / 60)) $((seconds % 60)))")
  say "${parts[-1]}"
  mark=$SECONDS
}
# Before minutes of work: LAB_X86, LAB_ARM, what this host must have, and whose the disks are.
# shellcheck disable=SC2086 # one word per machine
e2e/lab/lab check $hosts
state=inventories/.hybridctl/$name
declare -A belongs=()
mine='' others=() whose=''
for host in $hosts; do belongs[$host]=$(e2e/lab/lab cluster "$host"); done
while read -r host; do # its cluster is that of the first control plane that is in one
  [[ -n $mine || ${belongs[$host]} != "$name "* ]] || mine=${belongs[$host]}
done < <(sed -nE 's/.*\{name: ([^,]+), address.*role: control-plane.*/\1/p' "inventories/$name.yaml")
for host in $hosts; do
  [[ -z ${belongs[$host]} || ${belongs[$host]} = "$mine" ]] || others+=("$host") whose+=", $host to ${belongs[$host]% *}"
done
if [ ${#others[@]} != 0 ]; then
  say "disks belong to other clusters (${whose#, }): \"e2e/lab/lab reset ${others[*]}\" first, which throws them away"
  exit 1
fi
if [ -z "$mine" ] && [ -e "$state" ]; then
  say "the machines are in no cluster: $state, of an earlier one, goes"
  rm -rf "$state"
fi
# What the lab takes from Debian is on its way while the compiler computes.
e2e/lab/lab build &
lab=$!
trap 'kill "$lab" 2>/dev/null || true' EXIT
scripts/build.sh
took "hybridctl built"
wait "$lab"
trap - EXIT
e2e/lab/lab bundle
took "machines and bundle built"

e2e/lab/lab ways
inventory=$(e2e/lab/lab inventory "$name")
# shellcheck disable=SC2086 # one word per machine
e2e/lab/lab up $hosts "${services[@]}"
took "machines booted"
e2e/lab/lab exec bin/hybridctl up -f "$inventory" --yes --conformance=off
took "hybridctl up"
e2e/lab/lab exec bin/kubectl --kubeconfig "$state/kubeconfig" get nodes -o wide

proven=0 patience=$(e2e/lab/lab patience)
if [ "${CONFORMANCE:-}" = off ]; then
  say "conformance is left out: CONFORMANCE=off"
elif [ -z "${CONFORMANCE:-}" ] && [ "$patience" -gt 4 ]; then
  say "conformance is left out: machines are $patience times slower here than on an ordinary host, which it would call flaws of the cluster; CONFORMANCE=quick runs it"
else
  e2e/lab/lab exec bin/hybridctl conformance -f "$inventory" --quick --report-dir "$PWD/$state/conformance" || proven=$?
  took "conformance --quick"
  say "the report: $PWD/$state/conformance/report.html"
fi
mark=$begin
took "all of it" 2>/dev/null
say "minutes: $(printf '%s, ' "${parts[@]}" | sed 's/, $//')"
e2e/lab/lab host
cat <<T

The machines live in a network namespace of their own; run commands there:

  e2e/lab/lab exec bin/kubectl --kubeconfig $PWD/$state/kubeconfig get pods -A -o wide
  e2e/lab/lab exec bin/hybridctl status -f $inventory
  e2e/lab/lab exec bin/hybridctl conformance -f $inventory
  e2e/lab/lab exec bin/hybridctl destroy -f $inventory --yes
  e2e/lab/lab down
T
exit "$proven"
