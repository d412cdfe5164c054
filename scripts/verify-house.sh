#!/bin/bash
# verify-house.sh: the picture of the house, and that no figure is worse than what was reached.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
go run -mod=readonly ./scripts/house
