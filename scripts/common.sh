# shellcheck shell=bash
# Sourced by the scripts beside it: from the top of the repository, with errors ending the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '== %s\n' "$*" >&2; }

need_go() {
  command -v go >/dev/null || {
    say "Go is not on the PATH; go.mod names the version (https://go.dev/doc/install)"
    exit 1
  }
}
