# shellcheck shell=bash
# Debian packages of both architectures and several suites, with lists of the lab's own; nothing of the host's is touched.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
HOST_PACKAGES=(mmdebstrap kmod ethtool iproute2 openssh-client e2fsprogs zstd xz-utils cpio debian-archive-keyring ca-certificates)

# host_packages: what this machine needs to build and run the lab; installs only what is missing.
host_packages() {
  local p missing=()
  for p in "${HOST_PACKAGES[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
  done
  [ ${#missing[@]} != 0 ] || return 0
  logged host-packages install_packages "${missing[@]}"
}

# install_packages PACKAGE…: on this host, whose package manager is not interrupted between two packages.
install_packages() {
  apt-get -q update
  trap '' TERM
  DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@"
}

# mirror: the archive this host itself uses.
mirror() {
  local m
  # shellcheck disable=SC2016 # apt's own format
  m=$(apt-get indextargets --format '$(REPO_URI)' | grep -E -m 1 'debian/?$') || die "this host's apt sources name no Debian archive"
  printf '%s' "${m%/}"
}

# apt_lists: apt's configuration and package lists, fetched once; `lab clean` fetches them again.
apt_lists() {
  APT=$CACHE/apt
  export APT_CONFIG=$APT/apt.conf
  [ ! -e "$APT/complete" ] || return 0
  rm -rf "$APT"
  mkdir -p "$APT"/lists/partial "$APT"/cache/archives/partial "$CACHE/debs"
  : >"$APT/status"
  local m s
  m=$(APT_CONFIG='' mirror)
  for s in $SUITE $QEMU_SUITE $UML_SUITE $NEWER_SUITE; do
    echo "deb [signed-by=$KEYRING] $m $s main"
  done >"$APT/sources.list"
  printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n\n' "$NEWER_SUITE" "$UML_SUITE" >"$APT/preferences"
  cat >"$APT_CONFIG" <<C
Dir::State::lists "$APT/lists";
Dir::State::status "$APT/status";
Dir::Cache "$APT/cache";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "$APT/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "$APT/preferences";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "$HOST_ARCH";
APT::Architectures {"amd64";"arm64";};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Retries "5";
C
  logged apt-lists apt-get -q update
  touch "$APT/complete"
}

# fetch_debs DIR PACKAGE[:ARCH]/SUITE…: the .deb files into DIR, through a store that keeps what was fetched before.
fetch_debs() {
  local dir=$1 uri name sum wanted
  shift
  mkdir -p "$dir" "$CACHE/debs/partial"
  apt-get -q download --print-uris "$@" >"$dir/uris"
  local missing=()
  while read -r uri name _; do # 'URI' file-name size HASH:value
    : "$uri"
    [ ! -e "$CACHE/debs/$name" ] || continue
    for wanted in "$@"; do # names hold characters that patterns would read as their own
      case $wanted in "${name%%_*}":* | "${name%%_*}"/*) missing+=("$wanted") ;; esac
    done
  done <"$dir/uris"
  if [ ${#missing[@]} != 0 ]; then
    (cd "$CACHE/debs/partial" && rm -f ./*.deb && apt-get -q download "${missing[@]}" && mv ./*.deb ..)
  fi
  while read -r uri name _ sum; do
    ln "$CACHE/debs/$name" "$dir/$name" 2>/dev/null || cp "$CACHE/debs/$name" "$dir/$name"
    case $sum in SHA256:*) echo "${sum#SHA256:}  $dir/$name" | sha256sum --quiet -c - ;; esac
  done <"$dir/uris"
  rm "$dir/uris"
}

# debs_versions DIR: one line per package, for the record of what a build was made of.
debs_versions() {
  local f
  for f in "$1"/*.deb; do
    # shellcheck disable=SC2016 # dpkg-deb's own format
    printf '%s %s\n' "$(dpkg-deb -W --showformat '${Package} ${Version} ${Architecture}' "$f")" "$(sha256sum "$f" | cut -d' ' -f1)"
  done
}

# unpack DEB DIR [tar arguments…]
unpack() {
  local deb=$1 dir=$2
  shift 2
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$dir" --keep-directory-symlink "$@"
}
