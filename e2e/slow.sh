#!/bin/bash
# slow.sh SHARE COMMAND…: runs a command, and whatever machines it starts, as on a slower host: with SHARE per cent of the time of this
# host's processors, by the limit of a cgroup (version 2's cpu.max, version 1's quota).
set -euo pipefail
fail() { printf 'slow.sh: %s\n' "$1" >&2; exit "${2:-1}"; }
share=${1:-}
if [[ ! "$share" =~ ^[0-9]+$ ]] || [ "$share" -lt 5 ] || [ "$share" -gt 100 ] || [ $# -lt 2 ]; then
  fail 'usage: e2e/slow.sh SHARE COMMAND…, SHARE between 5 and 100 per cent' 2
fi
shift
period=20000 # microseconds: short, or a machine stands still for long
quota=$((period * $(nproc) * share / 100))
name=hybridctl-slow-$$
group=
trap '[ ! -d "$group" ] || rmdir "$group" 2>/dev/null || printf "slow.sh: %s stays: machines run in it\n" "$group" >&2' EXIT
if [ -e /sys/fs/cgroup/cgroup.controllers ] && grep -qw cpu /sys/fs/cgroup/cgroup.controllers; then
  group=/sys/fs/cgroup/$name
  mkdir "$group" 2>/dev/null || fail "no cgroup can be made in /sys/fs/cgroup: run it as root"
  grep -qw cpu /sys/fs/cgroup/cgroup.subtree_control || echo +cpu >/sys/fs/cgroup/cgroup.subtree_control || fail 'the cpu controller cannot be switched on'
  echo "$quota $period" >"$group/cpu.max"
  how="cgroup 2, cpu.max $quota of $period"
elif [ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
  group=/sys/fs/cgroup/cpu/$name
  mkdir "$group" 2>/dev/null || fail "no cgroup can be made in /sys/fs/cgroup/cpu: run it as root"
  echo "$period" >"$group/cpu.cfs_period_us"
  echo "$quota" >"$group/cpu.cfs_quota_us"
  how="cgroup 1, cpu.cfs_quota_us $quota of $period"
else
  fail 'this host has no cgroup with a cpu controller'
fi
printf 'slow.sh: %s%% of %s processors (%s)\n' "$share" "$(nproc)" "$how" >&2
# shellcheck disable=SC2016 # for the inner shell
bash -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" "$@"
