#!/bin/bash
# verify-staticcheck.sh: staticcheck, at a fixed version, built from the module proxy.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
tool=bin/tools/staticcheck-0.8.2
[ -x "$tool" ] || {
  GOBIN=$PWD/bin/tools go install honnef.co/go/tools/cmd/staticcheck@v0.8.2
  mv bin/tools/staticcheck "$tool"
}
"$tool" -tags e2e ./...
