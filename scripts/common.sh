# shellcheck shell=bash
# Sourced by the scripts beside it: from the top of the repository, with errors ending the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C # whatever the user's language: what sort, awk and printf write is compared

# One set of flags for whatever compiles, so that a dependency is compiled once and not once for builds and once for tests. Debug
# information, which the linker throws away, is not made in the first place: a twelfth of the compiler's time, a quarter of its cache.
export CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -gcflags=all=-dwarf=false'

say() { printf '== %s\n' "$*" >&2; }

need_go() {
  command -v go >/dev/null || {
    say "Go is not on the PATH; go.mod names the version (https://go.dev/doc/install)"
    exit 1
  }
}
