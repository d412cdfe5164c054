#!/bin/bash
# update.sh: writes what the checks compare with: formatted files, golden files. Look at the difference before you commit it.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
git ls-files -co --exclude-standard '*.go' | xargs gofmt -s -w
git grep -l 'hybridctl/provision/golden"' -- '*_test.go' | xargs -n 1 dirname | sort -u | while read -r dir; do
  say "golden files of $dir"
  go test -mod=readonly -count=1 "./$dir" -update
done
git status --short
