#!/bin/bash
# verify-govet.sh: go vet, the end-to-end tests and the lab's own tools included.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
go vet -mod=readonly ./...
go vet -mod=readonly -tags e2e ./e2e/...
(cd e2e/lab/src/tools && go vet -mod=readonly ./...)
