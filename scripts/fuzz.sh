#!/bin/bash
# fuzz.sh: every fuzz test, one after the other, for FUZZTIME (default 30s) each.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
git grep -oE '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | while IFS=: read -r file function; do
  name=${function#func }
  say "$name in $(dirname "$file")"
  go test -mod=readonly -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 20x "./$(dirname "$file")"
done
