#!/bin/bash
# verify.sh: every check that is not a test; each prints what mends it. All of them run, whatever fails.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
failed=()
for check in scripts/verify-*.sh; do
  say "$check"
  "$check" || failed+=("$check")
done
if [ ${#failed[@]} != 0 ]; then
  say "failed: ${failed[*]}"
  exit 1
fi
say "all checks passed"
