#!/bin/bash
# test.sh [go test flags]: every test that needs nothing but Go. What this machine lacks, tests say when they are skipped; one that is
# skipped and does not stand in skips.txt is a failure.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
tool=bin/tools/testlog
go build -mod=readonly -o "$tool" ./scripts/testlog
# A package may take its time on a slow machine: the tests that write to a fleet take minutes of processor time.
go test -mod=readonly -timeout 30m -json "$@" ./... | "$tool" scripts/skips.txt
# What needs a registry whose dependencies are not the product's: a module of its own.
(cd provision/registry/realtest && go test -mod=readonly "$@" ./...)
