#!/bin/bash
# verify-gofmt.sh: Go files are formatted.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
files=$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -s -l)
[ -z "$files" ] && exit
printf '%s\n' "$files"
say 'not formatted; "make update" formats them'
exit 1
