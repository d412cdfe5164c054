#!/bin/bash
# test.sh [go test flags]: every test that needs nothing but Go.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
go test -mod=readonly "$@" ./...
