#!/bin/bash
# e2e.sh [go test flags]: the built binary against the lab's machines. Needs what "make demo" needs.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
if [ "$(id -u)" != 0 ]; then
  say "the end-to-end tests boot machines: run them as root"
  exit 1
fi
e2e/lab/lab check
scripts/build.sh
e2e/lab/lab bundle
e2e/lab/lab ways
# The whole of it has the tests that "make test" skips, too: those that want other programs of this machine.
if [ $# = 0 ]; then
  missing=()
  for package in openssh-server sudo busybox chromium libxml2-utils; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] || apt-get install -y --no-install-recommends "${missing[@]}"
  HYBRIDCTL_KUBEADM=${XDG_CACHE_HOME:-$HOME/.cache}/hybridctl/lab/kube-bin/kubeadm HYBRIDCTL_TEST_SUDO=1 HYBRIDCTL_TEST_BROWSER=1 \
    go test -mod=readonly -count=1 -timeout 30m ./provision/render ./provision/remote ./provision/facts ./provision/host ./provision/report
fi
# go test is content when nothing matches
run='.'
for ((i = 1; i <= $#; i++)); do [ "${!i}" != -run ] || { next=$((i + 1)) && run=${!next}; }; done
listed=$(go test -mod=readonly -tags e2e -list "${run%%/*}" ./e2e)
grep -q '^Test' <<<"$listed" || {
  say "no end-to-end test matches $run"
  exit 1
}
# Each command of a test has its own limit. That of all of them is for what hangs beside: on an ordinary host they take five or six hours.
patience=$(e2e/lab/lab patience)
go test -mod=readonly -tags e2e -count=1 -timeout "$((12 * patience))h" -v ./e2e "$@"
