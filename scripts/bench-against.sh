#!/bin/bash
# bench-against.sh COMMIT: whether a no-op `up` over 500 hosts, the facts included, costs more than it did at COMMIT. Both test programs are
# built, and run in turns, so that what else the machine does meets both. Judged is the time of the processors, which a busy machine changes
# little; printed are the clock's time, and how much is allocated, as well. Fails above LIMIT.
#   COMMIT  of this repository; bd921f9 is the one before the front door became rooms
#   RUNS    how often each is run (default 3); LIMIT the ratio that is still good (default 1.05); BENCH the benchmark
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
export LC_ALL=C # of the figures
base=$(git rev-parse --verify "${1:?usage: scripts/bench-against.sh COMMIT}^{commit}")
runs=${RUNS:-3} limit=${LIMIT:-1.05} bench=${BENCH:-NoOpUp/hosts=500/rtt=0s\$}
few=2 many=${MANY:-6} # operations: what they take apart from the setting up is the difference between the two
work=$(mktemp -d)
cleanup() {
  git worktree remove --force "$work/base" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
git worktree add -q --detach "$work/base" "$base"
go test -mod=readonly -c -o "$work/new.test" ./provision
(cd "$work/base" && go test -mod=readonly -c -o "$work/old.test" ./provision)

# timed NAME DIRECTORY OPERATIONS: runs a test program where its testdata is; prints the seconds of the processors, and what the benchmark
# says of an operation: nanoseconds, bytes, allocations.
timed() {
  (
    cd "$2/provision" || exit
    TIMEFORMAT='cpu %U %S'
    { time "$work/$1.test" -test.run '^$' -test.bench "$bench" -test.benchtime "$3x" -test.benchmem -test.timeout 60m; } 2>&1
  ) | awk '
    { all = all $0 "\n" }
    $1 == "cpu" { cpu = $2 + $3 }
    $1 ~ /^Benchmark/ { for (i = 3; i < NF; i++) { said[$(i + 1)] = $i } }
    END { if (!said["ns/op"]) { printf "%s", all >"/dev/stderr"; exit 1 } print cpu, said["ns/op"], said["B/op"], said["allocs/op"] }'
}
# one NAME DIRECTORY: prints of one operation: seconds of the processors, of the clock, bytes, allocations.
one() {
  local less more
  less=$(timed "$1" "$2" "$few")
  more=$(timed "$1" "$2" "$many")
  awk -v n=$((many - few)) '{ printf "%.3f %.3f %d %d\n", ($5 - $1) / n, $6 / 1e9, $7, $8 }' <<<"$less $more"
}

for run in $(seq "$runs"); do
  one old "$work/base" >>"$work/old"
  one new "$PWD" >>"$work/new"
  echo "run $run: processors $(tail -n 1 "$work/old" | cut -d' ' -f1) s then, $(tail -n 1 "$work/new" | cut -d' ' -f1) s now"
done
# median FILE COLUMN
median() { cut -d' ' -f"$2" "$1" | sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
compare() { # WHAT COLUMN DIVISOR UNIT
  awk -v what="$1" -v then="$(median "$work/old" "$2")" -v now="$(median "$work/new" "$2")" -v by="$3" -v unit="$4" \
    'BEGIN { printf "%-12s then %.2f %s, now %.2f: %.3f times as much\n", what, then / by, unit, now / by, now / then }'
}
compare processors 1 1 s
compare clock 2 1 s
compare allocated 3 1e6 MB
compare allocations 4 1e3 thousand
awk -v then="$(median "$work/old" 1)" -v now="$(median "$work/new" 1)" -v limit="$limit" 'BEGIN {
  if (now / then > limit) { printf "the processors are to take at most %s times as long\n", limit; exit 1 }
}'
