#!/bin/bash
# fuzz.sh [PATTERN]: every fuzz test whose name or directory holds PATTERN, one after the other: for FUZZTIME (default 30s) each, or
# FUZZCOUNT executions. A line for each tells how many executions there were, and how many a second.
#
# "go test -fuzz" counts what is covered in every package that a test is linked with, and reads all of it after each execution: with Kubernetes'
# client among them, fifteen times as long as the parser takes. So only hybridctl's own packages are compiled to be counted.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
limit=${FUZZCOUNT:+${FUZZCOUNT}x}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
log=$work/log cache=$(go env GOCACHE)/fuzz/$(go list -m)
git grep -oE '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | while IFS=: read -r file function; do
  name=${function#func } dir=$(dirname "$file")
  case "$dir $name" in *"${1:-}"*) ;; *) continue ;; esac
  say "$name in $dir"
  binary=$work/${dir//\//_}.test
  if [ ! -e "$binary" ]; then
    rm -f "$work"/*.test # tests of a package stand together
    go test -mod=readonly -c -gcflags="$(go list -m)/...=-d=libfuzzer" -o "$binary" "./$dir"
  fi
  (cd "$dir" && "$binary" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "${limit:-${FUZZTIME:-30s}}" -test.fuzzminimizetime 20x -test.timeout 0 \
    -test.fuzzcachedir "$cache/$dir" </dev/null 2>&1) | tee "$log" >&2
  # "fuzz: elapsed: 31s, execs: 524288 (17000/sec), new interesting: 12 (total: 90)"
  sed -n 's/^fuzz: elapsed: \([0-9hms]*\), execs: \([0-9]*\) .*/\1 \2/p' "$log" | tail -n 1 | {
    read -r took count || exit 0
    seconds=$(printf %s "$took" | awk '{ h = m = s = 0; if (match($0, /[0-9]+h/)) h = substr($0, RSTART, RLENGTH - 1); if (match($0, /[0-9]+m/)) m = substr($0, RSTART, RLENGTH - 1); if (match($0, /[0-9]+s/)) s = substr($0, RSTART, RLENGTH - 1); print h * 3600 + m * 60 + s }')
    printf '%-16s %-28s %10d executions  %8d a second\n' "$name" "$dir" "$count" "$((count / (seconds > 0 ? seconds : 1)))"
  }
done
