#!/bin/bash
# bench-against.sh COMMIT: whether a no-op `up` over 500 hosts, the facts included, takes longer than it did at COMMIT. Both test programs are
# built, and run in turns, so that what else the machine does meets both. Prints the time of each and the ratio, and fails above LIMIT.
#   COMMIT  of this repository; bd921f9 is the one before the front door became rooms
#   RUNS    how often each is run (default 3); LIMIT the ratio that is still good (default 1.05); BENCH the benchmark
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
base=$(git rev-parse --verify "${1:?usage: scripts/bench-against.sh COMMIT}^{commit}")
runs=${RUNS:-3} limit=${LIMIT:-1.05} bench=${BENCH:-NoOpUp/hosts=500/rtt=0s\$}
work=$(mktemp -d)
cleanup() {
  git worktree remove --force "$work/base" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
git worktree add -q --detach "$work/base" "$base"
go test -mod=readonly -c -o "$work/now.test" ./provision
(cd "$work/base" && go test -mod=readonly -c -o "$work/then.test" ./provision)

# one NAME DIRECTORY: a run of a test program where its testdata is; prints the nanoseconds of one operation.
one() {
  (cd "$2/provision" && "$work/$1.test" -test.run '^$' -test.bench "$bench" -test.benchtime "${BENCHTIME:-3x}" -test.timeout 60m) |
    awk '$1 ~ /^Benchmark/ && $4 == "ns/op" { print $3; found = 1 } END { exit !found }'
}

for run in $(seq "$runs"); do
  one then "$work/base" >>"$work/then"
  one now "$PWD" >>"$work/now"
  echo "run $run: then $(tail -n 1 "$work/then") ns, now $(tail -n 1 "$work/now") ns"
done
median() { sort -g "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
awk -v then="$(median "$work/then")" -v now="$(median "$work/now")" -v limit="$limit" 'BEGIN {
  printf "median then %.2f s, now %.2f s: %.3f times as long, at most %s\n", then / 1e9, now / 1e9, now / then, limit
  exit now / then > limit
}'
