#!/bin/bash
# bench.sh [go test flags]: every benchmark, none of the tests. BENCH picks some, BENCHTIME is how long or how often.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
git grep -lE '^func Benchmark' -- '*_test.go' | xargs -n 1 dirname | sort -u | while read -r dir; do
  go test -mod=readonly -run '^$' -bench "${BENCH:-.}" -benchtime "${BENCHTIME:-3x}" -benchmem -timeout 60m "$@" "./$dir"
done
