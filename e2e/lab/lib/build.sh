# shellcheck shell=bash
# Everything that machines and the bundle need, and the bundle.

# keys: made once; disks depend on them.
keys() {
  local name
  mkdir -p "$KEYS" "$RUN"
  chmod 700 "$KEYS"
  [ -e "$KEYS/id" ] || ssh-keygen -q -t ed25519 -N '' -C lab -f "$KEYS/id"
  for name in "${MACHINES[@]}"; do
    [ -e "$KEYS/host-$name" ] || ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$KEYS/host-$name"
    echo "$(address "$name") $(cut -d' ' -f1,2 "$KEYS/host-$name.pub")"
  done >"$KEYS/known_hosts"
  if [ ! -e "$KEYS/sudo-password.hash" ]; then
    od -An -N 12 -t x1 /dev/urandom | tr -d ' ' >"$KEYS/sudo-password"
    perl -e 'chomp(my $p = <STDIN>); print crypt($p, q($6$lab.salt)), "\n"' <"$KEYS/sudo-password" >"$KEYS/sudo-password.hash"
  fi
  chmod 600 "$KEYS/sudo-password"
}

# build: out of Debian's packages and out of Go's modules side by side: the one waits for the network and the disk while the other
# computes. Where there are processors and memory for it, Kubernetes and the rest of the Go programs are two lanes, too.
build() {
  local begin=$SECONDS files lane lanes=(debian_lane programs_lane)
  check
  files=$(archives)
  locked "$CACHE/lock"
  host_packages
  keys
  apt_lists
  # shellcheck disable=SC2046 # words
  plan qemu $(uml_name) "${ARCHES[@]/#/kernel-}" "${ARCHES[@]/#/tree-}" "${ARCHES[@]/#/disk-}" runtime "${PROGRAMS[@]}" probe ${files:+csi} images inputs
  if [ "$(nproc)" -ge 4 ] && has_memory 12; then lanes=(debian_lane kubernetes_lane small_lane); fi
  if has_memory 6; then lanes "${lanes[@]}"; else for lane in "${lanes[@]}"; do "$lane"; done; fi
  make_rest
  versions
  links
  parts "$((SECONDS - begin))"
  host_told
  rm -rf "$LEFT"
}

# parts SECONDS: what a build took, part by part, and a figure to compare hosts by.
parts() {
  local name seconds made=()
  while read -r name seconds; do made+=("$name $(minutes "$seconds")"); done <"$LEFT/.made"
  say "built in $(minutes "$1"): ${made[*]:-everything was there}"
  say "the artefacts are in $CACHE"
}
host_told() {
  say "this host: $(nproc) processors, $(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB of memory; starting 1000 processes takes $(thousand_processes) s"
}

# check: what can be told before anything is built.
check() {
  local arch way why
  [ "$(id -u)" = 0 ] || die "machines need root: taps, a network namespace"
  [ "$HOST_ARCH" != none ] || die "the lab runs on x86 and Arm hosts of 64 bits, and this is $(uname -m)"
  command -v apt-get >/dev/null || die "the lab is made out of Debian's packages: it needs a host with apt-get"
  for arch in "${ARCHES[@]}"; do
    way=$(wanted "$arch")
    why=$(lacks "${way:-tcg}" "$arch")
    [ -z "$why" ] || die "$(variable "$arch")=$way: this host cannot run $(label "$arch") machines under $way: $why"
  done
}
# check_machines [NAME…]: what machines need beyond that, and whether those that run do so as is asked for now. The trial's result counts
# where it is there.
check_machines() {
  local name arch free held tried=()
  if ! has_memory 12 && { [ -z "${LAB_X86_MEMORY:-}" ] || [ -z "${LAB_ARM_MEMORY:-}" ]; }; then
    die "two machines and what runs beside them want a host of 12 GiB of memory: LAB_X86_MEMORY and LAB_ARM_MEMORY say what each may have of less"
  fi
  mkdir -p "$CACHE"
  free=$(df -k --output=avail "$CACHE" | tail -n 1)
  if [ "$free" -lt 40000000 ]; then # what was made before is a part of it
    held=$(du -skc "$CACHE" "$(go env GOCACHE)" "$(go env GOMODCACHE)" 2>/dev/null | tail -n 1 | cut -f1) || true
    [ $((free + ${held:-0})) -ge 40000000 ] || die "the lab wants 40 GiB of disk, and $CACHE has $((free / 1048576)) left"
  fi
  unshare --net --mount true 2>/dev/null || die "this host lets no network namespace be made, where the machines are: a container needs --privileged for it"
  { true <>/dev/net/tun; } 2>/dev/null || die "/dev/net/tun does not open, which the machines' network is made with: \"modprobe tun\"; a container needs --device /dev/net/tun"
  for arch in "${ARCHES[@]}"; do
    ! tried_already "$arch" || way "$arch" >/dev/null
  done
  for name in "$@"; do
    address "$name" >/dev/null
    arch=$(arch "$name")
    if tried_already "$arch"; then
      as_told "$name"
      tried+=("$name")
    fi
  done
  room "${tried[@]}"
}
minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }
# thousand_processes: the seconds that they take one after another; 200 are tried.
thousand_processes() {
  local i TIMEFORMAT=%R
  { time for ((i = 0; i < 200; i++)); do /bin/true; done; } 2>&1 | awk '{ printf "%.1f", $1 * 5 }'
}

PROGRAMS=(kube coredns flanneld tools)
ARTEFACTS="qemu uml kernel-amd64 kernel-arm64 tree-amd64 tree-arm64 disk-amd64 disk-arm64 runtime ${PROGRAMS[*]} probe csi images inputs bundle ceph balancer"
uml_name() { ! has_uml amd64 || echo uml; }
has_memory() { [ "$(awk '/^MemTotal/ { print int($2 / 1000000) }' /proc/meminfo)" -ge "$1" ]; } # GB

