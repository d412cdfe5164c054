#!/bin/bash
# build.sh: static executables in bin/. VERSION overrides what git says.
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
need_go
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo devel)}
export CGO_ENABLED=0
build() { # build OUT [VARIABLE=VALUE…]
  local out=$1
  shift
  env "$@" go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "bin/$out" ./cmd/hybridctl
}
for arch in amd64 arm64; do
  say "bin/hybridctl-linux-$arch $version"
  build "hybridctl-linux-$arch" GOOS=linux "GOARCH=$arch"
  # what conformance runs on nodes; a bundle holds it
  GOOS=linux GOARCH=$arch go build -mod=readonly -trimpath -buildvcs=false -ldflags '-s -w' -o "bin/hybridctl-probe-linux-$arch" ./cmd/probe
done
native=bin/hybridctl-$(go env GOOS)-$(go env GOARCH)
if [ -e "$native" ]; then
  ln -f "$native" bin/hybridctl
else
  build hybridctl
fi
