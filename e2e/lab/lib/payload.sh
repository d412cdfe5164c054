# shellcheck shell=bash
# What the bundle is made of: static executables from the Go module proxy, executables out of Debian's packages, images.

TOOLS=(echo pause cp iptables-wrapper flannel-cni)
CNI_PLUGINS=(bridge host-local loopback portmap firewall tuning bandwidth)
NEWER_PACKAGES=(containerd runc containernetworking-plugins)
SIDECARS=(csi-provisioner csi-attacher csi-resizer)

# go_build DIR ARCH OUT [PACKAGE [FLAG…]]: with the flags of scripts/common.sh, and so with the same entries in Go's cache.
# Emulated Arm machines are quicker with the atomic instructions of v8.1; on an Arm host the same programs run on its own processor, too.
go_build() {
  local dir=$1 arch=$2 out=$3 package=${4:-.} level=v8.1
  [ "$HOST_ARCH" != arm64 ] || level=v8.0
  shift $(($# < 4 ? $# : 4))
  echo "$package in $dir for $arch"
  (cd "$dir" && CGO_ENABLED=0 GOFLAGS='-mod=readonly -trimpath -gcflags=all=-dwarf=false' GOOS=linux GOARCH=$arch GOARM64=$level GOWORK='' \
    nice -n 5 go build -buildvcs=false -o "$out" "$@" "$package")
}

make_kube() {
  local out=$1 arch major minor x pkg=k8s.io/component-base/version
  IFS=. read -r major minor _ <<<"${KUBERNETES#v}"
  x="-s -w -X $pkg.gitVersion=$KUBERNETES -X $pkg.gitMajor=$major -X $pkg.gitMinor=$minor -X $pkg.gitTreeState=clean"
  for arch in "${ARCHES[@]}"; do
    go_build "$LAB_HOME/src/kube" "$arch" "$out/$arch/kube" . -tags=providerless,dockerless -ldflags "$x -X $pkg.gitCommit=lab -X k8s.io/client-go/pkg/version.gitVersion=$KUBERNETES"
  done
}

make_coredns() {
  local arch
  for arch in "${ARCHES[@]}"; do go_build "$LAB_HOME/src/coredns" "$arch" "$1/$arch/coredns" . -ldflags '-s -w'; done
}

# make_flanneld: flannel's own main, without the back ends that need a cloud's library or cgo.
make_flanneld() {
  local out=$1 arch dir
  dir=$(cd "$LAB_HOME/src/flanneld" && go mod download -json github.com/flannel-io/flannel | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
  mkdir "$out/src"
  cp "$LAB_HOME"/src/flanneld/go.* "$out/src/"
  sed -E '/pkg\/backend\/(tencentvpc|udp|ipsec)"/d' "$dir/main.go" >"$out/src/main.go"
  for arch in "${ARCHES[@]}"; do
    go_build "$out/src" "$arch" "$out/$arch/flanneld" . -ldflags "-s -w -X github.com/flannel-io/flannel/pkg/version.Version=$FLANNEL"
  done
  rm -rf "$out/src"
}

make_tools() {
  local out=$1 arch tool
  for arch in "${ARCHES[@]}"; do
    for tool in "${TOOLS[@]}"; do go_build "$LAB_HOME/src/tools" "$arch" "$out/$arch/$tool" "./$tool" -ldflags '-s -w'; done
  done
  go_build "$LAB_HOME/src/tools" "$HOST_ARCH" "$out/mkimages" ./mkimages
}

# make_probe: what runs in the pods of a conformance run, for both architectures. It uses the standard library alone.
make_probe() {
  local arch
  for arch in "${ARCHES[@]}"; do go_build "$REPO" "$arch" "$1/$arch/probe" ./cmd/probe -ldflags '-s -w'; done
}

# make_csi: the sidecars of CSI drivers, from the tool that the go.mod of each names. They serve the drivers that LAB_IMAGES brings.
make_csi() {
  local arch sidecar package
  for sidecar in "${SIDECARS[@]}"; do
    package=$(sidecar_package "$sidecar")
    for arch in "${ARCHES[@]}"; do
      go_build "$LAB_HOME/src/$sidecar" "$arch" "$1/$arch/$sidecar" "$package" -ldflags "-s -w -X main.version=$(sidecar_version "$sidecar")"
    done
  done
}

sidecar_package() { awk '$1 == "tool" { print $2 }' "$LAB_HOME/src/$1/go.mod"; }
sidecar_version() { awk '$1 == "tool" { module = $2; sub("/cmd/.*", "", module) } module && $1 == module { print $2 }' "$LAB_HOME/src/$1/go.mod"; }

# archives: the files that LAB_IMAGES names, a line each. A folder stands for the .tar files in it.
archives() {
  local entry entries=()
  IFS=: read -r -a entries <<<"${LAB_IMAGES:-}"
  for entry in "${entries[@]}"; do
    [ -e "$entry" ] || die "LAB_IMAGES: $entry is not there"
    if [ -d "$entry" ]; then
      find "$(readlink -f "$entry")" -maxdepth 1 -name '*.tar' | sort | grep . || die "LAB_IMAGES: $entry holds no .tar file"
    else
      readlink -f "$entry"
    fi
  done
}

# archive_ref FILE: the name of the image in an OCI archive: the container runtime's annotation, or the layout's own.
archive_ref() {
  local index annotation ref
  index=$(tar -xOf "$1" index.json 2>/dev/null || tar -xOf "$1" ./index.json 2>/dev/null) || die "$1 is not an OCI archive: it has no index.json"
  for annotation in io.containerd.image.name org.opencontainers.image.ref.name; do
    ref=$(grep -oE "\"$annotation\": *\"[^\"]+\"" <<<"$index" | head -n 1 | cut -d'"' -f4) || true
    [ -z "$ref" ] || break
  done
  case $ref in
  */*:*) echo "$ref" ;;
  *) die "$1: its index.json has no full name for the image ($ref)" ;;
  esac
}

# make_runtime: containerd, runc and the CNI plugins as Debian builds them.
make_runtime() {
  local out=$1 arch root
  for arch in "${ARCHES[@]}"; do
    fetch_debs "$out/debs" "${NEWER_PACKAGES[@]/%/:$arch/$NEWER_SUITE}"
    root=$out/root-$arch
    mkdir -p "$root" "$out/$arch/cni"
    for deb in "$out"/debs/*_"$arch".deb; do unpack "$deb" "$root" "${NO_DOCS[@]}"; done
    mv "$root"/usr/bin/{containerd,containerd-shim-runc-v2,ctr} "$out/$arch/"
    mv "$root/usr/sbin/runc" "$out/$arch/"
    mv "${CNI_PLUGINS[@]/#/$root/usr/lib/cni/}" "$out/$arch/cni/"
    rm -rf "$root"
  done
  debs_versions "$out/debs" >"$out/versions"
  rm -rf "$out/debs"
}

make_images() {
  local out=$1 arch name args=()
  for arch in "${ARCHES[@]}"; do
    mkdir -p "$out/bin/$arch"
    for name in kube coredns flanneld tools; do
      cp -l "$(path $name)/$arch/"* "$out/bin/$arch/"
    done
    args+=("$arch=$out/bin/$arch=$(path "tree-$arch")/root")
  done
  "$(path tools)/mkimages" "$out/oci" "$REPOSITORY" "$KUBERNETES" "$ETCD" "$COREDNS" "$PAUSE" "$FLANNEL" "${args[@]}"
  rm -rf "${out:?}/bin"
}

# debian_version PACKAGE: the upstream part of the version that make_runtime found, with a v.
debian_version() { awk -v p="$1" '$1 == p { sub(/[+~-].*/, "", $2); print "v" $2; exit }' "$(path runtime)/versions"; }

# make_inputs: bundle.yaml and everything it names, in one folder.
make_inputs() {
  local out=$1 arch component
  for arch in "${ARCHES[@]}"; do
    mkdir -p "$out/$arch"
    cp -rl "$(path runtime)/$arch/"* "$out/$arch/"
    [ -z "${LAB_IMAGES:-}" ] || cp -l "$(path csi)/$arch/"* "$out/$arch/"
    ln "$(path kube)/$arch/kube" "$out/$arch/kube"
    ln "$(path probe)/$arch/probe" "$out/$arch/probe"
  done
  cp -rl "$(path images)/oci" "$out/oci"
  {
    printf '%s\n' 'apiVersion: hybridctl.dev/v1alpha1' 'kind: BundleSource' "kubernetesVersion: $KUBERNETES" 'binaries:'
    for component in kubelet kubeadm kubectl; do # one executable, which goes by its name
      source_binary kubernetes "$component" "$KUBERNETES" kube
    done
    for component in containerd containerd-shim-runc-v2 ctr; do
      source_binary containerd "$component" "$(debian_version containerd)" "$component"
    done
    source_binary runc runc "$(debian_version runc)" runc
    echo "  - {component: cni-plugins, version: $(debian_version containernetworking-plugins), directories: {amd64: amd64/cni, arm64: arm64/cni}}"
    echo 'images:'
    for component in kube-{apiserver,controller-manager,scheduler,proxy}; do source_image "$component" "$KUBERNETES"; done
    source_image etcd "$ETCD"
    source_image coredns "$COREDNS"
    source_image pause "$PAUSE"
    source_image flannel "$FLANNEL"
    source_image flannel-cni-plugin "$FLANNEL"
    source_program probe 1
    echo "  - {ref: $REPOSITORY/echo:1, path: oci}"
    [ -z "${LAB_IMAGES:-}" ] || source_storage
  } >"$out/bundle.yaml"
}

source_binary() { echo "  - {component: $1, name: $2, version: $3, files: {amd64: amd64/$4, arm64: arm64/$4}}"; }
source_image() { echo "  - {component: $1, ref: $REPOSITORY/$1:$2, path: oci}"; }
source_program() { echo "  - {component: $1, ref: $REPOSITORY/$1:$2, programs: {amd64: amd64/$1, arm64: arm64/$1}}"; }

# source_storage: the sidecars, and the archives as they lie there.
source_storage() {
  local sidecar files file ref component
  for sidecar in "${SIDECARS[@]}"; do source_program "$sidecar" "$(sidecar_version "$sidecar")"; done
  files=$(archives)
  while read -r file; do
    ref=$(archive_ref "$file")
    component=${ref##*/} component=${component%%:*}
    [ "$component" != cephcsi ] || component=ceph-csi # the driver's image is not called what the driver is
    echo "  - {component: $component, ref: \"$ref\", path: \"$file\"}"
  done <<<"$files"
}

make_bundle() { "$REPO/bin/hybridctl" bundle create -f "$(path inputs)/bundle.yaml" "$1/bundle"; }