debian_lane() {
  local arch other=arm64
  [ "$HOST_ARCH" = amd64 ] || other=amd64
  artefact qemu make_qemu "$QEMU_SUITE" "$HOST_ARCH" "$(declare -f unpack)"
  ! has_uml amd64 || artefact uml make_uml "$UML_SUITE"
  for arch in "${ARCHES[@]}"; do
    artefact "kernel-$arch" "make_kernel_$arch" "$SUITE" "$(kernel_package "$arch")" "$(declare -f make_kernel initramfs)" \
      "$(files_digest "$LAB_HOME"/files/{initramfs,trial}-init)"
  done
  artefact runtime make_runtime "$NEWER_SUITE" "${NEWER_PACKAGES[*]}" "${CNI_PLUGINS[*]}"
  artefact "tree-$HOST_ARCH" make_tree_native "$SUITE" "$HOST_ARCH" "${MACHINE_PACKAGES[*]}"
  artefact "tree-$other" "make_tree_$other" "$(key "tree-$HOST_ARCH")" "$(declare -f make_tree_foreign strip_payload lay_over)"
  for arch in "${ARCHES[@]}"; do
    artefact "disk-$arch" "make_disk_$arch" "$(key "tree-$arch")" "$(key "kernel-$arch")" "$(! has_uml "$arch" || key uml)" "$(declare -f make_disk customise)" \
      "${MASKED[*]}" "$(files_digest "$LAB_HOME"/files/lab-setup*)" "$(files_digest "$KEYS/id.pub" "$KEYS/sudo-password.hash")"
  done
}

# program NAME: out of src/NAME.
program() {
  artefact "$1" "make_$1" "$KUBERNETES" "$FLANNEL" "$(go env GOVERSION)" "$(declare -f go_build)" "$(files_digest "$LAB_HOME/src/$1")" "$HOST_ARCH"
}
kubernetes_lane() { program kube; }
small_lane() {
  local name
  for name in "${PROGRAMS[@]:1}"; do program "$name"; done
  artefact probe make_probe "$HOST_ARCH" "$(files_digest "$REPO/provision/probe" "$REPO/cmd/probe")"
  [ -z "${LAB_IMAGES:-}" ] || artefact csi make_csi "$HOST_ARCH" "$(go env GOVERSION)" "$(declare -f go_build)" "$(files_digest "${SIDECARS[@]/#/$LAB_HOME/src/}")"
}
programs_lane() {
  kubernetes_lane
  small_lane
}

# make_rest: what both lanes are needed for.
make_rest() {
  local files storage=()
  files=$(archives)
  artefact images make_images "$(key kube)" "$(key coredns)" "$(key flanneld)" "$(key tools)" "$(key tree-amd64)" "$(key tree-arm64)" "$REPOSITORY"
  if [ -n "$files" ]; then
    mapfile -t storage <<<"$files"
    storage=("$(key csi)" "$(declare -f source_storage archive_ref)" "$files" "$(files_digest "${storage[@]}")")
  fi
  artefact inputs make_inputs "$(key images)" "$(key probe)" "$(key runtime)" "$(declare -f source_binary source_image source_program debian_version)" "${storage[@]}"
}

# versions: what everything was made of.
versions() {
  local name
  {
    echo "kubernetes $KUBERNETES"
    echo "etcd $ETCD"
    echo "coredns $COREDNS"
    echo "flannel $FLANNEL"
    go version
    for name in $(uml_name) qemu "${ARCHES[@]/#/kernel-}" "${ARCHES[@]/#/tree-}" runtime; do sed "s/^/$name /" "$(path "$name")/versions"; done
  } >"$CACHE/versions.txt"
}

# links: the fixed paths that the lab's inventories name.
links() {
  mkdir -p "$REPO/bin"
  ln -sfn "$KEYS/id" "$REPO/bin/lab-key"
  ln -sfn "$KEYS/sudo-password" "$REPO/bin/lab-sudo-password"
  ln -sfn "$(path kube)/$HOST_ARCH/kube" "$REPO/bin/kubectl" # it goes by its name
  mkdir -p "$CACHE/kube-bin" # an API server for tests that want a real one
  ln -sfn "$(path kube)/$HOST_ARCH/kube" "$CACHE/kube-bin/kube-apiserver"
  ln -sfn "$(path kube)/$HOST_ARCH/kube" "$CACHE/kube-bin/etcd"
  ln -sfn "$(path kube)/$HOST_ARCH/kube" "$CACHE/kube-bin/kubeadm"
}

bundle() {
  build
  [ -x "$REPO/bin/hybridctl" ] || die "bin/hybridctl is not there: run \"make build\" first"
  artefact bundle make_bundle "$(key inputs)" "$(files_digest "$REPO/provision/bundle")"
  ln -sfn "$(path bundle)/bundle" "$REPO/bin/lab-bundle"
  sweep
}

# sweep: artefacts that newer ones have taken the place of, unless a machine may be running from them.
sweep() {
  local name dir
  for name in $(processes "${MACHINES[@]}" ceph balancer); do
    ! process "$name" >/dev/null || return 0
  done
  for name in "$CACHE"/current/*; do # of an earlier lab
    case " $ARTEFACTS " in *" ${name##*/} "*) ;; *) rm -f "$name" ;; esac
  done
  for dir in "$CACHE"/*-????????????; do
    name=$(basename "$dir")
    [ "$(key "${name%-*}" 2>/dev/null)" = "$name" ] || rm -rf "$dir"
  done
}

