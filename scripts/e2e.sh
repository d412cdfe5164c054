#!/bin/bash
# e2e.sh [go test flags]: the built binary against the lab's machines. Needs what "make demo" needs.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
if [ "$(id -u)" != 0 ]; then
  say "the end-to-end tests boot machines: run them as root"
  exit 1
fi
scripts/build.sh
e2e/lab/lab bundle
go test -mod=readonly -tags e2e -count=1 -timeout 3h -v ./e2e "$@"
