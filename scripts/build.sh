#!/bin/bash
# build.sh [all]: static executables in bin/: hybridctl for this machine, and what conformance runs on nodes, for every architecture. With
# "all" hybridctl for every architecture, too, and the licenses of what it is compiled of. VERSION overrides what git says.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
begin=$SECONDS
arches=(amd64 arm64)
hybridctl() { # hybridctl OUT [VARIABLE=VALUE…]
  local out=$1
  shift
  say "bin/$out $version"
  env "$@" go build -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "bin/$out" ./cmd/hybridctl
}
hybridctl hybridctl
for arch in "${arches[@]}"; do # a bundle holds it
  say "bin/hybridctl-probe-linux-$arch"
  GOOS=linux GOARCH=$arch go build -buildvcs=false -ldflags '-s -w' -o "bin/hybridctl-probe-linux-$arch" ./cmd/probe
done
native=$(go env GOOS)-$(go env GOARCH)
[ "${1:-}" != all ] || for arch in "${arches[@]}"; do
  if [ "$native" = "linux-$arch" ]; then ln -f bin/hybridctl "bin/hybridctl-linux-$arch"; else hybridctl "hybridctl-linux-$arch" GOOS=linux "GOARCH=$arch"; fi
done
[ "${1:-}" != all ] || scripts/licenses.sh bin/THIRD-PARTY-LICENSES.txt
say "built in $((SECONDS - begin))s"
