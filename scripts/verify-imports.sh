#!/bin/bash
# verify-imports.sh: who may import whom, and which package alone may use which dependency.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
go test -mod=readonly -count=1 -run "TestImports|TestCode|TestTemplates" ./scripts/house
